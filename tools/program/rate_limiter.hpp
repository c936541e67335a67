// RateLimiter: spaces messages at a constant rate on an absolute schedule, so that small delays do not add up. For one
// thread.
#pragma once

#include <chrono>
#include <cstdint>

#include "program/signals.hpp"

namespace ipcq::program {

class RateLimiter {
 public:
  // Messages per second; 0: no limit.
  RateLimiter(double per_second, const Signals& signals) : per_second_(per_second), signals_(signals) {}

  bool limited() const noexcept { return per_second_ > 0; }
  // Waits until the next message is due and counts `messages`. False when a stop was requested meanwhile.
  bool acquire(std::uint64_t messages);

 private:
  double per_second_;
  const Signals& signals_;
  std::chrono::steady_clock::time_point start_{};
  double issued_ = 0;
};

}  // namespace ipcq::program
