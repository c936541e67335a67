// The asymmetric fence between a publisher, for whom it is cheap, and a sleeper, who pays for both. The publisher
// stores its line, fences, and loads `armed`; the sleeper stores `armed`, fences, and loads the line. At least one of
// the two loads observes the other party's store.
//
// The sleeper's fence is membarrier: it makes every running thread of every registered process execute a full barrier,
// so the publisher's fence is only a compiler barrier. A process that cannot register (seccomp, old kernel) executes a
// full fence whenever it publishes. If a sleeper's call is refused, at the start or later (a filter installed since, no
// memory), a publisher may not observe `armed`: the sleeper sleeps in short naps, and the session's log and `ipcq
// doctor` say so. Thread-safe.
#pragma once

#include <atomic>

namespace ipcq::detail {

// Whether this process is registered, so that its publishers need no fence. Set before main.
extern const bool kMembarrierRegistered;
inline bool has_membarrier() noexcept { return kMembarrierRegistered; }

// For the publisher, between its store and its load of `armed`.
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

// For the sleeper, between its store to `armed` and its load of what it waits for. False: a publisher may not observe
// `armed`, so the caller must sleep for a short time only. A system call.
[[nodiscard]] bool sleeper_fence() noexcept;

}  // namespace ipcq::detail
