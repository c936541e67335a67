// A kernel's view of one queue and its pool: pointers valid on the GPU that runs the kernel, and the bounds that it
// checks against. Passed by value; plain data for the host compiler and nvcc.
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
  std::uint64_t* counters;    // indexed by ExecutorCounter; written only by the GPU
  const std::uint64_t* gpub;  // [slots], pinned host memory
  std::uint64_t* tomb;        // [slots], pinned host memory
  std::uint8_t* payload;      // [slots] of stride bytes, device memory
  std::uint8_t* mirror;       // [slots] of stride bytes, pinned host memory, or null
  std::uint64_t stride;       // bytes from one payload to the next
  std::uint64_t slot_bytes;
  std::uint32_t slots;
  std::uint32_t lines_log2;
  std::uint32_t host_readable;  // 1: processed payloads are copied to the mirror
  std::uint32_t reserved;
};
// It is a kernel's argument: the host compiler and nvcc must lay it out alike.
static_assert(sizeof(QueueView) == 88);
static_assert(offsetof(QueueView, in) == 0 && offsetof(QueueView, out) == 8 && offsetof(QueueView, counters) == 16 &&
              offsetof(QueueView, gpub) == 24 && offsetof(QueueView, tomb) == 32 &&
              offsetof(QueueView, payload) == 40 && offsetof(QueueView, mirror) == 48 &&
              offsetof(QueueView, stride) == 56 && offsetof(QueueView, slot_bytes) == 64 &&
              offsetof(QueueView, slots) == 72 && offsetof(QueueView, lines_log2) == 76 &&
              offsetof(QueueView, host_readable) == 80);

}  // namespace ipcq::device
