// Endpoints and groups: who opens and closes, which group a consumer joins, when a stream has ended.
#include <algorithm>

#include "broker/broker_core.hpp"
#include "repair/membership.hpp"

namespace ipcq::detail {

namespace {

std::uint32_t count_in_use(const QueueMap& map, std::uint32_t endpoint) {
  IPCQ_STEP("endpoint.block");
  const std::uint32_t block = map.config().held_per_endpoint;
  const Held* const first = map.held() + std::size_t{endpoint} * block;
  return static_cast<std::uint32_t>(
      std::count_if(first, first + block, [](const Held& h) { return h.word.load(std::memory_order_relaxed) != 0; }));
}

}  // namespace

// Whether slots or messages of an endpoint that is closed still bear its id.
bool BrokerCore::outlives_its_endpoint(std::uint32_t id) const {
  const auto has_it = [id](const auto& kept) { return kept.client == id; };
  return std::any_of(late_writers_.begin(), late_writers_.end(), has_it) ||
         std::any_of(quarantines_.begin(), quarantines_.end(), has_it);
}

// Ids go round all 22 bits before one comes back, and only those of endpoints that were repaired are free.
std::uint32_t BrokerCore::new_client_id() {
  do {
    last_client_ = (last_client_ + 1) & kClientMask;
  } while (last_client_ <= kBrokerClient || outlives_its_endpoint(last_client_) || !ids_.insert(last_client_).second);
  return last_client_;
}

Reply BrokerCore::open_endpoint(const ClientState& client, const Request& request) {
  if (!client.attached) return refuse(Refusal::usage, "client pid " + std::to_string(client.pid) + ": said no hello");
  if (has_ended(client.pidfd))
    return refuse(Refusal::usage, "client pid " + std::to_string(client.pid) + ": has ended");
  QueueEntry& q = find(get_text(request.name, sizeof request.name));
  if (stopped_) return refuse(Refusal::not_found, "queue '" + q.name + "': its broker is stopping");
  const bool consumer = request.op == Op::open_consumer;
  const bool uses_cuda = (request.flags & kUsesCuda) != 0;
  if (const std::string why = device_refusal(q, consumer, uses_cuda); !why.empty()) {
    return refuse(Refusal::backend, why);
  }
  const std::uint32_t index = choose_endpoint(q, consumer);
  if (index == q.endpoints.size()) {
    return refuse(Refusal::usage, "queue '" + q.name + "': all " + std::to_string(q.endpoints.size()) +
                                      " endpoints are in use; create it with more (endpoints=N)");
  }
  unsigned group = 0;
  Reply reply;
  if (uses_cuda) prefer_stream(q);
  if (consumer && !choose_group(q, request, group, reply)) return reply;

  EndpointState& e = q.endpoints[index];
  e.client = new_client_id();
  e.kind = consumer ? EndpointKind::consumer : EndpointKind::producer;
  e.group = group;
  e.pid = client.pid;
  e.uid = client.uid;
  e.session = client.socket.get();
  e.uses_cuda = uses_cuda;
  Endpoint& shared = q.map->endpoint(index);
  shared.kind = static_cast<std::uint32_t>(e.kind);
  shared.pid = e.pid;
  shared.uid = e.uid;
  shared.group = group;
  for (Word* w : {&shared.messages, &shared.bytes, &shared.redelivered, &shared.damaged, &shared.sequence}) {
    w->store(0, std::memory_order_relaxed);
  }
  shared.client.store(e.client, std::memory_order_release);
  if (consumer) {
    ++q.groups[group].members;
    if (!q.groups[group].durable) warn_of_unread_default(q);
  } else {
    ++q.producers;
    ++q.producers_opened;
    e.took_place = q.producers_lost > 0;
    if (e.took_place) --q.producers_lost;
    q.map->control().end_ticket.store(kNoTicket, std::memory_order_release);
  }
  reply.client = e.client;
  reply.endpoint = index;
  reply.group = group;
  reply.durable = consumer && q.groups[group].durable ? 1 : 0;
  reply.generation = q.map->config().segment.generation;
  set_text(reply.queue_segment, sizeof reply.queue_segment, q.map->segment().name());
  set_text(reply.pool_segment, sizeof reply.pool_segment, q.pool->map->segment().name());
  return reply;
}

// A queue that names no group has `default`, which keeps its messages for whoever comes. If consumers come in other
// groups alone, that is an oversight.
void BrokerCore::warn_of_unread_default(QueueEntry& q) const {
  GroupState& g = q.groups[0];
  if (q.options.groups.size() != 1 || !g.durable || g.lossy || g.members != 0 || g.warned) return;
  g.warned = true;
  log(LogLevel::warning, "queue '" + q.name + "': a consumer reads in a group of its own, and none in '" + g.name +
                             "', which keeps its messages and holds producers up once the queue is full; if nobody is "
                             "to read there, create the queue with the groups that it is to have (group=NAME)");
}

// Blocks of held entries in which one may be in use. Nothing else of the held entries needs a look: a member takes
// messages into its own block only, and what was left in one when it closed can only become less.
std::vector<std::uint32_t> BrokerCore::held_blocks(const QueueEntry& q) {
  std::vector<std::uint32_t> blocks;
  for (std::uint32_t i = 0; i < q.endpoints.size(); ++i) {
    const EndpointState& e = q.endpoints[i];
    if (q.kept[i] != 0 || (e.client != 0 && e.kind == EndpointKind::consumer)) blocks.push_back(i);
  }
  return blocks;
}

// A free endpoint. Messages that a former owner gave back may still lie in its held entries: a producer, which needs
// none, gets one with many such, a consumer one with few: without any if there is one. Else it looks at what is really
// left of them, at one after the other until half of its entries are free.
std::uint32_t BrokerCore::choose_endpoint(QueueEntry& q, bool consumer) {
  const auto count = static_cast<std::uint32_t>(q.endpoints.size());
  std::uint32_t best = count;
  const auto take_better = [&](std::uint32_t i) {
    if (q.endpoints[i].client != 0) return;
    if (best == count || (consumer ? q.kept[i] < q.kept[best] : q.kept[i] > q.kept[best])) best = i;
  };
  for (std::uint32_t i = 0; i < count; ++i) take_better(i);
  if (!consumer || best == count || q.kept[best] == 0) return best;
  const std::uint32_t enough = q.map->config().held_per_endpoint / 2;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (q.endpoints[i].client != 0) continue;
    q.kept[i] = count_in_use(*q.map, i);
    take_better(i);
    if (q.kept[i] <= enough) return i;
  }
  return best;
}

