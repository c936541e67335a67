#include "broker/stream_end.hpp"

#include <algorithm>

#include "ipcq/error.hpp"
#include "protocol/doorbell.hpp"
#include "repair/membership.hpp"

namespace ipcq::detail {
namespace {

void announce_end(const QueueEntry& q) noexcept {
  auto& control = q.map->control();
  // SYNC stream-end (release): the count before the ticket. Pairs with: is_at_end.
  control.end_ticket.store(q.map->ring().cursor(kProducers).next, std::memory_order_release);
  for (Doorbell& bell : control.ready) ring_always(bell);
}

bool stream_has_ended(const QueueEntry& q) noexcept {
  return q.map->control().end_ticket.load(std::memory_order_relaxed) != kNoTicket;
}

void set_state(const QueueEntry& q, QueueState state) noexcept {
  q.map->control().state.store(static_cast<std::uint64_t>(state), std::memory_order_release);
}

}  // namespace

void end_stream(QueueEntry& q) {
  if (q.map->takes_calls()) {
    throw UsageError("queue '" + q.name +
                     "': it takes calls, and has no stream that could end; remove it, or drain it");
  }
  q.producers_lost = 0;
  q.end_asked = true;
  announce_end_if_due(q);
}

void announce_end_if_due(QueueEntry& q) {
  if (q.lost) return;  // its producers had more to publish, and close because they cannot
  if ((q.producers_opened == 0 && !q.end_asked) || q.producers != 0 || q.producers_lost != 0) return;
  if (stream_has_ended(q)) return;
  q.map->control().end_count.fetch_add(1, std::memory_order_relaxed);
  announce_end(q);
}

void take_end_back(const QueueEntry& q) noexcept {
  q.map->control().end_ticket.store(kNoTicket, std::memory_order_release);
}

void move_end(const QueueEntry& q) noexcept {
  if (stream_has_ended(q)) announce_end(q);
}

void begin_draining(const QueueEntry& q) {
  set_state(q, QueueState::draining);
  close_intake(*q.map);
}

void end_draining(const QueueEntry& q) {
  set_state(q, QueueState::open);
  open_intake(*q.map);
}

namespace {

// `taken`: by group, the tickets before it were.
Leftover leftover(const QueueEntry& q, const std::uint64_t (&taken)[kMaxGroups], const HeldCounts& counts) {
  const std::uint64_t next = q.map->ring().cursor(kProducers).next;
  Leftover left;
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    if (!is_kept(q.groups[g])) continue;
    const std::uint64_t from = std::min(taken[g], next);
    const auto tombstones = q.tombstones.end() - std::lower_bound(q.tombstones.begin(), q.tombstones.end(), from);
    const std::uint64_t waiting = next - from - static_cast<std::uint64_t>(tombstones);
    left.messages = std::max(left.messages, waiting + counts.given_back[g]);
    left.held = std::max(left.held, counts.held[g]);
    left.of_one = std::max(left.of_one, waiting + counts.given_back[g] + counts.held[g]);
  }
  return left;
}

}  // namespace

// Closes the groups first and counts then, so that no message is both handed out and counted as left.
Leftover close_queue(const QueueEntry& q) {
  set_state(q, QueueState::closed);
  std::uint64_t taken[kMaxGroups] = {};
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    if (is_kept(q.groups[g])) taken[g] = close_group(*q.map, g);
  }
  return leftover(q, taken, withdraw_given_back(*q.map, held_blocks(q)));
}

// What a member takes meanwhile may be counted twice, and nothing is left out: the cursors come first.
static Leftover messages_in(const QueueEntry& q) {
  std::uint64_t taken[kMaxGroups] = {};
  for (unsigned g = 0; g < kMaxGroups; ++g) taken[g] = q.map->ring().cursor(1 + g).next;
  return leftover(q, taken, count_held(*q.map, held_blocks(q)));
}

Leftover left_in(const QueueEntry& q, const CallHomes& homes) {
  // Calls that are open, and those of other queues that are answered here: of others nobody waits for what lies in
  // lines.
  if (q.map->takes_calls()) {
    Leftover left;
    const ForwardedCounts others = count_forwarded(*q.map, *q.pool->map, homes);
    left.messages = left.of_one = count_calls(q).open + others.waiting + others.held;
    return left;
  }
  return messages_in(q);
}

std::uint64_t count_messages_in(const QueueEntry& q) { return messages_in(q).of_one; }

}  // namespace ipcq::detail
