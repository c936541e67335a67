// Every number by which a process refuses what another release of libipcq, or something else, has made.
//
// The ABI is one number, ipcq::kAbiVersion: it stands in the header of each segment, in each request and in each reply
// of the control socket, and it rises with any change to docs/design/layout.md but one: a runner and its broker are of
// one release and come and go together, so that their socket has a number of its own here. (The runner opens segments,
// and sees their ABI, as any other process does.)
#pragma once

#include <cstdint>

#include "ipcq/version.hpp"

namespace ipcq::detail {

inline constexpr std::uint64_t kQueueMagic = 0x3145554551435049;  // "IPCQEUE1"
inline constexpr std::uint64_t kPoolMagic = 0x314c4f4f51435049;   // "IPCQOOL1"
inline constexpr std::uint32_t kControlMagic = 0x51435049;        // "IPCQ"
inline constexpr std::uint32_t kRunnerMagic = 0x52435049;         // "IPCR"
inline constexpr std::uint32_t kRunnerProtocol = 3;
inline constexpr std::uint32_t kNotReady = 0;  // instead of a version: the creator has not finished the segment

static_assert(kAbiVersion != kNotReady);

}  // namespace ipcq::detail