bool BrokerCore::choose_group(QueueEntry& q, const Request& request, unsigned& group, Reply& refusal) {
  const std::string name = get_text(request.group, sizeof request.group);
  check_name(name, "group");
  unsigned free = kMaxGroups;
  bool leaving = false;
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    GroupState& state = q.groups[g];
    if (state.leaving) {
      leaving = true;
      if (state.name != name) continue;
      refusal = refuse(Refusal::busy, "group '" + name + "': is being dissolved; try again");
      return false;
    }
    if (state.name == name) {
      if ((request.flags & kLossy) != 0 && !state.lossy) {
        refusal =
            refuse(Refusal::usage, "group '" + name + "' of queue '" + q.name + "' is not lossy: " +
                                       (state.durable ? "it was declared so (group=" + name + ":lossy makes it lossy)"
                                                      : "the consumer that founded it did not ask for that") +
                                       "; leave out lossy, or join another group");
        return false;
      }
      group = g;
      return true;
    }
    if (state.name.empty() && free == kMaxGroups) free = g;
  }
  if (free == kMaxGroups) {
    refusal = refuse(leaving ? Refusal::busy : Refusal::usage, "group '" + name + "': queue '" + q.name + "' has " +
                                                                   std::to_string(kMaxGroups) +
                                                                   " groups already, the most that are possible");
    return false;
  }
  GroupState& state = q.groups[free];
  state = GroupState{};
  state.name = name;
  state.lossy = (request.flags & kLossy) != 0;
  auto& shared = q.map->control().group[free];
  set_text(shared.name, sizeof shared.name, name);
  shared.policy.store(state.lossy ? 1 : 0, std::memory_order_relaxed);
  state.joined_at = join_group(*q.map, free);
  state.damaged_before = q.map->control().damaged.load(std::memory_order_relaxed);
  group = free;
  return true;
}

void BrokerCore::end_stream(QueueEntry& q) {
  q.producers_lost = 0;
  q.end_asked = true;
  look_for_end(q);
}

void BrokerCore::look_for_end(QueueEntry& q) {
  if (q.lost) return;  // its producers had more to say, and close because they cannot
  if ((q.producers_opened == 0 && !q.end_asked) || q.producers != 0 || q.producers_lost != 0) return;
  auto& control = q.map->control();
  if (control.end_ticket.load(std::memory_order_relaxed) != kNoTicket) return;  // it has ended already
  control.end_count.fetch_add(1, std::memory_order_relaxed);
  // SYNC stream-end (release): the count before the ticket. Pairs with: is_at_end.
  control.end_ticket.store(q.map->ring().cursor(kProducers).next, std::memory_order_release);
  for (auto& bell : q.map->control().ready) ring_always(bell);
}

