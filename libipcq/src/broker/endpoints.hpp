// Opens and closes the endpoints of queues: a client's producers and consumers.
//
// Thread safety: guarded by the broker's mutex. Invariant: an endpoint that closes is repaired before its place and its
// id are used again.
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
#include "control/schema_claim.hpp"
#include "repair/repair.hpp"

namespace ipcq::detail {

// What the end of an endpoint means for its queue's stream of messages.
enum class Closing : std::uint8_t {
  clean,
  broken_off,  // its producer died, or an exception unwound it
  never_used,  // counts as if it had never been open
};

// Names the queue's segments in a reply.
void name_segments(const QueueEntry& q, Reply& reply);

class Endpoints {
 public:
  Endpoints(BrokerContext& context, Registry& registry, const RunnerSupervisor& supervisor, ExecutorSwitch& switches,
            OutlivingWork& outliving)
      : context_(context), registry_(registry), supervisor_(supervisor), switches_(switches), outliving_(outliving) {}

  // Throws NotFoundError, UsageError.
  Reply open(const ConnectedClient& client, const Request& request, const SchemaClaim& claim = {});
  // Closes the endpoint with that id, if it is this session's.
  void close(const ConnectedClient& session, std::uint32_t id, Closing how);
  // Closes all endpoints of sessions whose process has died (broken_off), or of one that says bye (never_used).
  void close_all(const std::vector<ConnectedClient*>& sessions, Closing how);

  enum class Open : std::uint8_t { none, some, with_gpu };
  Open open_of(const ConnectedClient& client) const;

  // Continues to dissolve groups that their last member has left. Returns is_dissolving().
  bool dissolve();
  bool is_dissolving() const noexcept { return dissolving_; }

 private:
  static std::string device_refusal(const QueueEntry& q, bool consumer, bool uses_cuda);
  static std::string calls_refusal(const QueueEntry& q, bool consumer, std::uint32_t flags);
  static void show_servers(const QueueEntry& q);
  void publish_endpoint(QueueEntry& q, std::uint32_t index) const;
  void count_in(QueueEntry& q, EndpointEntry& e);
  // `alive`: the client's process lives, and its GPU work goes on.
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
