// Groups that join and leave a running queue, and pause in it. The producers' cursor holds the set of groups; one
// compare-and-swap changes it, and every ticket before that is for the old set, every later one for the new set.
// docs/design/ring.md, "Groups that come and go".
//
// Only the broker calls these, one call at a time per queue; the queue's clients keep running. Templates over the
// atomics policy, so that the model checker runs this code.
#pragma once

#include <algorithm>
#include <cstdint>

#include "protocol/drop_one.hpp"
#include "protocol/ring.hpp"

namespace ipcq::detail {

// Adds group `g` to the set. Returns the first ticket that is for it. begin(ticket) is called before the set contains
// the group, and again with a later ticket whenever producers have claimed in between.
template <class A, class Begin>
std::uint64_t join_set(const Ring<A>& ring, unsigned g, Begin begin) {
  std::uint64_t filled = 0;
  for (;;) {
    const Cursor v = ring.cursor(kProducers);
    // Marks all lines before `next` as done for the group, published or not, because producers ask every live group.
    // Few tickets are claimed meanwhile, so a second round is short.
    const std::uint64_t first = ring.oldest(v.next);
    for (std::uint64_t t = std::max(first, filled); t < v.next; ++t) ring.finish(g, t, kBrokerClient);
    filled = v.next;
    ring.start_group(g, v.next);
    begin(v.next);
    // Live before the swap: a producer that observes the group in the set must also ask it before it reuses a line.
    ring.set_live(g);
    Cursor to = v;
    to.groups = static_cast<std::uint8_t>(v.groups | (1u << g));
    if (ring.swap_cursor(kProducers, v, to)) return v.next;
  }
}

// Removes the group from the set. Returns the first ticket that is not for it.
template <class A>
std::uint64_t leave_set(const Ring<A>& ring, unsigned g) {
  for (;;) {
    const Cursor v = ring.cursor(kProducers);
    Cursor to = v;
    to.groups = static_cast<std::uint8_t>(v.groups & ~(1u << g));
    if (ring.swap_cursor(kProducers, v, to)) return v.next;
  }
}

// From here on no member of the group takes a ticket, nor a message that was given back, but for a member that was just
// taking one of these over; or they do again. Keeps the last taker in the cursor, whose claim may have no log entry
// yet. Returns the first ticket that is not taken.
template <class A>
std::uint64_t pause_in_set(const Ring<A>& ring, unsigned g, bool paused) {
  for (;;) {
    const Cursor v = ring.stable_cursor(1 + g);
    Cursor to = v;
    to.paused = paused;
    if (v.paused == paused || ring.swap_cursor(1 + g, v, to)) return v.next;
  }
}

// Discards the tickets before `end` that a group without members, which has left the set, did not take. False: call
// again later, because a producer has claimed and not published, or has claimed a discard and not finished it, or
// may_discard(ticket) is false. The group stays live until the caller calls clear_live().
template <class A, class MayDiscard>
bool discard_untaken(const Ring<A>& ring, const Pool<A>& pool, unsigned g, std::uint64_t end, MayDiscard may_discard) {
  for (std::uint64_t at = 0; (at = ring.cursor(1 + g).next) < end;) {
    bool dropped = false;
    bool freed = false;
    if (!may_discard(at)) return false;
    if (!drop_one(ring, pool, g, at, kBrokerClient, dropped, freed)) return false;
  }
  // A discarding producer may be between its claim and finish(): its line must not be reused before.
  for (std::uint64_t t = ring.oldest(end); t < end; ++t) {
    if (!ring.has_finished(g, t)) return false;
  }
  return true;
}

}  // namespace ipcq::detail
