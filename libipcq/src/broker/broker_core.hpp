// One broker: its parts, and how they begin and end. What each does stands in its own header; who may do what under the
// mutex in broker_context.hpp.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <string>

#include "base/deadline.hpp"
#include "broker/broker_context.hpp"
#include "broker/clients.hpp"
#include "broker/closer.hpp"
#include "broker/endpoints.hpp"
#include "broker/executor_switch.hpp"
#include "broker/outliving_work.hpp"
#include "broker/registry.hpp"
#include "broker/runner_supervisor.hpp"
#include "broker/server.hpp"
#include "broker/statistics.hpp"
#include "ipcq/broker.hpp"

namespace ipcq::detail {

// Thread-safe; its functions are those of Broker.
class BrokerCore {
 public:
  explicit BrokerCore(const BrokerOptions& options);
  ~BrokerCore() { stop(Duration::zero()); }
  BrokerCore(const BrokerCore&) = delete;
  BrokerCore& operator=(const BrokerCore&) = delete;

  void create_pool(const std::string& name, const PoolOptions& options) { registry_.create_pool(name, options); }
  void create_queue(const std::string& name, const QueueOptions& options) { registry_.create_queue(name, options); }
  void end_of_stream(const std::string& queue);
  std::uint64_t stop(Duration drain_for);
  BrokerStats stats() const;
  std::string dump(const std::string& queue) const;
  const std::string& socket_path() const noexcept { return context_.name.socket_path(); }
  bool is_forked_child() const noexcept { return fork_epoch() != context_.epoch; }

 private:
  void drain() const;
  void end_threads();
  std::uint64_t close_queues();
  void give_back();

  BrokerContext context_;
  RunnerSupervisor supervisor_{context_};
  Registry registry_{context_, supervisor_};
  Closer closer_;
  Clients clients_;
  ExecutorSwitch switches_{context_, registry_, supervisor_};
  OutlivingWork outliving_{context_, registry_, supervisor_, clients_, closer_};
  Endpoints endpoints_{context_, registry_, supervisor_, switches_, outliving_};
  Statistics statistics_{context_, registry_, supervisor_, clients_};
  std::mutex stopping_;                             // one stop() at a time
  std::atomic<std::uint64_t> drain_until_{kNever};  // the soonest that any stop() asked for
  // Guarded by the mutex; set by stop().
  BrokerStats last_stats_;
  std::uint64_t left_ = 0;
  bool gone_ = false;  // nothing is left
  Server server_;      // last: its thread works on all of them
};

}  // namespace ipcq::detail
