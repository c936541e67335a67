// The two sides of arming a doorbell: the publisher stores, then looks whether somebody sleeps; the sleeper announces
// itself, then looks whether something was stored. One of them must see the other.
//
// The sleeper pays: membarrier makes every publishing thread of every process execute a full barrier, so that the
// publisher's side is free. A process that cannot register for that (seccomp, old kernel) pays with full fences of its
// own when it publishes. A sleeper whose call is refused, then or later (a filter installed meanwhile, no memory),
// cannot know whether a publisher sees it, and sleeps in short naps; the session's log and `ipcq doctor` tell.
#pragma once

#include <atomic>

namespace ipcq::detail {

// Whether this process is registered: publishing needs no fence. Set before main.
extern const bool kMembarrierRegistered;
inline bool has_membarrier() noexcept { return kMembarrierRegistered; }

// Publisher, between the store and the look.
inline void publisher_fence() noexcept {
  // SYNC arm-fence (light side): compiler barrier where membarrier is there. Pairs with: sleeper_fence.
  if (has_membarrier()) {
    std::atomic_signal_fence(std::memory_order_seq_cst);
  } else {
#if !defined(__SANITIZE_THREAD__)
    std::atomic_thread_fence(std::memory_order_seq_cst);
#endif
  }
}

// Sleeper, between the announcement and the look. False: a publisher may miss the announcement, so sleep only for a
// moment.
[[nodiscard]] bool sleeper_fence() noexcept;

}  // namespace ipcq::detail
