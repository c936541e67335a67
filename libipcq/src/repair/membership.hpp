// Groups joining and leaving a running queue, and the end of its intake. Only the broker calls these.
//
// Which groups a ticket is for stands in the producers' cursor itself: one compare-and-swap by the broker, and every
// ticket before it sees the old set, every ticket after it the new one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "queue/queue_map.hpp"

namespace ipcq::detail {

// Makes group `g`, which is in nobody's set, see every ticket from the one returned on.
std::uint64_t join_group(const QueueMap& queue, unsigned g);

// Takes the group out of the set. Returns the first ticket that is not for it.
std::uint64_t leave_group(const QueueMap& queue, unsigned g);
// Discards what is left for a group that has left, up to ticket `end`, with everything it had given back. The group has
// no member any more. False when a producer that has not published yet stands in the way: call again.
// `blocks`: of the endpoints whose held entries may be in use; null: all.
bool drain_left_group(const QueueMap& queue, const PoolMap& pool, unsigned g, std::uint64_t end,
                      const std::vector<std::uint32_t>* blocks = nullptr);

// No ticket can be taken from now on. Returns the first that was not.
std::uint64_t close_intake(const QueueMap& queue);

// No member of the group takes a message from now on. Returns the first ticket that none has taken.
std::uint64_t close_group(const QueueMap& queue, unsigned g);
// By group.
struct HeldCounts {
  std::uint64_t given_back[kMaxGroups] = {};
  std::uint64_t held[kMaxGroups] = {};
};
// Nobody gets what was given back, either: counts that, and what members hold. `blocks`: of the endpoints whose held
// entries may be in use.
HeldCounts withdraw_given_back(const QueueMap& queue, const std::vector<std::uint32_t>& blocks);

// The payload of a loan whose writer is gone never comes: whoever waits for it goes on, and sees that. False when it
// was complete.
bool bury_payload(const PoolMap& pool, std::uint32_t slot, std::uint64_t lease);
// For a queue that ends. Payloads that streams have not completed never come: everybody who waits for one goes on.
void release_late_payloads(const QueueMap& queue, const PoolMap& pool);
// Its executor is gone: every published line that it has not passed on becomes a tombstone for the readers.
void bury_unprocessed(const QueueMap& queue, const PoolMap& pool);

}  // namespace ipcq::detail
