#include "protocol/doorbell.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <climits>

namespace ipcq::detail {
namespace {

// A lost wake cannot happen by the protocol. A peer that scribbles over the bell, or is stopped between increment and
// wake, can cause one: then a sleeper looks again after this long by itself.
constexpr std::uint64_t kLongestSleep = 5'000'000'000;
// Without membarrier's help a wake may be missed: look again soon.
constexpr std::uint64_t kNap = 1'000'000;

}  // namespace

void ring_always(Doorbell& bell) noexcept {
  // SYNC doorbell (release): what was published before the increment. Pairs with: wait_until, sleep_on.
  bell.sequence.fetch_add(1, std::memory_order_release);
  IPCQ_CRASH_POINT("ring.incremented");
  syscall(SYS_futex, &bell.sequence.raw, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void sleep_on(Doorbell& bell, std::uint32_t sequence, std::uint64_t deadline, bool seen) noexcept {
  const std::uint64_t nap = now_ns() + (seen ? kLongestSleep : kNap);
  const std::uint64_t until = deadline < nap ? deadline : nap;
  timespec t{};
  t.tv_sec = static_cast<time_t>(until / 1'000'000'000u);
  t.tv_nsec = static_cast<long>(until % 1'000'000'000u);
  // SYNC doorbell (acquire): the kernel compares under its own lock; wait_until loads the word again. Absolute time,
  // shared between processes. Returns on wake, changed word, time-out or signal: the caller looks in each case.
  syscall(SYS_futex, &bell.sequence.raw, FUTEX_WAIT_BITSET, sequence, &t, nullptr, FUTEX_BITSET_MATCH_ANY);
}

}  // namespace ipcq::detail