void BrokerCore::close_endpoint(QueueEntry& q, EndpointState& e, Closing how, bool alive) {
  const auto index = static_cast<std::uint32_t>(&e - q.endpoints.data());
  const std::vector<std::uint32_t> blocks = held_blocks(q);
  RepairReport report = repair_endpoint(*q.map, *q.pool->map,
                                        {.client = e.client,
                                         .endpoint = index,
                                         .kind = e.kind,
                                         .uses_cuda = e.uses_cuda,
                                         .alive = alive,
                                         .gpu_may_outlive = may_gpu_outlive(q, e),
                                         .blocks = &blocks});
  q.tombstones.insert(q.tombstones.end(), report.tombstones.begin(), report.tombstones.end());
  std::sort(q.tombstones.begin(), q.tombstones.end());
  Endpoint& shared = q.map->endpoint(index);
  const EndpointState was = e;
  const bool consumer = was.kind == EndpointKind::consumer;
  if (consumer || q.kept[index] != 0) q.kept[index] = count_in_use(*q.map, index);
  if (consumer) {
    q.groups[was.group].lost += shared.damaged.load(std::memory_order_relaxed) + report.lost;
    q.groups[was.group].redelivered += shared.redelivered.load(std::memory_order_relaxed);
  }
  if (report.loans + report.tombstones.size() + report.orphans + report.finished + report.lost + report.unwritten !=
          0 ||
      report.quarantined != 0) {
    log(LogLevel::info, "queue '" + q.name + "': after " + (consumer ? "consumer" : "producer") + " of pid " +
                            std::to_string(e.pid) + ": " + std::to_string(report.loans) + " slots freed, " +
                            std::to_string(report.tombstones.size()) + " tombstones, " +
                            std::to_string(report.orphans) + " messages given back, " +
                            std::to_string(report.finished) + " steps finished, " + std::to_string(report.lost) +
                            " lost, " + std::to_string(report.unwritten) + " never completed by its GPU, " +
                            std::to_string(report.quarantined) + " slots quarantined");
  }
  if (report.late != 0) keep_late_writer(q, e);
  const bool keeps = report.late + report.quarantined != 0 || (!alive && e.uses_cuda && has_mps(q));
  // Its id stays in use where slots bear it for good.
  if (!keeps || keep_quarantine(q, e) || report.quarantined == 0) ids_.erase(e.client);
  shared.client.store(0, std::memory_order_release);
  e = EndpointState{};
  if (consumer) {
    remove_member(q, was.group);
    return;
  }
  --q.producers;
  if (how == Closing::never_used) {
    --q.producers_opened;
    if (was.took_place) ++q.producers_lost;
  }
  if (how == Closing::broken_off) {
    ++q.producers_lost;
    log(LogLevel::warning, "queue '" + q.name + "': a producer of pid " + std::to_string(was.pid) +
                               " has not ended its stream: consumers wait until another producer opens, or `ipcq end " +
                               q.name + "`");
  }
  look_for_end(q);
}

void BrokerCore::remove_member(QueueEntry& q, unsigned g) {
  GroupState& state = q.groups[g];
  if (--state.members != 0 || state.durable) return;
  state.leaving = true;
  state.left_at = leave_group(*q.map, g);
  leaving_ = true;  // finish_leaving() follows in serve()
}

bool BrokerCore::finish_leaving() {
  bool all = true;
  for (auto& [name, q] : queues_) {
    for (unsigned g = 0; g < kMaxGroups; ++g) {
      if (!q.groups[g].leaving || q.lost) continue;
      const std::vector<std::uint32_t> blocks = held_blocks(q);
      if (drain_left_group(*q.map, *q.pool->map, g, q.groups[g].left_at, &blocks)) {
        q.groups[g] = GroupState{};
      } else {
        all = false;
      }
    }
  }
  return all;
}

// The endpoint with that id, if the session has it.
void BrokerCore::close_client(const ClientState& session, std::uint32_t id, Closing how) {
  for (auto& [name, q] : queues_) {
    for (auto& e : q.endpoints) {
      if (id != 0 && e.client == id && e.session == session.socket.get()) close_endpoint(q, e, how, true);
    }
  }
}

// Of sessions whose process has died (broken_off), or of one that says goodbye: a session closes what it has before, so
// what is open then was opened for a request that it had given up, and is nobody's (never_used).
// Producers first: what a forwarder had not published must be undone before the message that it held is given back.
void BrokerCore::end_sessions(const std::vector<ClientState*>& sessions, Closing how) {
  for (const EndpointKind kind : {EndpointKind::producer, EndpointKind::consumer}) {
    for (auto& [name, q] : queues_) {
      for (auto& e : q.endpoints) {
        const bool ours = std::any_of(sessions.begin(), sessions.end(),
                                      [&](const ClientState* c) { return c->socket.get() == e.session; });
        if (e.client != 0 && e.kind == kind && ours) close_endpoint(q, e, how, how != Closing::broken_off);
      }
    }
  }
}

}  // namespace ipcq::detail
