// What a kernel sees of one queue and its pool: pointers of the GPU that runs it, and bounds to check against. Passed
// by value; plain data for host compiler and nvcc alike.
#pragma once

#include <cstddef>
#include <cstdint>

#include "layout/limits.hpp"
#include "layout/line_format.hpp"

namespace ipcq::device {

// A tagged unit of a line, as device code loads and stores it.
struct alignas(16) DeviceUnit {
  std::uint32_t word[detail::kDataWords + 1];
};
static_assert(sizeof(DeviceUnit) == detail::kUnitBytes + 4);

struct QueueView {
  const DeviceUnit* in;       // [lines][kLineUnits], pinned host memory
  DeviceUnit* out;            // [lines][kLineUnits], pinned host memory
  std::uint64_t* counters;    // by ExecutorCounter; written by the GPU alone
  const std::uint64_t* gpub;  // [slots], pinned host memory
  std::uint64_t* tomb;        // [slots], pinned host memory
  std::uint8_t* payload;      // [slots] of stride bytes, device memory
  std::uint8_t* mirror;       // [slots] of stride bytes, pinned host memory, or null
  std::uint64_t stride;       // bytes from one payload to the next
  std::uint64_t slot_bytes;
  std::uint32_t slots;
  std::uint32_t lines_log2;
  std::uint32_t host_readable;  // processed payloads go to the mirror
  std::uint32_t reserved;
};
// A kernel's argument: host compiler and nvcc must agree.
static_assert(sizeof(QueueView) == 88);
static_assert(offsetof(QueueView, in) == 0 && offsetof(QueueView, out) == 8 && offsetof(QueueView, counters) == 16 &&
              offsetof(QueueView, gpub) == 24 && offsetof(QueueView, tomb) == 32 &&
              offsetof(QueueView, payload) == 40 && offsetof(QueueView, mirror) == 48 &&
              offsetof(QueueView, stride) == 56 && offsetof(QueueView, slot_bytes) == 64 &&
              offsetof(QueueView, slots) == 72 && offsetof(QueueView, lines_log2) == 76 &&
              offsetof(QueueView, host_readable) == 80);

}  // namespace ipcq::device
