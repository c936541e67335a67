// One broker: starts its parts and ends them in order. Each part's header says what it does; broker_context.hpp says
// what a thread may do under the mutex.
//
// Thread safety: the functions are those of Broker, and any thread may call them. Invariant: once stop() has returned,
// no thread of the broker works on clients or runners, and its queues are closed and have no name.
//
// In a forked child stop() does nothing. The child must not destroy the object, whose threads it cannot join: the owner
// keeps it for ever instead (Broker's destructor, base/fork.hpp).
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

#include "base/deadline.hpp"
#include "broker/broker_parts.hpp"
#include "broker/server.hpp"
#include "ipcq/broker.hpp"

namespace ipcq::detail {

class BrokerCore {
 public:
  explicit BrokerCore(const BrokerOptions& options);
  ~BrokerCore() {
    Deadline at_once = Deadline::none();
    stop(at_once);
  }
  BrokerCore(const BrokerCore&) = delete;
  BrokerCore& operator=(const BrokerCore&) = delete;

  Administration& administration() noexcept { return parts_.administration; }
  void end_of_stream(const std::string& queue);
  void save_state(const std::string& queue, const std::string& file);
  void load_state(const std::string& queue, const std::string& file);
  void replace_handler(const std::string& queue, const std::string& handler) {
    parts_.changes.replace_handler(queue, handler);
  }
  std::uint64_t stop(Deadline& drained_by);
  BrokerStats stats() const;
  std::string dump(const std::string& queue) const;
  const std::string& socket_path() const noexcept { return parts_.context.name.socket_path(); }
  bool is_forked_child() const noexcept { return fork_epoch() != parts_.context.epoch; }

 private:
  void drain() const;
  void end_threads();
  void stop_executors();
  std::uint64_t close_queues();
  void give_back();

  BrokerParts parts_;
  std::mutex stopping_;                             // one stop() at a time
  std::atomic<std::uint64_t> drain_until_{kNever};  // the soonest that any stop() asked for
  BrokerStats last_stats_;                          // guarded by the mutex
  std::uint64_t left_ = 0;                          // guarded by `stopping_`
  bool gone_ = false;                               // guarded by the mutex; stop() has removed all pools and queues
  Server server_;                                   // last: its thread works on all parts
};

}  // namespace ipcq::detail
