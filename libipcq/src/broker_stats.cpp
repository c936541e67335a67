#include <unistd.h>

#include <algorithm>
#include <sstream>

#include "broker_core.hpp"
#include "ipcq/error.hpp"
#include "ipcq/version.hpp"

namespace ipcq::detail {
namespace {

std::uint64_t minus(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; }

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

}  // namespace

// Every term follows from the cursors, the held entries and what was counted as dropped or lost: no counter of a killed
// process is needed.
GroupStats BrokerCore::group_stats(const QueueEntry& q, unsigned g) const {
  const GroupState& state = q.groups[g];
  const auto& ring = q.map->ring();
  const std::uint64_t next = ring.cursor(kProducers).next;
  const std::uint64_t taken = std::min(ring.cursor(1 + g).next, next);
  GroupStats s;
  s.name = state.name;
  s.durable = state.durable;
  s.lossy = state.lossy;
  s.members = state.members;
  s.joined_at = state.joined_at;
  s.published = minus(minus(next, state.joined_at), count_between(q.tombstones, state.joined_at, next));
  s.waiting = minus(minus(next, taken), count_between(q.tombstones, taken, next));
  for (std::uint32_t i = 0; i < q.map->held_entries(); ++i) {
    const HeldWord w = unpack_held(q.map->held()[i].word.load(std::memory_order_relaxed));
    if (w.state != HeldState::free && w.group == g) ++s.held;
  }
  s.dropped = q.map->control().group[g].dropped.load(std::memory_order_relaxed);
  s.lost = state.lost + minus(q.map->control().damaged.load(std::memory_order_relaxed), state.damaged_before);
  s.redelivered = state.redelivered;
  for (std::size_t i = 0; i < q.endpoints.size(); ++i) {
    const EndpointState& e = q.endpoints[i];
    if (e.client == 0 || e.kind != EndpointKind::consumer || e.group != g) continue;
    s.lost += q.map->endpoint(static_cast<std::uint32_t>(i)).damaged.load(std::memory_order_relaxed);
    s.redelivered += q.map->endpoint(static_cast<std::uint32_t>(i)).redelivered.load(std::memory_order_relaxed);
  }
  s.delivered = minus(s.published, s.waiting + s.held + s.dropped + s.lost);
  return s;
}

EndpointStats BrokerCore::endpoint_stats(const QueueEntry& q, std::size_t index) const {
  const EndpointState& e = q.endpoints[index];
  const Endpoint& shared = q.map->endpoint(static_cast<std::uint32_t>(index));
  EndpointStats s;
  s.id = e.client;
  s.pid = e.pid;
  s.uid = e.uid;
  s.role = e.kind == EndpointKind::producer ? "producer" : "consumer";
  if (e.kind == EndpointKind::consumer) s.group = q.groups[e.group].name;
  const bool suspect = std::any_of(clients_.begin(), clients_.end(),
                                   [&](const auto& c) { return c->socket.get() == e.session && c->suspect; });
  s.state = is_stopped(e.pid) ? "stopped" : suspect ? "suspect" : "running";
  s.messages = shared.messages.load(std::memory_order_relaxed);
  s.bytes = shared.bytes.load(std::memory_order_relaxed);
  if (e.kind == EndpointKind::producer) {
    const auto& pool = q.pool->map->pool();
    for (std::uint32_t i = 0; i < pool.payload_slots(); ++i) {
      const Slot slot = pool.slot(i);
      if (slot.client == e.client && slot.state == SlotState::loan) ++s.held;
    }
  } else {
    for (std::uint32_t i = 0; i < q.map->held_entries(); ++i) {
      const HeldWord w = unpack_held(q.map->held()[i].word.load(std::memory_order_relaxed));
      if (w.state != HeldState::free && w.client == e.client) ++s.held;
    }
  }
  return s;
}

void BrokerCore::count_depths(const QueueEntry& q, QueueStats& s) const {
  const auto& pool = q.pool->map->pool();
  for (std::uint32_t i = 0; i < pool.payload_slots(); ++i) {
    const SlotState state = pool.slot(i).state;
    if (state == SlotState::free) ++s.empty;
    if (state == SlotState::loan) ++s.claimed;
    if (state == SlotState::quarantine) ++s.quarantined;
  }
  const auto& ring = q.map->ring();
  const std::uint64_t next = ring.cursor(kProducers).next;
  const std::uint64_t working_before = q.map->control().taken.load(std::memory_order_relaxed);
  std::uint64_t oldest = next;
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    if (!q.groups[g].name.empty()) oldest = std::min(oldest, ring.cursor(1 + g).next);
  }
  for (std::uint64_t t = std::max(oldest, minus(next, ring.lines())); t < next; ++t) {
    if (ring.readable(t)) {
      ++s.done;
    } else if (is_tagged(ring.in(t), ring.lap(t))) {
      ++(t < working_before ? s.inflight : s.ready);
    }
  }
  for (const auto& g : s.groups) s.reading += g.held;
}

