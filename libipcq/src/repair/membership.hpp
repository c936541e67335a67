// Groups that join and leave a running queue, and the steps that close a queue. Only the broker calls these, one call
// at a time per queue; the queue's clients keep running. None waits, and none throws.
//
// The producers' cursor holds the set of groups. One compare-and-swap by the broker changes it: every ticket before
// that is for the old set, every later one for the new set (protocol/group_set.hpp).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "queue/queue_map.hpp"

namespace ipcq::detail {

// Adds group `g` to the set. Returns the first ticket that is for it.
std::uint64_t join_group(const QueueMap& queue, unsigned g);

// Removes the group from the set. Returns the first ticket that is not for it.
std::uint64_t leave_group(const QueueMap& queue, unsigned g);
// After leave_group(), for a group without members: discards the tickets before `end` that it did not take, and
// releases the messages in its held entries. False: call again later, because a producer has claimed and not finished,
// or a GPU may still write a payload. `blocks`: the endpoints whose held entries may be in use; null: all.
bool drain_left_group(const QueueMap& queue, const PoolMap& pool, unsigned g, std::uint64_t end,
                      const std::vector<std::uint32_t>* blocks = nullptr);

// Closes the producers' cursor: no ticket can be claimed any more. Returns the first that was not.
std::uint64_t close_intake(const QueueMap& queue);
// Opens it again, in a queue that is not closed.
void open_intake(const QueueMap& queue);

// From here on no member of the group takes a ticket, nor a message that was given back, but for a member that was just
// taking one of these over; or they do again, and are woken. What members have taken stays theirs, and producers may
// still discard for the group.
void pause_group(const QueueMap& queue, unsigned g, bool paused);

// Closes the group's cursor: no member can take a ticket any more. Returns the first that was not taken.
std::uint64_t close_group(const QueueMap& queue, unsigned g);
// Messages, by group.
struct HeldCounts {
  std::uint64_t given_back[kMaxGroups] = {};
  std::uint64_t held[kMaxGroups] = {};
};
// In a closed queue: takes over the messages that were given back, so that no member can, and counts them and those
// that members hold. `blocks`: the endpoints whose held entries may be in use.
HeldCounts withdraw_given_back(const QueueMap& queue, const std::vector<std::uint32_t>& blocks);
// The same counts in a queue that goes on, at one instant or another.
HeldCounts count_held(const QueueMap& queue, const std::vector<std::uint32_t>& blocks);

// Ends the wait for a payload whose writer is gone: stores the lease to the slot's tomb word, then to gpub (release). A
// waiter that observes gpub finds the tomb. False if the payload was complete.
bool bury_payload(const PoolMap& pool, std::uint32_t slot, std::uint64_t lease);
// For a queue that ends: buries every published payload that is not complete, so that no stream waits for one.
void release_late_payloads(const QueueMap& queue, const PoolMap& pool);
// For a queue whose executor has ended: writes a tombstone to `out` for every claimed ticket that has no `out` line.
void bury_unprocessed(const QueueMap& queue, const PoolMap& pool);

}  // namespace ipcq::detail
