// One visitor per struct names the fields once for both directions.
#include "control/stats_codec.hpp"

#include "control/fields.hpp"

namespace ipcq::detail {

template <class Visitor, class S>
void visit_fields(Visitor& v, S& s, GroupStats*) {
  v(s.name), v(s.durable), v(s.lossy), v(s.paused), v(s.members), v(s.joined_at), v(s.published), v(s.waiting);
  v(s.held), v(s.delivered), v(s.filtered), v(s.dropped), v(s.expired), v(s.dead_lettered), v(s.lost), v(s.redelivered),
      v(s.records);
}
template <class Visitor, class S>
void visit_fields(Visitor& v, S& s, EndpointStats*) {
  v(s.id), v(s.pid), v(s.uid), v(s.role), v(s.group), v(s.state), v(s.messages), v(s.records), v(s.bytes), v(s.held);
}
template <class Visitor, class S>
void visit_fields(Visitor& v, S& s, QueueStats*) {
  v(s.name), v(s.pool), v(s.handler), v(s.backend), v(s.executor), v(s.parked), v(s.backpressure), v(s.state);
  v(s.paused), v(s.slots), v(s.slot_bytes), v(s.lines), v(s.line_bytes), v(s.inline_bytes), v(s.batch), v(s.published),
      v(s.records), v(s.tombstones), v(s.processed), v(s.handler_errors);
  v(s.publish_rate), v(s.empty), v(s.claimed), v(s.ready), v(s.inflight), v(s.done), v(s.reading), v(s.quarantined);
  v(s.producers_lost), v(s.blocked_by_pid), v(s.blocked_by_group), v(s.calls), v(s.on_server_death), v(s.calls_open),
      v(s.calls_answered), v(s.calls_cancelled), v(s.groups), v(s.endpoints);
  v(s.schema), v(s.result_schema), v(s.metadata_bytes);
}
template <class Visitor, class S>
void visit_fields(Visitor& v, S& s, BrokerStats*) {
  v(s.name), v(s.version), v(s.pid), v(s.uptime_ns), v(s.shm_bytes), v(s.abi), v(s.clients), v(s.deaths),
      v(s.runner_deaths), v(s.queues);
}

std::string encode(const BrokerStats& stats) {
  FieldWriter w;
  w(stats);
  return w.take();
}

BrokerStats decode_stats(const std::string& text) {
  FieldReader r(text, "broker answer");
  BrokerStats stats;
  r(stats);
  r.finish();
  return stats;
}

}  // namespace ipcq::detail
