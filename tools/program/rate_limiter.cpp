#include "program/rate_limiter.hpp"

#include <algorithm>

namespace ipcq::program {
namespace {

// Longer than any program runs, and still representable as a time of the clock when added to now.
constexpr std::chrono::duration<double> kLongest = std::chrono::hours(100 * 365 * 24);

}  // namespace

bool RateLimiter::acquire(std::uint64_t messages) {
  using Clock = std::chrono::steady_clock;
  if (!limited()) return !signals_.stop_requested();
  const auto now = Clock::now();
  if (start_ == Clock::time_point{}) start_ = now;
  const auto since_start = std::min(std::chrono::duration<double>(issued_ / per_second_), kLongest);
  auto due = start_ + std::chrono::duration_cast<Clock::duration>(since_start);
  // After a long stall (a full queue) continue at the rate instead of catching up in one burst.
  if (now - due > std::chrono::milliseconds(100)) {
    start_ = due = now;
    issued_ = 0;
  }
  issued_ += static_cast<double>(messages);
  return now < due ? !signals_.wait_until(due) : !signals_.stop_requested();
}

}  // namespace ipcq::program
