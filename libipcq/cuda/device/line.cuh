// Reads and writes lines on the device. A warp reads four at once: lane 8 w + u holds unit u of line w.
// layout/line_format.hpp has the content of each unit; layout/line.hpp is the counterpart on the CPU.
//
// lines_of() and read_lines() are called by all lanes of a warp together, the others by any lane. Invariant: a line is
// checked in registers and used from there, never loaded a second time, since a client may overwrite it at any moment.
#pragma once

#include "device/memory.cuh"
#include "layout/executor_memory.hpp"

namespace ipcq::device {

using detail::ControlOp;
using detail::first_units;
using detail::HeadBits;
using detail::kAllUnits;
using detail::kControlUnits;
using detail::kDamagedCounter;
using detail::kDataWords;
using detail::kExecutorCounters;
using detail::kExecutorSums;
using detail::kFailedCounter;
using detail::kFullWriteEvery;
using detail::kInlineBytes;
using detail::kInlineUnit;
using detail::kInMirror;
using detail::kLeaseUnit;
using detail::kLineUnits;
using detail::kNotProcessed;
using detail::kPayloadReady;
using detail::kProcessedCounter;
using detail::kRecords;
using detail::kSequenceUnit;
using detail::kSlotUnits;
using detail::kTagWord;
using detail::kTakenCounter;
using detail::kThirdWord;
using detail::kTombstoneUnits;
using detail::kUnitBytes;

// LineKind as a register holds it.
inline constexpr auto kNoKind = static_cast<std::uint32_t>(detail::LineKind::none);
inline constexpr auto kInlined = static_cast<std::uint32_t>(detail::LineKind::inlined);
inline constexpr auto kSlot = static_cast<std::uint32_t>(detail::LineKind::slot);
inline constexpr auto kTombstone = static_cast<std::uint32_t>(detail::LineKind::tombstone);
inline constexpr auto kControl = static_cast<std::uint32_t>(detail::LineKind::control);

__device__ inline std::uint64_t lap_of(const QueueView& q, std::uint64_t ticket) {
  return (ticket >> q.lines_log2) + 1;
}
__device__ inline std::uint64_t first_unit(const QueueView& q, std::uint64_t ticket) {
  return (ticket & ((std::uint64_t{1} << q.lines_log2) - 1)) * kLineUnits;
}

enum class Seen : std::uint32_t { absent, arriving, present };

// One lane's unit of a line, and the line's head, which all its lanes have.
struct LaneLine {
  std::uint64_t ticket;
  DeviceUnit mine;
  std::uint32_t unit;       // which unit `mine` is
  std::uint32_t kind;       // LineKind; none: damaged
  std::uint32_t flags;      // LineFlag
  std::uint32_t data_unit;  // first unit of an inlined payload
  std::uint32_t length;
  std::uint32_t used;  // bit u: unit u belongs to the line
  Seen seen;
};

// This lane's unit of lines [first, first + 4).
__device__ inline DeviceUnit load_lane(const QueueView& q, std::uint64_t first) {
  const unsigned lane = threadIdx.x % 32;
  return load_unit(&q.in[first_unit(q, first + lane / kLineUnits) + lane % kLineUnits]);
}

// Checks and decodes lines [first, first + 4); `unit` is what load_lane() gave this lane.
__device__ inline LaneLine lines_of(const QueueView& q, std::uint64_t first, const DeviceUnit& unit) {
  const unsigned lane = threadIdx.x % 32;
  const unsigned leader = lane / kLineUnits * kLineUnits;
  LaneLine l;
  l.unit = lane % kLineUnits;
  l.ticket = first + lane / kLineUnits;
  const auto tag = static_cast<std::uint32_t>(lap_of(q, l.ticket));
  l.mine = unit;
  const std::uint32_t tags = __ballot_sync(~0u, l.mine.word[kTagWord] == tag) >> leader & kAllUnits;
  const std::uint32_t head = __shfl_sync(~0u, l.mine.word[0], leader);
  l.length = __shfl_sync(~0u, l.mine.word[1], leader);
  l.kind = head & std::uint32_t{HeadBits::Kind::kMax};
  l.flags = head >> HeadBits::Flags::kShift & std::uint32_t{HeadBits::Flags::kMax};
  l.data_unit = head >> HeadBits::DataUnit::kShift;
  l.used = first_units(kTombstoneUnits);
  switch (l.kind) {
    case kTombstone:
      break;
    case kControl:
      l.used = first_units(kControlUnits);
      break;
    case kSlot:
      l.used = first_units(kSlotUnits);
      break;
    case kInlined:
      if ((l.flags & kRecords) == 0 && l.data_unit >= kInlineUnit && l.data_unit <= kLineUnits &&
          l.length <= (kLineUnits - l.data_unit) * kUnitBytes) {
        l.used = first_units(kInlineUnit) | first_units((l.length + kUnitBytes - 1) / kUnitBytes) << l.data_unit;
      } else {
        l.kind = kNoKind;
      }
      break;
    default:
      l.kind = kNoKind;
  }
  l.seen = (tags & 1) == 0 ? Seen::absent : (tags & l.used) == l.used ? Seen::present : Seen::arriving;
  return l;
}

__device__ inline LaneLine read_lines(const QueueView& q, std::uint64_t first) {
  return lines_of(q, first, load_lane(q, first));
}

// Writes this lane's unit of an `out` line; an unused one only every kFullWriteEvery-th lap. The lanes need no order: a
// reader takes a line only when all its used units have the tag.
__device__ inline void write_lane(const QueueView& q, const LaneLine& l) {
  const std::uint64_t lap = lap_of(q, l.ticket);
  DeviceUnit unit = l.mine;
  if ((l.used >> l.unit & 1) == 0) {
    if (lap % kFullWriteEvery != 0) return;
    unit = {};
  }
  unit.word[kTagWord] = static_cast<std::uint32_t>(lap);
  store_unit(&q.out[first_unit(q, l.ticket) + l.unit], unit);
}

// Turns the line into a tombstone.
__device__ inline void bury(LaneLine& l) {
  l.used = first_units(kTombstoneUnits);
  if (l.unit == 0) l.mine.word[0] = HeadBits::Kind::put(kTombstone);
}

// Mask of both fields in a head's first 32-bit word.
inline constexpr std::uint32_t kKindAndFlags = HeadBits::Kind::kMask | HeadBits::Flags::kMask;
static_assert(HeadBits::Kind::kShift == 0);

// Writes the `out` line of a message in a slot. Called by one thread.
__device__ inline void write_message(const QueueView& q, const SlotMessage& m, std::uint32_t kind) {
  const std::uint64_t lap = lap_of(q, m.ticket);
  DeviceUnit* const line = &q.out[first_unit(q, m.ticket)];
  const auto tag = static_cast<std::uint32_t>(lap);
  for (unsigned u = lap % kFullWriteEvery == 0 ? kLineUnits : kSlotUnits; u-- > 0;) {
    DeviceUnit unit = {{0, 0, 0, tag}};
    if (u < kSlotUnits) unit = {{m.unit[u][0], m.unit[u][1], m.unit[u][2], tag}};
    if (u == 0) unit.word[0] = kind | m.flags << HeadBits::Flags::kShift | (unit.word[0] & ~kKindAndFlags);
    store_unit(&line[u], unit);
  }
}

}  // namespace ipcq::device
