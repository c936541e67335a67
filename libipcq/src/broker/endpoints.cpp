#include "broker/endpoints.hpp"

#include <algorithm>
#include <optional>

#include "broker/groups.hpp"
#include "broker/registered_homes.hpp"
#include "broker/schemas.hpp"
#include "broker/stream_end.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {

// Why a client with a GPU cannot use a queue of the host, or one without a GPU a queue in device memory; empty when it
// can.
std::string Endpoints::device_refusal(const QueueEntry& q, bool consumer, bool uses_cuda) {
  const std::string object = "queue '" + q.name + "': ";
  if (uses_cuda && consumer && q.map->config().inline_bytes > kDeliveredInlineBytes) {
    return object + "its lines carry payloads of up to " + std::to_string(q.map->config().inline_bytes) +
           " bytes, and a consumer with a GPU takes " + std::to_string(kDeliveredInlineBytes) +
           " at most from a line; create the queue with line=128 or less, or attach without a GPU";
  }
  if (uses_cuda || !q.pool->map->on_device()) return {};
  const char* const gpu_client = ", or attach with a GPU ({.cuda = true}; --device)";
  if (!q.pool->map->has_host_payloads()) {
    return object +
           "its payloads are in device memory alone (mirror=none), which a client without a GPU cannot reach; "
           "create the pool with mirror=full" +
           gpu_client;
  }
  if (consumer && !q.map->is_host_readable()) {
    return object +
           "its results stay in device memory (host_readable=no), where a consumer without a GPU cannot read "
           "them; create the queue with host_readable=yes" +
           gpu_client;
  }
  return {};
}

// Why a producer or consumer cannot use a queue of calls, or a client or server another; empty when it can.
std::string Endpoints::calls_refusal(const QueueEntry& q, bool consumer, std::uint32_t flags) {
  const bool for_calls = (flags & kForCalls) != 0;
  if (for_calls == q.map->takes_calls()) {
    return for_calls && (flags & kUsesCuda) != 0 ? "queue '" + q.name + "': clients and servers use no ipcq::cuda" : "";
  }
  const char* const what = consumer ? (for_calls ? "server" : "consumer") : (for_calls ? "client" : "producer");
  const char* const other = consumer ? (for_calls ? "consumer" : "server") : (for_calls ? "producer" : "client");
  return "queue '" + q.name + "': takes " + (for_calls ? "messages" : "calls") + ", for which a " + what +
         " is not made; open a " + (q.map->handler_answers() ? "client" : other) +
         (for_calls ? ", or create a queue of calls (calls=N)" : ", or create a queue without calls");
}

void name_segments(const QueueEntry& q, Reply& reply) {
  reply.generation = q.map->config().segment.generation;
  set_text(reply.queue_segment, sizeof reply.queue_segment, q.map->segment().name());
  set_text(reply.pool_segment, sizeof reply.pool_segment, q.pool->map->segment().name());
}

Reply Endpoints::open(const ConnectedClient& client, const Request& request, const SchemaClaim& claim) {
  const std::string whose = "client pid " + std::to_string(client.pid);
  if (!client.attached) return refuse(Refusal::usage, whose + ": said no hello");
  if (has_ended(client.pidfd)) return refuse(Refusal::usage, whose + ": has ended");
  QueueEntry& q = registry_.find(get_text(request.name, sizeof request.name));
  if (context_.stopped) return refuse(Refusal::not_found, "queue '" + q.name + "': its broker is stopping");
  const bool consumer = request.op == Op::open_consumer;
  const EndpointKind kind = consumer ? EndpointKind::consumer : EndpointKind::producer;
  const bool takes = takes_messages(*q.map, kind);
  const bool uses_cuda = (request.flags & kUsesCuda) != 0;
  if (const std::string why = device_refusal(q, takes, uses_cuda); !why.empty()) {
    return refuse(Refusal::backend, why);
  }
  if (const std::string why = calls_refusal(q, consumer, request.flags); !why.empty()) {
    return refuse(Refusal::usage, why);
  }
  if (consumer && q.map->handler_answers()) {
    return refuse(Refusal::usage, "queue '" + q.name + "': its handler '" + printable(q.options.handler) +
                                      "' answers its calls, so it has no servers; create one without a handler");
  }
  check_claim(q, kind, claim);
  const std::uint32_t index = choose_endpoint(q, takes);
  if (index == q.endpoints.size()) {
    return refuse(Refusal::usage, "queue '" + q.name + "': all " + std::to_string(q.endpoints.size()) +
                                      " endpoints are in use; create it with more (endpoints=N)");
  }
  Reply reply;
  std::optional<unsigned> group = 0;
  if (consumer) {
    group = choose_group(q, get_text(request.group, sizeof request.group), (request.flags & kLossy) != 0, reply);
  }
  if (!group) return reply;

  if (uses_cuda) switches_.prefer_stream(q);  // a client that is refused switches nothing
  EndpointEntry& e = q.endpoints[index];
  e.client = registry_.ids().take([this](std::uint32_t id) { return outliving_.bears(id); });
  e.kind = kind;
  e.group = *group;
  e.pid = client.pid;
  e.uid = client.uid;
  e.session = client.socket.get();
  e.uses_cuda = uses_cuda;
  bind_claim(q, e, claim);
  publish_endpoint(q, index);
  count_in(q, e);
  reply.client = e.client;
  reply.endpoint = index;
  reply.group = e.group;
  reply.durable = consumer && q.groups[e.group].durable ? 1 : 0;
  name_segments(q, reply);
  return reply;
}

