// Counters: what a bridge has done so far, and what it has in hand. Thread-safe: the bridge's threads write, whoever
// reports reads. Totals count tasks since the program's start.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>

#include "tasks/sizes.hpp"

namespace ipcq::bridge {

struct Counters {
  using Count = std::atomic<std::uint64_t>;

  Count read{0};             // that came out of Redis, those taken over included
  Count taken_over{0};       // of these, of bridges that did not renew them
  Count done{0};             // whose result is written, or that have none
  Count retried{0};          // that go to the delayed tasks after a failure
  Count dead{0};             // that went to the dead letters
  Count given_back{0};       // that nobody worked on, to be read anew
  Count ended_elsewhere{0};  // whose outcome was dropped: another bridge had written one
  Count unanswered{0};       // whose reply could not be written
  Count write_errors{0};     // outcomes that the server refused to write, and that are written again
  Count reconnects{0};       // to Redis
  Count broker_losses{0};
  Count moved{0};    // delayed tasks put into their stream
  Count trimmed{0};  // entries deleted that all groups had acknowledged
  Count result_bytes{0};

  Count running{0};                       // in the queue now
  Count unfinished{0};                    // read, and their outcome not confirmed
  Count deleted{0};                       // whose entries were deleted while they were worked on: nothing was written
  std::atomic<bool> connected{false};     // to Redis
  std::atomic<bool> attached{false};      // to the broker
  std::atomic<std::int64_t> servers{-1};  // attached to the queue; negative: a handler answers, or nobody knows

  Sizes sizes{};  // of the sources, where they are measured

  // From the reading of a task until its outcome is confirmed; bounds in seconds are kBounds.
  static constexpr std::array<double, 14> kBounds = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                     0.1,    0.25,  0.5,    1,     2.5,  5,     10};
  std::array<Count, kBounds.size() + 1> latency{};
  Count latency_us{0};  // sum

  void record_latency(double seconds) noexcept {
    std::size_t bucket = 0;
    while (bucket < kBounds.size() && seconds > kBounds[bucket]) ++bucket;
    latency[bucket].fetch_add(1, std::memory_order_relaxed);
    latency_us.fetch_add(static_cast<std::uint64_t>(seconds * 1e6), std::memory_order_relaxed);
  }
};

inline void add(Counters::Count& count, std::uint64_t n = 1) noexcept { count.fetch_add(n, std::memory_order_relaxed); }

}  // namespace ipcq::bridge
