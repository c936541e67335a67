// The numbers by which a process recognises, and refuses, what another release of libipcq or another program made.
//
// The ABI is one number, ipcq::kAbiVersion. The header of each segment, each request and reply of the control socket,
// and each hello and request of a runner's socket carry it. The encoding of the statistics (control/stats_codec.cpp)
// has no number of its own. A change to that, to docs/design/layout.md or to sockets.md raises it, once a release:
// further changes before that release leave it.
#pragma once

#include <cstdint>

#include "ipcq/version.hpp"

namespace ipcq::detail {

inline constexpr std::uint64_t kQueueMagic = 0x3145554551435049;  // "IPCQEUE1"
inline constexpr std::uint64_t kPoolMagic = 0x314c4f4f51435049;   // "IPCQOOL1"
inline constexpr std::uint32_t kControlMagic = 0x51435049;        // "IPCQ"
inline constexpr std::uint32_t kRunnerMagic = 0x52435049;         // "IPCR"
inline constexpr std::uint32_t kHostImageMagic = 0x48435049;      // "IPCH"
inline constexpr std::uint32_t kNotReady = 0;  // instead of a version: the creator has not finished the segment

static_assert(kAbiVersion != kNotReady);

}  // namespace ipcq::detail
