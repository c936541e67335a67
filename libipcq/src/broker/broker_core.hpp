// One broker: how its parts begin and end. What each does stands in its own header; who may do what under the
// mutex in broker_context.hpp.
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

// Thread-safe; its functions are those of Broker.
class BrokerCore {
 public:
  explicit BrokerCore(const BrokerOptions& options);
  ~BrokerCore() { stop(Duration::zero()); }
  BrokerCore(const BrokerCore&) = delete;
  BrokerCore& operator=(const BrokerCore&) = delete;

  void create_pool(const std::string& name, const PoolOptions& options) { parts_.registry.create_pool(name, options); }
  void create_queue(const std::string& name, const QueueOptions& options) {
    parts_.registry.create_queue(name, options);
  }
  void end_of_stream(const std::string& queue);
  std::uint64_t stop(Duration drain_for);
  BrokerStats stats() const;
  std::string dump(const std::string& queue) const;
  const std::string& socket_path() const noexcept { return parts_.context.name.socket_path(); }
  bool is_forked_child() const noexcept { return fork_epoch() != parts_.context.epoch; }

 private:
  void drain() const;
  void end_threads();
  std::uint64_t close_queues();
  void give_back();

  BrokerParts parts_;
  std::mutex stopping_;                             // one stop() at a time
  std::atomic<std::uint64_t> drain_until_{kNever};  // the soonest that any stop() asked for
  // Guarded by the mutex; set by stop().
  BrokerStats last_stats_;
  std::uint64_t left_ = 0;
  bool gone_ = false;  // nothing is left
  Server server_;      // last: its thread works on all parts
};

}  // namespace ipcq::detail