void Endpoints::publish_endpoint(QueueEntry& q, std::uint32_t index) const {
  const EndpointEntry& e = q.endpoints[index];
  Endpoint& shared = q.map->endpoint(index);
  shared.kind = static_cast<std::uint32_t>(e.kind);
  shared.pid = e.pid;
  shared.uid = e.uid;
  shared.group = e.group;
  for (Word* w : {&shared.messages, &shared.bytes, &shared.redelivered, &shared.damaged, &shared.more_records,
                  &shared.filtered, &shared.cancelled}) {
    w->store(0, std::memory_order_relaxed);
  }
  shared.client.store(e.client, std::memory_order_release);
}

void Endpoints::count_in(QueueEntry& q, EndpointEntry& e) {
  if (e.kind == EndpointKind::consumer) {
    ++q.groups[e.group].members;
    if (q.map->takes_calls()) show_servers(q);
    if (q.groups[e.group].durable || !is_default_unread(q)) return;
    context_.log(LogLevel::warning,
                 "queue '" + q.name + "': a consumer reads in a group of its own, and none in '" + q.groups[0].name +
                     "', which keeps its messages and holds producers up once the queue is full; if nobody is to read "
                     "there, create the queue with the groups that it is to have (group=NAME)");
    return;
  }
  if (takes_messages(*q.map, e.kind)) ++q.groups[e.group].members;
  ++q.producers;
  ++q.producers_opened;
  e.took_place = q.producers_lost > 0;
  if (e.took_place) --q.producers_lost;
  take_end_back(q);
}

void Endpoints::show_servers(const QueueEntry& q) {
  q.map->control().servers.store(q.groups[0].members, std::memory_order_release);
}

void Endpoints::close_endpoint(QueueEntry& q, EndpointEntry& e, Closing how, bool alive) {
  const auto index = static_cast<std::uint32_t>(&e - q.endpoints.data());
  const std::vector<std::uint32_t> blocks = held_blocks(q);
  const RegisteredHomes homes(registry_);
  const RepairReport report = repair_endpoint(*q.map, *q.pool->map,
                                              {.client = e.client,
                                               .endpoint = index,
                                               .kind = e.kind,
                                               .uses_cuda = e.uses_cuda,
                                               .alive = alive,
                                               .gpu_may_outlive = outliving_.may_outlive(q, e),
                                               .blocks = &blocks,
                                               .homes = &homes});
  add_tombstones(q, report.tombstones);
  log_repair(q, e, report);
  Endpoint& shared = q.map->endpoint(index);
  const bool consumer = e.kind == EndpointKind::consumer;
  const bool takes = takes_messages(*q.map, e.kind);
  if (takes || q.kept[index] != 0) count_kept(q, index);
  if (takes) {
    q.groups[e.group].lost += shared.damaged.load(std::memory_order_relaxed) + report.lost;
    q.groups[e.group].filtered += shared.filtered.load(std::memory_order_relaxed);
    q.groups[e.group].redelivered += shared.redelivered.load(std::memory_order_relaxed);
  }
  (consumer ? q.groups[e.group].records : q.records) += records_of(q, index);
  keep_outliving(q, e, report, alive);
  shared.client.store(0, std::memory_order_release);
  const EndpointEntry was = e;
  e = EndpointEntry{};
  if (how == Closing::never_used) unbind_claim(q, was);
  if (takes) dissolving_ = remove_member(q, was.group) || dissolving_;
  if (q.map->handler_answers() && q.groups[0].members == 0) dissolving_ = true;
  if (takes && q.map->takes_calls()) q.cancelled += shared.cancelled.load(std::memory_order_relaxed);
  if (consumer) {
    if (q.map->takes_calls()) {  // after the repair: what this server had is answered, or given back
      show_servers(q);
      q.map->ring_call_bells();
    }
  } else {
    count_out_producer(q, was, how);
  }
}

