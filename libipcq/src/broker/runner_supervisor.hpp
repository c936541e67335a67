// The runners of one broker: started on demand, watched, replaced when they die. This is the one place for all of that.
//
//   none --start()--> in use --answers no more--> lost --process ended--> gone: what it had is created anew
//                                                  |                       ^
//                                                  +--5 s later: killed----+
//
// While a runner is lost its kernels may still write, so what lies on its GPU stays as it is. Once it is gone, a thread
// of the supervisor's own frees what remains of it and creates its pools and queues anew: both may take long.
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
#include "broker/runner_link.hpp"

namespace ipcq::detail {

struct GoneRunner {
  int device = 0;
  std::string how;  // "killed by signal 9"
  bool under_mps = false;
};
// What is to happen once a runner is gone.
struct Aftermath {
  std::vector<Recreation> recreate;            // `create` is called without the mutex
  std::vector<std::shared_ptr<void>> remains;  // freed without the mutex, in this order
};

// Whose pools and queues lie on the runners' GPUs. All calls come from the control thread, with the mutex.
class RunnerUser {
 public:
  virtual void on_runner_lost(int device) = 0;
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

  // Without the mutex. The runner of a GPU; starts it if there is none, and waits for a lost one to be gone. Throws
  // BackendError; UsageError when the broker stops.
  std::shared_ptr<RunnerLink> get(int device);
  // Likewise for `object`, which cannot be without.
  std::shared_ptr<RunnerLink> require(const std::string& object, int device);

  // Whether the GPU's runner is under MPS.
  bool has_mps(int device) const;
  // For the control thread. False when the descriptor is not one of a runner.
  bool serve(int fd);
  // Kills runners that are lost and do not end.
  void end_lost();
  bool is_waiting_for_end() const noexcept { return some_lost_; }

  bool recreates_queue(const std::string& name) const { return recreations_.awaits_queue(name); }
  bool recreates_pool(const std::string& name) const { return recreations_.awaits_pool(name); }
  std::uint64_t deaths() const noexcept { return deaths_; }

  // Without the mutex; `stopped` is set and `changed` notified. Waits for the thread.
  void join();
  // After join(): waits for those that are lost to be gone, as their kernels may still write.
  void end_lost_for_good() noexcept;
  // Once nothing lies on them any more: frees what remains of runners that are gone, and gives the others up.
  void give_up_all() noexcept {
    remains_.clear();
    runners_.clear();
  }

 private:
  struct Watched {
    std::shared_ptr<RunnerLink> link;
    Fd socket;
    Fd process;
    std::uint64_t lost_at_ns = 0;  // 0: it is not
    bool killed = false;           // since it had not gone by itself
  };

  void watch(int device, const Watched& runner);
  void await_gone(Lock& lock, int device);
  void lose(int device);
  void bury(int device);
  bool has_work() const noexcept { return !recreations_.empty() || !remains_.empty(); }
  void recreate() noexcept;
  void recreate_next(Lock& lock);

  BrokerContext& context_;
  RunnerUser* user_ = nullptr;
  std::map<int, Watched> runners_;  // by device
  bool some_lost_ = false;          // and not gone: it may have to be killed
  std::uint64_t deaths_ = 0;
  RecreationQueue recreations_;
  std::vector<std::shared_ptr<void>> remains_;
  std::thread thread_;  // from the first runner on
};

}  // namespace ipcq::detail
