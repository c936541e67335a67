#include "common/rate_limiter.hpp"

namespace ipcq::program {

bool RateLimiter::acquire(std::uint64_t messages) {
  using Clock = std::chrono::steady_clock;
  if (!limited()) return !signals_.stop_requested();
  const auto now = Clock::now();
  if (start_ == Clock::time_point{}) start_ = now;
  auto due = start_ + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(issued_ / per_second_));
  // After a long stall (a full queue) go on at the rate instead of making everything up in one burst.
  if (now - due > std::chrono::milliseconds(100)) {
    start_ = due = now;
    issued_ = 0;
  }
  issued_ += static_cast<double>(messages);
  return now < due ? !signals_.wait_until(due) : !signals_.stop_requested();
}

}  // namespace ipcq::program
