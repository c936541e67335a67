#include "protocol/doorbell.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <climits>

namespace ipcq::detail {
namespace {

// The protocol loses no wake. A process that overwrites the bell, or is stopped between increment and wake, can cause a
// missed wake: a sleeper checks again after this time.
constexpr std::uint64_t kLongestSleep = 5'000'000'000;
// Longest sleep after membarrier was refused, when a ringer may not observe that the bell is armed.
constexpr std::uint64_t kNap = 1'000'000;

}  // namespace

void ring_always(Doorbell& bell) noexcept {
  // SYNC doorbell (release): a sleeper that loads the new value observes what was stored before. Pairs with:
  // wait_until, sleep_on.
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
  // SYNC doorbell (acquire): the kernel compares `sequence` under its own lock, and wait_until loads it again. The time
  // is absolute and the futex shared between processes. Returns on a wake, a changed word, the time-out or a signal.
  syscall(SYS_futex, &bell.sequence.raw, FUTEX_WAIT_BITSET, sequence, &t, nullptr, FUTEX_BITSET_MATCH_ANY);
}

}  // namespace ipcq::detail
