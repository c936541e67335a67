// The arguments and results of the programs' kernels (frames.cu), for host and device code.
#pragma once

#include <cstddef>
#include <cstdint>
#include <ipcq/cuda.hpp>

namespace ipcq::program {

inline constexpr unsigned kFrameThreads = 384;  // per block; a multiple of the 48 units of a tile's row

// In device memory, added to by every check.
struct FrameCheckResult {
  unsigned long long bad_bytes;
  unsigned long long lost;  // messages whose producer died before the payload was complete
};

// The argument of a check kernel, passed by value.
struct FrameCheck {
  const std::byte* data;
  std::uint64_t length;           // bytes to compare: a frame at most
  std::uint64_t frame;            // number of the picture
  unsigned long long bad_length;  // bytes that the message is longer or shorter than a frame
  cuda::Payload message;
  FrameCheckResult* result;
};

}  // namespace ipcq::program
