#include "broker/statistics.hpp"

#include <unistd.h>

#include <algorithm>
#include <utility>

#include "base/deadline.hpp"
#include "ipcq/version.hpp"

namespace ipcq::detail {
namespace {

std::uint64_t count_between(const std::vector<std::uint64_t>& sorted, std::uint64_t from, std::uint64_t to) {
  if (from >= to) return 0;
  return static_cast<std::uint64_t>(std::lower_bound(sorted.begin(), sorted.end(), to) -
                                    std::lower_bound(sorted.begin(), sorted.end(), from));
}

const char* name_of(QueueState s) {
  switch (s) {
    case QueueState::open:
      return "open";
    case QueueState::draining:
      return "draining";
    case QueueState::closed:
      return "closed";
  }
  return "unknown";
}

// Every term follows from the cursors, the held entries and the counts of filtered, dropped and lost messages. scan()
// counts the held entries, and from them what was delivered.
GroupStats group_stats(const QueueEntry& q, unsigned g, std::uint64_t next, std::uint64_t taken) {
  const GroupEntry& state = q.groups[g];
  GroupStats s;
  s.name = state.name;
  s.durable = state.durable;
  s.lossy = state.lossy;
  s.paused = state.paused;
  s.members = state.members;
  s.joined_at = state.joined_at;
  s.published = minus(minus(next, state.joined_at), count_between(q.tombstones, state.joined_at, next));
  s.waiting = minus(minus(next, taken), count_between(q.tombstones, taken, next));
  s.dropped = q.map->control().group[g].dropped.load(std::memory_order_relaxed);
  s.lost = state.lost + minus(q.map->control().damaged.load(std::memory_order_relaxed), state.damaged_before);
  s.filtered = state.filtered;
  s.redelivered = state.redelivered;
  s.records = state.records;
  return s;
}

EndpointStats endpoint_stats(const QueueEntry& q, std::size_t index) {
  const EndpointEntry& e = q.endpoints[index];
  const Endpoint& shared = q.map->endpoint(static_cast<std::uint32_t>(index));
  EndpointStats s;
  s.id = e.client;
  s.pid = e.pid;
  s.uid = e.uid;
  s.role = role_of(*q.map, e.kind);
  if (e.kind == EndpointKind::consumer) s.group = q.groups[e.group].name;
  s.state = "running";
  s.messages = shared.messages.load(std::memory_order_relaxed);
  s.records = records_of(q, static_cast<std::uint32_t>(index));
  s.bytes = shared.bytes.load(std::memory_order_relaxed);
  return s;
}

void view_groups(const QueueEntry& q, QueueView& v) {
  std::size_t place[kMaxGroups] = {};
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    if (!is_kept(q.groups[g])) continue;
    const std::size_t i = place[g] = v.stats.groups.size();
    v.groups[i] = g;
    v.keeps[i] = !q.groups[g].lossy && q.options.backpressure != Backpressure::drop_oldest;
    v.taken[i] = std::min(q.map->ring().cursor(1 + g).next, v.next);
    v.stats.groups.push_back(group_stats(q, g, v.next, v.taken[i]));
  }
  for (std::size_t i = 0; i < q.endpoints.size(); ++i) {
    const EndpointEntry& e = q.endpoints[i];
    if (e.client == 0 || !takes_messages(*q.map, e.kind)) continue;
    GroupStats& s = v.stats.groups[place[e.group]];  // has a member, so it is not leaving
    const Endpoint& shared = q.map->endpoint(static_cast<std::uint32_t>(i));
    s.lost += shared.damaged.load(std::memory_order_relaxed);
    s.filtered += shared.filtered.load(std::memory_order_relaxed);
    s.redelivered += shared.redelivered.load(std::memory_order_relaxed);
    if (e.kind == EndpointKind::consumer) s.records += records_of(q, static_cast<std::uint32_t>(i));
  }
}

// Without record batches each message is one payload, and their number needs no counter of a producer.
std::uint64_t published_records(const QueueEntry& q, std::uint64_t published) {
  if (!q.map->packs_records()) return published;
  std::uint64_t records = q.records;
  for (std::size_t i = 0; i < q.endpoints.size(); ++i) {
    const bool open = q.endpoints[i].client != 0 && q.endpoints[i].kind == EndpointKind::producer;
    if (open) records += records_of(q, static_cast<std::uint32_t>(i));
  }
  return records;
}

void show_calls(const QueueEntry& q, QueueStats& s) {
  s.calls = q.map->config().calls_per_endpoint;
  if (!q.map->takes_calls()) return;
  if (!q.map->handler_answers()) s.on_server_death = to_string(q.options.on_server_death);
  const CallCounts counts = count_calls(q);
  s.calls_open = counts.open;
  s.calls_answered = counts.answered;
  s.calls_cancelled = q.cancelled;
  for (std::uint32_t e = 0; e < q.endpoints.size(); ++e) {
    if (q.endpoints[e].client != 0) s.calls_cancelled += q.map->endpoint(e).cancelled.load(std::memory_order_relaxed);
  }
}

}  // namespace

