// What a kernel sees of one queue and its pool: pointers of the GPU that runs it, and bounds to check against. Passed
// by value; plain data for host compiler and nvcc alike.
#pragma once

#include <cstdint>

namespace ipcq::device {

// A tagged unit: 12 bytes of data, 4 of tag. libipcq/src/layout/line.hpp has the meaning of a line's units.
struct alignas(16) DeviceUnit {
  std::uint32_t word[4];
};
inline constexpr unsigned kLineUnits = 8;

struct QueueView {
  const DeviceUnit* in;       // [lines][kLineUnits], pinned host memory
  DeviceUnit* out;            // [lines][kLineUnits], pinned host memory
  std::uint64_t* counters;    // QueueControl: processed, failed, damaged, taken; written by the GPU alone
  const std::uint64_t* gpub;  // [slots], pinned host memory
  std::uint64_t* tomb;        // [slots], pinned host memory
  std::uint8_t* payload;      // [slots] of stride bytes, device memory
  std::uint8_t* mirror;       // [slots] of stride bytes, pinned host memory, or null
  std::uint64_t stride;
  std::uint64_t slot_bytes;
  std::uint32_t slots;
  std::uint32_t lines_log2;
  std::uint32_t host_readable;  // processed payloads go to the mirror
  std::uint32_t reserved;
};

}  // namespace ipcq::device