// Whoever took the oldest place that is not published yet.
const EndpointState* BrokerCore::blocking_endpoint(const QueueEntry& q) const {
  const auto& ring = q.map->ring();
  const Cursor v = ring.cursor(kProducers);
  for (std::uint64_t t = minus(v.next, ring.lines()); t < v.next; ++t) {
    const std::uint32_t tag = tag_of(ring.in(t).unit[0].load_hi(std::memory_order_acquire));
    if (static_cast<std::int32_t>(tag - static_cast<std::uint32_t>(ring.lap(t))) >= 0) continue;
    const std::uint64_t own = ring.own(kProducers, t).load(std::memory_order_acquire);
    const std::uint32_t client = own_lap(own) == ring.lap(t) ? own_client(own) : v.client;
    for (const auto& e : q.endpoints) {
      if (e.client == client && client != 0) return &e;
    }
    return nullptr;
  }
  return nullptr;
}

QueueStats BrokerCore::stats_of(const QueueEntry& q) const {
  QueueStats s;
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
  s.slots = q.pool->map->config().slots;
  s.slot_bytes = q.pool->map->config().slot_bytes;
  s.lines = q.map->ring().lines();
  s.tombstones = q.tombstones.size();
  s.published = minus(q.map->ring().cursor(kProducers).next, s.tombstones);
  s.processed = q.map->control().processed.load(std::memory_order_relaxed);
  s.handler_errors = q.map->control().failed.load(std::memory_order_relaxed);
  const std::uint64_t now = now_ns();
  if (now > q.rate_at_ns) {
    s.publish_rate =
        static_cast<double>(minus(s.published, q.rate_published)) * 1e9 / static_cast<double>(now - q.rate_at_ns);
  }
  q.rate_published = s.published;
  q.rate_at_ns = now;
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    if (!q.groups[g].name.empty() && !q.groups[g].leaving) s.groups.push_back(group_stats(q, g));
  }
  for (std::size_t i = 0; i < q.endpoints.size(); ++i) {
    if (q.endpoints[i].client != 0) s.endpoints.push_back(endpoint_stats(q, i));
  }
  count_depths(q, s);
  s.producers_lost = q.producers_lost;
  if (const EndpointState* e = blocking_endpoint(q)) s.blocked_by_pid = e->pid;
  return s;
}

BrokerStats BrokerCore::stats() const {
  const std::scoped_lock lock(mutex_);
  return gone_ ? last_stats_ : stats_locked();
}

BrokerStats BrokerCore::stats_locked() const {
  BrokerStats s;
  s.name = name_.name();
  s.version = kVersion;
  s.abi = kLayoutVersion;
  s.pid = getpid();
  s.uptime_ns = now_ns() - started_at_ns_;
  s.deaths = deaths_;
  s.runner_deaths = runner_deaths_;
  for (const auto& c : clients_) s.clients += c->attached ? 1 : 0;
  for (const auto& [name, q] : queues_) {
    s.queues.push_back(stats_of(q));
    s.shm_bytes += q.map->segment().size();
  }
  for (const auto& [name, pool] : pools_) s.shm_bytes += pool->map->segment().size();
  return s;
}

