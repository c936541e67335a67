// An `in` line as the executors of the host read it.
#pragma once

#include <atomic>
#include <cstdint>

#include "queue/queue_map.hpp"

namespace ipcq::detail {

enum class InLine : std::uint8_t {
  absent,   // not published; the descriptor became a tombstone
  nothing,  // no message: the descriptor became the tombstone that is to be passed on
  message,  // its payload, which belongs to it, may be changed
};

// Whether the descriptor, a private copy, refers to a payload that belongs to this message.
inline bool owns_payload(const Descriptor& d, const QueueMap& queue, const PoolMap& pool) noexcept {
  if (!is_sound(d, queue, pool)) return false;
  if (d.kind == LineKind::inlined) return true;
  const Slot s = pool.pool().slot(d.slot);
  return s.lease == d.lease && s.state == SlotState::message && (d.flags & kPayloadReady) != 0;
}

// Reads the line of `ticket`; of an inline message into `data`. Counts a line that makes no sense.
inline InLine read_in_line(const QueueMap& queue, const PoolMap& pool, std::uint64_t ticket, Descriptor& d,
                           InlineData& data) noexcept {
  LineRead read = queue.ring().read_in(ticket, d, data.bytes);
  d.flags &= static_cast<std::uint8_t>(~kFiltered);  // which is the handler's to say
  if (read == LineRead::present && carries_message(d)) {
    if (owns_payload(d, queue, pool)) return InLine::message;
    read = LineRead::damaged;
  }
  if (read == LineRead::damaged) queue.control().damaged.fetch_add(1, std::memory_order_relaxed);
  d = Descriptor{};
  d.kind = LineKind::tombstone;
  return read == LineRead::absent ? InLine::absent : InLine::nothing;
}

}  // namespace ipcq::detail
