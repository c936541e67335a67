#include "base/poll_until.hpp"

#include <time.h>

#include <cerrno>

#include "base/deadline.hpp"

namespace ipcq::detail {

int poll_until(pollfd* entries, nfds_t count, std::uint64_t deadline) noexcept {
  constexpr std::uint64_t kSecond = 1'000'000'000;
  for (;;) {
    const std::uint64_t now = deadline == 0 ? 0 : now_ns();
    const std::uint64_t left = deadline > now ? deadline - now : 0;
    const timespec timeout{static_cast<time_t>(left / kSecond), static_cast<long>(left % kSecond)};
    const int ready = ::ppoll(entries, count, deadline == kNever ? nullptr : &timeout, nullptr);
    if (ready >= 0 || errno != EINTR) return ready;
  }
}

}  // namespace ipcq::detail
