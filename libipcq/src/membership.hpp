// Groups joining and leaving a running queue, and the end of its intake. Only the broker calls these.
//
// Which groups a ticket is for stands in the producers' cursor itself: one compare-and-swap by the broker, and every
// ticket before it sees the old set, every ticket after it the new one.
#pragma once

#include <cstdint>
#include <string>

#include "queue_map.hpp"

namespace ipcq::detail {

inline constexpr std::uint32_t kBrokerClient = 1;  // the broker's own id as a client

// Makes group `g`, which is in nobody's set, see every ticket from the one returned on.
std::uint64_t join_group(const QueueMap& queue, unsigned g);

// Takes the group out of the set. Returns the first ticket that is not for it.
std::uint64_t leave_group(const QueueMap& queue, unsigned g);
// Discards what is left for a group that has left, up to ticket `end`, with everything it had given back. The group has
// no member any more. False when a producer that has not published yet stands in the way: call again.
bool drain_left_group(const QueueMap& queue, const PoolMap& pool, unsigned g, std::uint64_t end);

// No ticket can be taken from now on. Returns the first that was not.
std::uint64_t close_intake(const QueueMap& queue);

}  // namespace ipcq::detail