QueueView view_of(const QueueEntry& q, const std::unordered_set<int>& suspects) {
  QueueView v;
  v.map = q.map;
  v.pool = q.pool->map;
  v.next = q.map->ring().cursor(kProducers).next;
  v.blocks = held_blocks(q);
  QueueStats& s = v.stats;
  s.name = q.name;
  s.pool = q.pool->name;
  s.handler = q.options.handler;
  s.backend = q.options.backend;
  s.executor = !q.executor ? "none" : "host";
  if (q.map->on_device()) {
    s.executor = to_string(static_cast<ExecutorKind>(q.map->control().executor.load(std::memory_order_relaxed)));
    s.parked = q.map->control().parked.load(std::memory_order_relaxed) != 0;
  }
  s.backpressure = to_string(q.options.backpressure);
  s.state = name_of(static_cast<QueueState>(q.map->control().state.load(std::memory_order_relaxed)));
  s.paused = q.options.paused;
  s.slots = q.pool->map->config().slots;
  s.slot_bytes = s.slots != 0 ? q.pool->map->config().slot_bytes : 0;
  s.lines = q.map->ring().lines();
  s.line_bytes = q.map->config().line_bytes;
  s.inline_bytes = q.map->config().inline_bytes;
  s.batch = to_string(q.options.batch);
  s.schema = q.schemas[kSchemaIn];
  s.result_schema = q.schemas[kSchemaOut];
  s.metadata_bytes = q.pool->map->config().metadata_bytes;
  s.tombstones = q.tombstones.size();
  s.published = minus(v.next, s.tombstones);
  s.records = published_records(q, s.published);
  s.processed = q.map->control().processed.load(std::memory_order_relaxed);
  s.handler_errors = q.map->control().failed.load(std::memory_order_relaxed);
  s.producers_lost = q.producers_lost;
  show_calls(q, s);
  v.before_published = std::exchange(q.rate_published, s.published);
  v.before_ns = std::exchange(q.rate_at_ns, now_ns());
  view_groups(q, v);
  for (std::size_t i = 0; i < q.endpoints.size(); ++i) {
    if (q.endpoints[i].client == 0) continue;
    s.endpoints.push_back(endpoint_stats(q, i));
    if (suspects.count(q.endpoints[i].session) != 0) s.endpoints.back().state = "suspect";
  }
  return v;
}

StatsView Statistics::view() const {
  StatsView v;
  BrokerStats& s = v.stats;
  s.name = context_.name.name();
  s.version = kVersion;
  s.abi = kAbiVersion;
  s.pid = getpid();
  s.uptime_ns = now_ns() - context_.started_at_ns;
  s.deaths = deaths_;
  s.runner_deaths = supervisor_.deaths();
  std::unordered_set<int> suspects;
  for (const auto& c : clients_) {
    s.clients += c->attached ? 1 : 0;
    if (c->suspect) suspects.insert(c->socket.get());
  }
  for (const auto& [name, q] : registry_.queues()) {
    v.queues.push_back(view_of(q, suspects));
    s.shm_bytes += q.map->segment().size();
  }
  for (const auto& [name, pool] : registry_.pools()) s.shm_bytes += pool->map->segment().size();
  return v;
}

}  // namespace ipcq::detail
