// The end of a queue's stream of messages, and of the queue itself.
//
// A stream has ended when every producer that ever opened has closed, and none of them died or broke off; a user may
// say so too (end_of_stream). The end is the ticket behind the last message: a consumer that has come to it sees `end`.
// A producer that opens later takes the end back.
#pragma once

#include <cstdint>

#include "broker/queue_entry.hpp"

namespace ipcq::detail {

// No further producer will come, whatever has become of the earlier ones.
void end_stream(QueueEntry& q);
// Ends the stream if it has come to its end.
void look_for_end(QueueEntry& q);
// A producer has opened.
void take_end_back(const QueueEntry& q) noexcept;
// The broker has published a control message: an end that was announced is behind it now.
void move_end(const QueueEntry& q) noexcept;

// Nothing more goes in.
void begin_draining(const QueueEntry& q);
// Of a queue that is closed: the greatest number of messages that one group has left, and that members of one hold.
struct Leftover {
  std::uint64_t messages = 0;
  std::uint64_t held = 0;
};
// Nothing goes in already; nothing is handed out from now on.
Leftover close_queue(const QueueEntry& q);

}  // namespace ipcq::detail
