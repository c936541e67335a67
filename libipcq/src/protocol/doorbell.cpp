#include "protocol/doorbell.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <climits>

namespace ipcq::detail {
void ring_always(Doorbell& bell) noexcept {
  // SYNC doorbell (release): a sleeper that loads the new value observes what was stored before. Pairs with:
  // wait_until, sleep_on.
  bell.sequence.fetch_add(1, std::memory_order_release);
  IPCQ_CRASH_POINT("ring.incremented");
  syscall(SYS_futex, &bell.sequence.raw, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

void sleep_on(Doorbell& bell, std::uint32_t sequence, std::uint64_t deadline, bool seen) noexcept {
  const std::uint64_t nap = now_ns() + (seen ? kLongestSleep : kSleepUnseen);
  const std::uint64_t until = deadline < nap ? deadline : nap;
  const timespec t = to_timespec(until);
  // SYNC doorbell (acquire): the kernel compares `sequence` under its own lock, and wait_until loads it again. The time
  // is absolute and the futex shared between processes. Returns on a wake, a changed word, the time-out or a signal.
  syscall(SYS_futex, &bell.sequence.raw, FUTEX_WAIT_BITSET, sequence, &t, nullptr, FUTEX_BITSET_MATCH_ANY);
}

}  // namespace ipcq::detail
