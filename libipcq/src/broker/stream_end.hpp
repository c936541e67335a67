// The end of a queue's stream of messages, and of the queue itself.
//
// A stream has ended when every producer that ever opened has closed, and none of them has died or broken off without a
// later one in its place; a user may end it too (end_of_stream). The end is the ticket after the last message: a
// consumer that has reached it sees `end`. A producer that opens later takes the end back.
//
// Thread safety: guarded by the broker's mutex; close_queue() may also be called once the broker's threads have ended.
#pragma once

#include <cstdint>

#include "broker/queue_entry.hpp"
#include "repair/call_homes.hpp"

namespace ipcq::detail {

// On a user's request: producers that died no longer count, and the stream ends once the open ones have closed.
void end_stream(QueueEntry& q);
// Announces the end of the stream if the rule above says that it has ended.
void announce_end_if_due(QueueEntry& q);
// Called when a producer opens: the stream goes on.
void take_end_back(const QueueEntry& q) noexcept;
// Called when the broker has published a control message: an end that was announced moves to the ticket after it.
void move_end(const QueueEntry& q) noexcept;

// From here on no ticket can be claimed; after end_draining() they can again.
void begin_draining(const QueueEntry& q);
void end_draining(const QueueEntry& q);
// What is left in a queue: the most messages that one group has not taken or has given back, the most that one group's
// members hold, and the most that are either of one group.
struct Leftover {
  std::uint64_t messages = 0;
  std::uint64_t held = 0;
  std::uint64_t of_one = 0;
};
// After begin_draining(): from here on no member can take a message.
Leftover close_queue(const QueueEntry& q);
// Messages that wait in it or are held, whoever waits for them.
std::uint64_t count_messages_in(const QueueEntry& q);
// As it is now, in a queue that goes on. Of a queue of calls: calls that are open, its own and those that were passed
// on to it.
Leftover left_in(const QueueEntry& q, const CallHomes& homes);

}  // namespace ipcq::detail
