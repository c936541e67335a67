// Lines on the device: a warp reads four at once, lane 8 w + u holding unit u of line w. Twin of
// libipcq/src/layout/line.hpp, whose meaning of each unit holds here too.
#pragma once

#include "device/memory.cuh"
#include "device/work.hpp"

namespace ipcq::device {

enum LineKind : std::uint32_t { kInlined = 1, kSlot = 2, kTombstone = 3, kControl = 4 };
enum LineFlag : std::uint32_t { kPayloadReady = 1, kNotProcessed = 2, kInMirror = 4 };
inline constexpr std::uint32_t kInlineUnit = 2;
inline constexpr std::uint32_t kUnitBytes = 12;
inline constexpr std::uint64_t kFullWriteEvery = 1u << 20;  // laps after which all units of a line are written

__device__ inline std::uint64_t lap_of(const QueueView& q, std::uint64_t ticket) {
  return (ticket >> q.lines_log2) + 1;
}
__device__ inline std::uint64_t first_unit(const QueueView& q, std::uint64_t ticket) {
  return (ticket & ((std::uint64_t{1} << q.lines_log2) - 1)) * kLineUnits;
}

enum class Seen : std::uint32_t { absent, arriving, present };

// One lane's share of a line, and what the whole line is.
struct LaneLine {
  std::uint64_t ticket;
  DeviceUnit mine;
  std::uint32_t unit;  // which unit `mine` is
  std::uint32_t kind;  // 0: makes no sense
  std::uint32_t flags;
  std::uint32_t data_unit;  // of an inlined payload
  std::uint32_t length;
  std::uint32_t used;  // bit u: unit u belongs to the line
  Seen seen;
};

// This lane's unit of lines [first, first + 4).
__device__ inline DeviceUnit load_lane(const QueueView& q, std::uint64_t first) {
  const unsigned lane = threadIdx.x % 32;
  return load_unit(&q.in[first_unit(q, first + lane / kLineUnits) + lane % kLineUnits]);
}

// What the warp's units of lines [first, first + 4) say. `unit` is a copy; it is checked and used, the line is not
// looked at again.
__device__ inline LaneLine lines_of(const QueueView& q, std::uint64_t first, const DeviceUnit& unit) {
  const unsigned lane = threadIdx.x % 32;
  const unsigned leader = lane / kLineUnits * kLineUnits;
  LaneLine l;
  l.unit = lane % kLineUnits;
  l.ticket = first + lane / kLineUnits;
  const auto tag = static_cast<std::uint32_t>(lap_of(q, l.ticket));
  l.mine = unit;
  const std::uint32_t tags = __ballot_sync(~0u, l.mine.word[3] == tag) >> leader & 0xff;
  const std::uint32_t head = __shfl_sync(~0u, l.mine.word[0], leader);
  l.length = __shfl_sync(~0u, l.mine.word[1], leader);
  l.kind = head & 0xff;
  l.flags = head >> 8 & 0xff;
  l.data_unit = head >> 24;
  l.used = 1;
  switch (l.kind) {
    case kTombstone:
      break;
    case kControl:
      l.used = 0x3;
      break;
    case kSlot:
      l.used = 0x1f;
      break;
    case kInlined:
      if (l.data_unit >= kInlineUnit && l.data_unit <= kLineUnits &&
          l.length <= (kLineUnits - l.data_unit) * kUnitBytes) {
        l.used = 0x3 | ((1u << ((l.length + kUnitBytes - 1) / kUnitBytes)) - 1) << l.data_unit;
      } else {
        l.kind = 0;
      }
      break;
    default:
      l.kind = 0;
  }
  l.seen = (tags & 1) == 0 ? Seen::absent : (tags & l.used) == l.used ? Seen::present : Seen::arriving;
  return l;
}

__device__ inline LaneLine read_lines(const QueueView& q, std::uint64_t first) {
  return lines_of(q, first, load_lane(q, first));
}

// Writes this lane's unit of an `out` line. Any order: readers look at every tag.
__device__ inline void write_lane(const QueueView& q, const LaneLine& l) {
  const std::uint64_t lap = lap_of(q, l.ticket);
  DeviceUnit unit = l.mine;
  if ((l.used >> l.unit & 1) == 0) {
    if (lap % kFullWriteEvery != 0) return;
    unit = {};
  }
  unit.word[3] = static_cast<std::uint32_t>(lap);
  store_unit(&q.out[first_unit(q, l.ticket) + l.unit], unit);
}

// Turns the line into one that readers pass over.
__device__ inline void bury(LaneLine& l) {
  l.used = 1;
  if (l.unit == 0) l.mine.word[0] = kTombstone;
}

// Writes the `out` line of a message in a slot, by one thread.
__device__ inline void write_message(const QueueView& q, const SlotMessage& m, std::uint32_t kind) {
  const std::uint64_t lap = lap_of(q, m.ticket);
  DeviceUnit* const line = &q.out[first_unit(q, m.ticket)];
  const auto tag = static_cast<std::uint32_t>(lap);
  for (unsigned u = lap % kFullWriteEvery == 0 ? kLineUnits : kMessageUnits; u-- > 0;) {
    DeviceUnit unit = {{0, 0, 0, tag}};
    if (u < kMessageUnits) unit = {{m.unit[u][0], m.unit[u][1], m.unit[u][2], tag}};
    if (u == 0) unit.word[0] = kind | m.flags << 8 | (unit.word[0] & 0xffff0000u);
    store_unit(&line[u], unit);
  }
}

}  // namespace ipcq::device
