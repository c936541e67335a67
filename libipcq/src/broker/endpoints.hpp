// Opens and closes the endpoints of queues: a client's producers and consumers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "broker/broker_context.hpp"
#include "broker/clients.hpp"
#include "broker/executor_switch.hpp"
#include "broker/outliving_work.hpp"
#include "broker/registry.hpp"
#include "control/control.hpp"
#include "repair/repair.hpp"

namespace ipcq::detail {

// How an endpoint ends, as its queue's stream of messages goes.
enum class Closing : std::uint8_t {
  clean,
  broken_off,  // its producer died, or an exception unwound it
  never_used,  // as if it had never been open
};

class Endpoints {
 public:
  Endpoints(BrokerContext& context, Registry& registry, const RunnerSupervisor& supervisor, ExecutorSwitch& switches,
            OutlivingWork& outliving)
      : context_(context), registry_(registry), supervisor_(supervisor), switches_(switches), outliving_(outliving) {}

  // Throws NotFoundError, UsageError.
  Reply open(const ConnectedClient& client, const Request& request);
  // The one with that id, if the session has it.
  void close(const ConnectedClient& session, std::uint32_t id, Closing how);
  // All of sessions whose process has died (broken_off), or of one that says goodbye (never_used).
  void close_all(const std::vector<ConnectedClient*>& sessions, Closing how);

  enum class Open : std::uint8_t { none, some, with_gpu };
  Open open_of(const ConnectedClient& client) const;

  // Goes on with groups that are being dissolved. Whether is_dissolving(), afterwards.
  bool dissolve();
  bool is_dissolving() const noexcept { return dissolving_; }

 private:
  static std::string device_refusal(const QueueEntry& q, bool consumer, bool uses_cuda);
  void publish_endpoint(QueueEntry& q, std::uint32_t index) const;
  void count_in(QueueEntry& q, EndpointEntry& e);
  // `alive`: the process goes on, and its GPU work with it.
  void close_endpoint(QueueEntry& q, EndpointEntry& e, Closing how, bool alive);
  void log_repair(const QueueEntry& q, const EndpointEntry& e, const RepairReport& report) const;
  void keep_outliving(const QueueEntry& q, const EndpointEntry& e, const RepairReport& report, bool alive);
  void count_out_producer(QueueEntry& q, const EndpointEntry& was, Closing how);

  BrokerContext& context_;
  Registry& registry_;
  const RunnerSupervisor& supervisor_;
  ExecutorSwitch& switches_;
  OutlivingWork& outliving_;
  bool dissolving_ = false;
};

}  // namespace ipcq::detail
