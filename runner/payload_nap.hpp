// How often the thread of a device queue looks for a payload that is late: a stream that completes one rings no bell.
// A pure function, so thread-safe.
#pragma once

#include <algorithm>
#include <cstdint>

namespace ipcq::runner {

// Of these no comparison with other values is recorded. In ns.
inline constexpr std::uint64_t kSpinForPayload = 100'000;
inline constexpr std::uint64_t kShortestPayloadNap = 10'000;  // without MPS the writer's time slice is ms away
inline constexpr std::uint64_t kLongestPayloadNap = 1'000'000;

// How long to sleep, in ns, before checking again for a payload that has been late for `late` ns. 0: spin.
constexpr std::uint64_t nap_for_payload(std::uint64_t late) noexcept {
  return late < kSpinForPayload ? 0 : std::clamp(late / 64, kShortestPayloadNap, kLongestPayloadNap);
}

}  // namespace ipcq::runner
