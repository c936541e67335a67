// The Doorbell for models. It is not a template, since a futex needs the real word, so this repeats the accesses of
// doorbell.hpp one by one. Both fences are full ones: the membarrier of asymmetric_fence.hpp makes the pair equivalent
// to that. The futex is a mutex and a condition variable; Relacy reports a sleeper that is never woken as a deadlock.
#pragma once

#include "relacy_atomics.hpp"

namespace ipcq::detail::model {

inline void full_fence(Fault without) {
  if (fault != without) rl::atomic_thread_fence(rl::mo_seq_cst, RL_INFO);
}
inline void publisher_fence() { full_fence(Fault::no_publisher_fence); }
inline void sleeper_fence() { full_fence(Fault::no_sleeper_fence); }

struct Bell {
  rl::atomic<unsigned> sequence;
  rl::atomic<unsigned> armed;
  rl::mutex kernel;
  rl::condition_variable sleepers;

  Bell() {
    sequence.store(0, rl::mo_relaxed, RL_INFO);
    armed.store(~0u, rl::mo_relaxed, RL_INFO);
  }
  bool is_armed() const { return armed.load(rl::mo_relaxed, RL_INFO) == sequence.load(rl::mo_relaxed, RL_INFO); }
  void ring_always() {
    sequence.fetch_add(1, rl::mo_release, RL_INFO);
    kernel.lock(RL_INFO);
    sleepers.notify_all(RL_INFO);
    kernel.unlock(RL_INFO);
  }
  void ring() {
    if (is_armed()) ring_always();
  }
  // Only raises `armed`: a sleeper that has read an older sequence must not hide one that sleeps on a newer.
  void arm(unsigned seen) {
    if (fault == Fault::armed_overwritten) return armed.store(seen, rl::mo_relaxed, RL_INFO);
    unsigned before = armed.load(rl::mo_relaxed, RL_INFO);
    while (static_cast<int>(before - seen) < 0 &&
           !armed.compare_exchange_strong(before, seen, rl::mo_relaxed, RL_INFO, rl::mo_relaxed, RL_INFO)) {
    }
  }
  // `blind`: a planted bug, sleeps without checking ready() after arming.
  template <class Ready>
  void wait_until(Ready ready, Bell* attendant = nullptr, bool blind = false) {
    if (ready()) return;
    for (;;) {
      const unsigned seen = sequence.load(rl::mo_acquire, RL_INFO);
      arm(seen);
      sleeper_fence();
      if (!blind && ready()) return;
      if (attendant != nullptr) attendant->ring();
      kernel.lock(RL_INFO);
      // The kernel compares under its lock; a read-modify-write sees the newest value.
      if (sequence.fetch_add(0, rl::mo_relaxed, RL_INFO) == seen) sleepers.wait(kernel, RL_INFO);
      kernel.unlock(RL_INFO);
      if (blind && ready()) return;
    }
  }
};

}  // namespace ipcq::detail::model