std::string BrokerCore::dump(const std::string& queue) const {
  const std::scoped_lock lock(mutex_);
  return dump_locked(queue);
}

std::string BrokerCore::dump_locked(const std::string& queue) const {
  const QueueEntry& q = find(queue);
  const auto& ring = q.map->ring();
  std::ostringstream out;
  const Cursor p = ring.cursor(kProducers);
  out << "queue " << q.name << ": " << ring.lines() << " lines, pool " << q.pool->name << " of "
      << q.pool->map->config().slots << " slots\n"
      << "producers' cursor: next " << p.next << ", last " << p.count << " taken by client " << p.client
      << ", groups 0x" << std::hex << unsigned{p.groups} << ", live 0x" << ring.live_groups() << std::dec
      << (p.closed ? ", closed" : "") << "; " << q.producers << " open, " << q.producers_lost << " lost, end ticket "
      << static_cast<std::int64_t>(q.map->control().end_ticket.load(std::memory_order_relaxed)) << "\n";
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    if (q.groups[g].name.empty()) continue;
    const Cursor c = ring.cursor(1 + g);
    out << "group " << g << " " << q.groups[g].name << ": next " << c.next << ", last " << c.count
        << " taken by client " << c.client << ", " << q.groups[g].members << " members, orphan hint "
        << q.map->control().group[g].orphans.load(std::memory_order_relaxed) << "\n";
  }
  const std::uint64_t first = minus(p.next, std::min<std::uint64_t>(ring.lines(), 32));
  for (std::uint64_t t = first; t < p.next; ++t) {
    out << "ticket " << t << ": lap " << ring.lap(t) << ", in "
        << (is_tagged(ring.in(t), ring.lap(t)) ? "published" : "absent")
        << (ring.readable(t) ? ", readable" : ", not readable") << ", own";
    for (unsigned c = 0; c < kCursors; ++c) {
      const std::uint64_t e = ring.own(c, t).load(std::memory_order_relaxed);
      if (e != 0) {
        out << " [" << c << "] lap " << own_lap(e) << (own_state(e) == OwnState::done ? " done" : " taken") << " by "
            << own_client(e);
      }
    }
    out << "\n";
  }
  for (std::uint32_t i = 0; i < q.map->held_entries(); ++i) {
    const HeldWord w = unpack_held(q.map->held()[i].word.load(std::memory_order_relaxed));
    if (w.state == HeldState::free) continue;
    out << "held entry " << i << ": state " << static_cast<int>(w.state) << ", client " << w.client << ", group "
        << w.group << ", deliveries " << w.deliveries << ", ticket "
        << q.map->held()[i].ticket.load(std::memory_order_relaxed) << "\n";
  }
  const auto& pool = q.pool->map->pool();
  unsigned shown = 0;
  for (std::uint32_t i = 0; i < pool.slot_words() && shown < 64; ++i) {
    const Slot s = pool.slot(i);
    if (s.state == SlotState::free) continue;
    ++shown;
    out << (pool.is_alias(i) ? "alias " : "slot ") << i << ": state " << static_cast<int>(s.state) << ", lease "
        << s.lease << ", client " << s.client << ", groups 0x" << std::hex << unsigned{s.groups} << std::dec
        << ", ticket " << s.ticket << "\n";
  }
  for (const auto& e : q.endpoints) {
    if (e.client == 0) continue;
    out << (e.kind == EndpointKind::producer ? "producer " : "consumer ") << e.client << ": pid " << e.pid
        << (is_stopped(e.pid) ? " (stopped)" : "") << ", group " << e.group << "\n";
  }
  return out.str();
}

}  // namespace ipcq::detail
