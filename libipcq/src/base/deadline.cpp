#include "base/deadline.hpp"

#include <time.h>

namespace ipcq::detail {

std::uint64_t now_ns() noexcept {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return static_cast<std::uint64_t>(t.tv_sec) * 1'000'000'000u + static_cast<std::uint64_t>(t.tv_nsec);
}

std::uint64_t deadline_after(Duration timeout) noexcept {
  if (timeout == kForever) return kNever;
  if (timeout <= Duration::zero()) return 0;
  const std::uint64_t now = now_ns();
  const auto ns = static_cast<std::uint64_t>(timeout.count());
  return ns > kNever - 1 - now ? kNever : now + ns;
}

}  // namespace ipcq::detail
