// The runners of one broker: started on demand, watched, replaced when they die.
//
//   none --start()--> in use --answers no more--> lost --process ended--> gone: what it had is created anew
//                                                  |                       ^
//                                                  +--5 s later: killed----+
//
// While a runner is lost its kernels may still write, so what lies on its GPU stays as it is. Once it is gone, a thread
// of the supervisor's own frees what remains of it and creates its pools and queues anew: both may take long.
//
// Thread safety: guarded by the broker's mutex, which get(), require() and dismiss_own() lock by themselves. join() and
// the two functions after it take no lock: the control thread has ended by then, and get() starts nothing once
// `stopped` is set. Invariant: a broker has at most one runner of a key in `runners_`, and a lost one leaves only once
// it is gone.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "broker/broker_context.hpp"
#include "broker/recreation_queue.hpp"
#include "broker/runner_key.hpp"
#include "broker/runner_link.hpp"

namespace ipcq::detail {

struct GoneRunner {
  RunnerKey key;
  std::string how;  // "killed by signal 9"
  bool under_mps = false;
  std::string died_of{};  // of a host runner: RunnerLink::died_of()
};
// What the supervisor's thread has to do once a runner is gone.
struct Aftermath {
  std::vector<Recreation> recreate;            // `create` is called without the mutex
  std::vector<std::shared_ptr<void>> remains;  // freed without the mutex, in this order
};

// The part that has pools and queues on the runners' GPUs. The control thread calls it, with the mutex held.
class RunnerUser {
 public:
  virtual void on_runner_lost(const RunnerKey& key) = 0;
  virtual Aftermath on_runner_gone(const GoneRunner& runner) = 0;

 protected:
  ~RunnerUser() = default;
};

class RunnerSupervisor {
 public:
  explicit RunnerSupervisor(BrokerContext& context) : context_(context) {}
  RunnerSupervisor(const RunnerSupervisor&) = delete;
  RunnerSupervisor& operator=(const RunnerSupervisor&) = delete;
  // Once, before the first runner.
  void set_user(RunnerUser& user) noexcept { user_ = &user; }

  // Without the mutex. That runner; starts it if there is none, and waits for a lost one to be gone. Throws as
  // RunnerLink::get(); also BackendError when the lost one is not gone in ten seconds, SystemError or PermissionError
  // when the system refuses the thread, and UsageError when the broker stops.
  std::shared_ptr<RunnerLink> get(const RunnerKey& key);
  // The same for `object`, which needs it: the error names that.
  std::shared_ptr<RunnerLink> require(const std::string& object, const RunnerKey& key);
  // Without the mutex. Ends the runner that a queue has for itself, if it has one: the queue was not created. A lost
  // one is left to end as any other.
  void dismiss_own(const std::string& queue) noexcept;

  // Whether a runner of the GPU is under MPS.
  bool has_mps(int device) const;
  // The control thread calls it for a descriptor that has an event. False: it is not one of a runner.
  bool serve(int fd);
  // Called by the control thread: kills runners that have been lost for five seconds and have not ended.
  void end_lost();
  bool is_waiting_for_end() const noexcept { return some_lost_; }

  bool recreates_queue(const std::string& name) const { return recreations_.awaits_queue(name); }
  bool recreates_pool(const std::string& name) const { return recreations_.awaits_pool(name); }
  // A queue that is created anew in that pool; empty: none.
  std::string awaiting(const std::string& pool) const { return recreations_.awaiting(pool); }
  std::uint64_t deaths() const noexcept { return deaths_; }

  // Not with the mutex held, once `stopped` is set and `changed` notified. Waits for the thread, which takes the mutex.
  void join();
  // After join(), not with the mutex held. Waits for lost runners to be gone, as their kernels may still write.
  void end_lost_for_good() noexcept;
  // Once no pool or queue lies on them: frees what remains of runners that are gone, and releases the others.
  void give_up_all() noexcept;

 private:
  struct Watched {
    std::shared_ptr<RunnerLink> link;
    Fd socket;
    Fd process;
    std::uint64_t lost_at_ns = 0;  // 0: not lost
    bool killed = false;           // by end_lost()
  };

  void watch_descriptors(const RunnerKey& key, const Watched& runner);
  void unwatch_descriptors(const Watched& runner) noexcept;
  void tell_of_start(const RunnerKey& key, const RunnerLink& link) const;
  void await_gone(Lock& lock, const RunnerKey& key);
  void lose(const RunnerKey& key);
  void bury(const RunnerKey& key);
  bool has_work() const noexcept { return !recreations_.empty() || !remains_.empty(); }
  void recreate() noexcept;
  void recreate_next(Lock& lock);

  BrokerContext& context_;
  RunnerUser* user_ = nullptr;
  std::map<RunnerKey, Watched> runners_;
  bool some_lost_ = false;  // some runner is lost, and may have to be killed
  std::uint64_t deaths_ = 0;
  RecreationQueue recreations_;
  std::vector<std::shared_ptr<void>> remains_;
  std::thread thread_;  // from the first runner on
};

}  // namespace ipcq::detail