void Endpoints::log_repair(const QueueEntry& q, const EndpointEntry& e, const RepairReport& r) const {
  const std::uint64_t tombstones = r.tombstones.size();
  if (r.loans + tombstones + r.orphans + r.finished + r.lost + r.unwritten + r.quarantined == 0) return;
  context_.log(LogLevel::info,
               "queue '" + q.name + "': after " + role_of(*q.map, e.kind) + " of pid " + std::to_string(e.pid) + ": " +
                   std::to_string(r.loans) + " slots freed, " + std::to_string(tombstones) + " tombstones, " +
                   std::to_string(r.orphans) + " messages given back, " + std::to_string(r.finished) +
                   " steps finished, " + std::to_string(r.lost) + " lost, " + std::to_string(r.unwritten) +
                   " never completed by its GPU, " + std::to_string(r.quarantined) + " slots quarantined");
}

// Gives the id back, unless slots were put in quarantine and nothing watches for its end: these bear the id from now
// on.
void Endpoints::keep_outliving(const QueueEntry& q, const EndpointEntry& e, const RepairReport& report, bool alive) {
  if (report.late != 0) outliving_.keep_late_writer(q, e);
  const bool keeps = report.late + report.quarantined != 0 || (!alive && e.uses_cuda && supervisor_.has_mps(q.device));
  if (!keeps || outliving_.keep_quarantine(q, e) || report.quarantined == 0) registry_.ids().give_back(e.client);
}

void Endpoints::count_out_producer(QueueEntry& q, const EndpointEntry& was, Closing how) {
  --q.producers;
  if (q.map->takes_calls()) return;  // servers wait for the next client: there is no stream that could end
  if (how == Closing::never_used) {
    --q.producers_opened;
    if (was.took_place) ++q.producers_lost;
  }
  if (how == Closing::broken_off) {
    ++q.producers_lost;
    context_.log(LogLevel::warning, "queue '" + q.name + "': a producer of pid " + std::to_string(was.pid) +
                                        " has not ended its stream: consumers wait until another producer opens, or "
                                        "`ipcq end " +
                                        q.name + "`");
  }
  announce_end_if_due(q);
}

void Endpoints::close(const ConnectedClient& session, std::uint32_t id, Closing how) {
  for (auto& [name, q] : registry_.queues()) {
    for (auto& e : q.endpoints) {
      if (id != 0 && e.client == id && e.session == session.socket.get()) close_endpoint(q, e, how, true);
    }
  }
}

// A session has closed its endpoints when it says bye: one that is still open was opened for a request that the client
// had given up, and belongs to nobody. Producers first: what a forwarder had not published must be undone before the
// message that it held is given back.
void Endpoints::close_all(const std::vector<ConnectedClient*>& sessions, Closing how) {
  for (const EndpointKind kind : {EndpointKind::producer, EndpointKind::consumer}) {
    for (auto& [name, q] : registry_.queues()) {
      for (auto& e : q.endpoints) {
        const bool theirs = std::any_of(sessions.begin(), sessions.end(),
                                        [&](const ConnectedClient* c) { return c->socket.get() == e.session; });
        if (e.client != 0 && e.kind == kind && theirs) close_endpoint(q, e, how, how != Closing::broken_off);
      }
    }
  }
}

Endpoints::Open Endpoints::open_of(const ConnectedClient& client) const {
  Open found = Open::none;
  for (const auto& [name, q] : registry_.queues()) {
    for (const auto& e : q.endpoints) {
      if (e.client == 0 || e.session != client.socket.get()) continue;
      if (e.uses_cuda) return Open::with_gpu;
      found = Open::some;
    }
  }
  return found;
}

bool Endpoints::dissolve() {
  if (!dissolving_) return false;
  dissolving_ = false;
  for (auto& [name, q] : registry_.queues()) dissolving_ = !dissolve_groups(q) || dissolving_;
  return dissolving_;
}

}  // namespace ipcq::detail
