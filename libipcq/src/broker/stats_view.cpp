#include "broker/stats_view.hpp"

#include <algorithm>
#include <map>
#include <unordered_map>
#include <utility>

#include "protocol/doorbell.hpp"

namespace ipcq::detail {
namespace {

constexpr std::uint64_t kSecond = 1'000'000'000;
// The previous view is used for the rate only if it is no older than this.
constexpr std::uint64_t kOldLook = 10 * kSecond;

struct PoolCounts {
  std::uint64_t empty = 0;
  std::uint64_t claimed = 0;
  std::uint64_t quarantined = 0;
  std::unordered_map<std::uint32_t, std::uint64_t> loans;  // by client
};

PoolCounts count_slots(const PoolMap& map) {
  PoolCounts n;
  const auto& pool = map.pool();
  for (std::uint32_t i = 0; i < pool.payload_slots(); ++i) {
    const Slot slot = pool.slot(i);
    if (slot.state == SlotState::free) ++n.empty;
    if (slot.state == SlotState::quarantine) ++n.quarantined;
    if (slot.state != SlotState::loan) continue;
    ++n.claimed;
    ++n.loans[slot.client];
  }
  return n;
}

// Counts the held entries of each group in q.stats, and what its members read in place, and returns those of each
// client.
std::unordered_map<std::uint32_t, std::uint64_t> count_held(QueueView& q) {
  std::unordered_map<std::uint32_t, std::uint64_t> by_client;
  std::size_t place[kMaxGroups];
  std::fill(std::begin(place), std::end(place), kMaxGroups);
  for (std::size_t i = 0; i < q.stats.groups.size(); ++i) place[q.groups[i]] = i;
  for (const std::uint32_t b : q.blocks) {
    IPCQ_CRASH_POINT("stats.block");
    for (const Held& h : q.map->held_block(b)) {
      const HeldWord w = unpack_held(h.word.load(std::memory_order_acquire));
      if (w.state == HeldState::free) continue;
      ++by_client[w.client];
      const std::size_t i = place[w.group];
      if (i != kMaxGroups && h.ticket.load(std::memory_order_relaxed) < q.taken[i]) ++q.stats.groups[i].held;
    }
  }
  for (std::size_t i = 0; i < q.stats.groups.size(); ++i) {
    for_each_being_read(q.map->ring(), q.groups[i], [&](std::uint64_t ticket, std::uint32_t client) {
      ++by_client[client];
      if (ticket < q.taken[i]) ++q.stats.groups[i].held;
    });
  }
  return by_client;
}

void count_lines(QueueView& q) {
  const auto& ring = q.map->ring();
  const std::uint64_t working_before = q.map->control().taken.load(std::memory_order_relaxed);
  std::uint64_t oldest = q.next;
  for (std::size_t i = 0; i < q.stats.groups.size(); ++i) oldest = std::min(oldest, q.taken[i]);
  for (std::uint64_t t = std::max(oldest, ring.oldest(q.next)); t < q.next; ++t) {
    if (ring.readable(t)) {
      ++q.stats.done;
    } else if (is_tagged(ring.in(t), ring.lap(t))) {
      ++(t < working_before ? q.stats.inflight : q.stats.ready);
    }
  }
}

// The pid of the producer that claimed the oldest ticket that is not published; 0: there is none, or its endpoint has
// closed.
std::int32_t blocked_by(const QueueView& q) {
  const auto& ring = q.map->ring();
  const Cursor v = ring.cursor(kProducers);
  for (std::uint64_t t = ring.oldest(v.next); t < v.next; ++t) {
    if (has_reached_lap(ring.in(t), ring.lap(t))) continue;
    const std::uint64_t own = ring.own(kProducers, t).load(std::memory_order_acquire);
    const std::uint32_t client = own_lap(own) == ring.lap(t) ? own_client(own) : v.client;
    for (const auto& e : q.stats.endpoints) {
      if (e.id == client && client != 0) return e.pid;
    }
    return 0;
  }
  return 0;
}

// Lines that are looked at for a message: some tickets are not published, or carry none.
constexpr std::uint64_t kLooks = 16;

// When the first message from there on was published, as far as lines tell; `now` where none does.
std::uint64_t published_at(const QueueView& q, std::uint64_t ticket, std::uint64_t now) {
  const auto& ring = q.map->ring();
  for (std::uint64_t t = ticket; t < std::min(q.next, ticket + kLooks); ++t) {
    Descriptor d;
    const bool message = ring.look_in(t, d) == LineRead::present && carries_message(d);
    if (message) return std::min(d.published_at_ns, now);
  }
  return now;
}

// Whether the youngest messages say when they were published. Inline ones do not.
bool tell_time(const QueueView& q) {
  const auto& ring = q.map->ring();
  for (std::uint64_t t = q.next; t > std::max(ring.oldest(q.next), minus(q.next, kLooks)); --t) {
    Descriptor d;
    if (ring.look_in(t - 1, d) == LineRead::present && d.kind == LineKind::slot) return true;
  }
  return false;
}

double rate_since_last_view(const QueueView& q, std::uint64_t now) {
  const std::uint64_t time = minus(now, q.before_ns);
  return time == 0
             ? 0
             : static_cast<double>(minus(q.stats.published, q.before_published)) * 1e9 / static_cast<double>(time);
}

// The rate over the last second, if the lines reach back that far. Else since the previous view, unless that is too
// old, or more recent than the oldest line; else since the oldest line.
double publish_rate(const QueueView& q) {
  const std::uint64_t now = now_ns();
  if (!tell_time(q)) return rate_since_last_view(q, now);
  const std::uint64_t since = minus(now, kSecond);
  const std::uint64_t oldest = q.map->ring().oldest(q.next);
  std::uint64_t from = oldest;
  for (std::uint64_t end = q.next; from < end;) {  // the first that is younger than that
    const std::uint64_t middle = from + (end - from) / 2;
    if (published_at(q, middle, now) >= since) {
      end = middle;
    } else {
      from = middle + 1;
    }
  }
  const double count = static_cast<double>(q.next - from);
  if (from != oldest || oldest == 0) return count;
  const std::uint64_t lines_tell = now - published_at(q, from, now);
  const std::uint64_t look = now - q.before_ns;
  if (look >= lines_tell && look <= kOldLook) return rate_since_last_view(q, now);
  return lines_tell == 0 ? 0 : count * 1e9 / static_cast<double>(lines_tell);
}

// The group for which producers wait for ever: it keeps its messages, and has no member. For one that is paused they
// wait as long as it is, which is shown.
std::string blocked_by_group(const QueueView& q) {
  if (q.stats.paused) return {};
  const bool no_slot = q.stats.slots != 0 && q.stats.empty == 0;
  for (std::size_t i = 0; i < q.stats.groups.size(); ++i) {
    const GroupStats& g = q.stats.groups[i];
    if (q.keeps[i] && !g.paused && g.members == 0 &&
        (q.next - q.taken[i] >= q.map->ring().lines() || (no_slot && g.waiting != 0))) {
      return g.name;
    }
  }
  return {};
}

void scan(QueueView& q, const PoolCounts& pool) {
  QueueStats& s = q.stats;
  s.empty = pool.empty;
  s.claimed = pool.claimed;
  s.quarantined = pool.quarantined;
  const auto held = count_held(q);
  for (GroupStats& g : s.groups) {
    s.reading += g.held;
    // The remainder: so it needs no counter of a process that may have been killed.
    g.delivered = minus(g.published, g.waiting + g.held + g.filtered + g.dropped + g.lost);
    if (q.map->handler_answers()) g.records = g.delivered;  // clients count what they send
  }
  for (EndpointStats& e : s.endpoints) {
    const auto& counts = e.role == "producer" || e.role == "client" ? pool.loans : held;
    if (const auto n = counts.find(e.id); n != counts.end()) e.held = n->second;
    if (is_stopped(e.pid)) e.state = "stopped";
  }
  count_lines(q);
  s.publish_rate = publish_rate(q);
  s.blocked_by_pid = blocked_by(q);
  s.blocked_by_group = blocked_by_group(q);
}

}  // namespace

BrokerStats scan(StatsView view) {
  std::map<const PoolMap*, PoolCounts> pools;  // that queues may share
  for (QueueView& q : view.queues) {
    const auto [counts, fresh] = pools.try_emplace(q.pool.get());
    if (fresh) counts->second = count_slots(*q.pool);
    scan(q, counts->second);
    view.stats.queues.push_back(std::move(q.stats));
  }
  return std::move(view.stats);
}

}  // namespace ipcq::detail
