// Groups that join and leave a running queue: which tickets each of them is for. docs/design/ring.md, "Groups that come
// and go". One party at a time (the broker) calls these for a queue; its clients go on meanwhile.
//
// Template over the atomics policy, so that the model checker runs this very code.
#pragma once

#include <algorithm>
#include <cstdint>

#include "protocol/group.hpp"
#include "protocol/ring.hpp"

namespace ipcq::detail {

// Makes group `g`, which is in nobody's set, see every ticket from the one returned on. `begin(ticket)` is called
// before the set names the group, perhaps several times.
template <class A, class Begin>
std::uint64_t join_set(const Ring<A>& ring, unsigned g, Begin begin) {
  std::uint64_t filled = 0;
  for (;;) {
    const Cursor v = ring.cursor(kProducers);
    // The group is done with all lines of before, published or not: producers ask every live group. Few tickets are
    // taken meanwhile, so that the second round is short.
    const std::uint64_t first = v.next > ring.lines() ? v.next - ring.lines() : 0;
    for (std::uint64_t t = std::max(first, filled); t < v.next; ++t) ring.finish(g, t, kBrokerClient);
    filled = v.next;
    ring.start_group(g, v.next);
    begin(v.next);
    // Live before it is in the set: a producer that sees it in the set asks it.
    ring.set_live(g);
    Cursor to = v;
    to.groups = static_cast<std::uint8_t>(v.groups | (1u << g));
    if (ring.swap_cursor(kProducers, v, to)) return v.next;
  }
}

// Takes the group out of the set. Returns the first ticket that is not for it.
template <class A>
std::uint64_t leave_set(const Ring<A>& ring, unsigned g) {
  for (;;) {
    const Cursor v = ring.cursor(kProducers);
    Cursor to = v;
    to.groups = static_cast<std::uint8_t>(v.groups & ~(1u << g));
    if (ring.swap_cursor(kProducers, v, to)) return v.next;
  }
}

// Discards what a group that has left, and has no member, did not take before ticket `end`. False while a producer
// stands between claim and publish, or between the claim and the finish of a discard, or while `may_discard(ticket)`
// says no: call again. The group stays live until the caller ends that.
template <class A, class MayDiscard>
bool discard_untaken(const Ring<A>& ring, const Pool<A>& pool, unsigned g, std::uint64_t end, MayDiscard may_discard) {
  for (std::uint64_t at = 0; (at = ring.cursor(1 + g).next) < end;) {
    bool dropped = false;
    bool freed = false;
    if (!may_discard(at)) return false;
    if (!GroupMember<A>::drop_one(ring, pool, g, at, kBrokerClient, dropped, freed)) return false;
  }
  // A producer that was discarding may stand between claim and finish: its line must stay as it is until then.
  for (std::uint64_t t = end > ring.lines() ? end - ring.lines() : 0; t < end; ++t) {
    if (!ring.has_finished(g, t)) return false;
  }
  return true;
}

}  // namespace ipcq::detail
