// Discarding a message of a group by a party that is not its member: a producer that makes room, or the broker.
// docs/design/ring.md, "Drop-oldest, lossy groups".
#pragma once

#include <cstdint>

#include "protocol/group.hpp"

namespace ipcq::detail {

// Takes the group's next readable message and discards it (drop-oldest, lossy groups, a group that has left). Called
// by a producer or the broker, whose id is `client`, not by a member. `at`: the ticket that the caller chose; if the
// cursor is elsewhere nothing is discarded, since another group may have the index by now. False: nothing can be
// discarded now. True: a ticket was discarded (`dropped`: it was a message; `freed`: a payload slot became free), or
// another party has taken it.
template <class A>
bool drop_one(const Ring<A>& ring, const Pool<A>& pool, unsigned group, std::uint64_t at, std::uint32_t client,
              bool& dropped, bool& freed) {
  dropped = freed = false;
  const unsigned c = 1 + group;
  const Cursor v = ring.cursor(c);
  if (v.next != at) return true;  // another party has taken it
  if (v.closed) return false;
  Descriptor d;
  const LineRead read = ring.look(v.next, d);
  if (read == LineRead::absent) return false;
  if (v.client != client) ring.help(c, v);
  Cursor to{v.next + 1, client, 1};
  to.paused = v.paused;
  if (!ring.swap_cursor(c, v, to)) return true;  // another party has taken it
  IPCQ_CRASH_POINT("drop.claimed");
  if (read == LineRead::present && carries_message(d)) {
    dropped = true;
    if (d.kind == LineKind::slot) freed = GroupMember<A>::release_slot(d, pool, group);
  }
  ring.finish(group, v.next, client);
  return true;
}

}  // namespace ipcq::detail
