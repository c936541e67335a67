// Doorbells: how a waiter sleeps on a word in shared memory, and how a publisher wakes it without a system call when
// nobody sleeps. The waiting loop of every waiting call is here.
//
// `sequence` is the futex word. A sleeper reads it, writes what it read to `armed`, fences, looks once more, and sleeps
// while `sequence` is what it read. A publisher that finds armed == sequence increments `sequence` (which disarms) and
// wakes all. Nothing needs clearing, so a sleeper or a waker that is killed leaves at most one needless wake behind;
// the repair after a death rings every bell once, for the waker that died between increment and wake.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>

#include "base/crash_point.hpp"
#include "base/deadline.hpp"
#include "ipcq/status.hpp"
#include "ipcq/wait.hpp"
#include "layout/layout.hpp"
#include "protocol/asymmetric_fence.hpp"

namespace ipcq::detail {

// Before any other process can see it.
inline void init(Doorbell& bell) noexcept { bell.armed.store(~std::uint32_t{0}, std::memory_order_relaxed); }

// Announces a sleeper that read `sequence`. Only ever forwards: one that read it before the last ring must not hide
// that another sleeps on the newer value.
inline void arm(Doorbell& bell, std::uint32_t sequence) noexcept {
  std::uint32_t before = bell.armed.load(std::memory_order_relaxed);
  while (static_cast<std::int32_t>(before - sequence) < 0 &&
         !bell.armed.cas(before, sequence, std::memory_order_relaxed)) {
    before = bell.armed.load(std::memory_order_relaxed);
  }
}

// Increments and wakes, armed or not.
void ring_always(Doorbell& bell) noexcept;

// After a release store that a sleeper may wait for.
inline void ring(Doorbell& bell) noexcept {
  if (bell.armed.load(std::memory_order_relaxed) == bell.sequence.load(std::memory_order_relaxed)) ring_always(bell);
}

// Why a wait may have to end early; each is looked at regularly. Null pointers are not looked at.
struct Interruption {
  const Word* queue_state = nullptr;  // QueueState
  const std::atomic<bool>* disconnected = nullptr;
  const std::atomic<bool>* interrupted = nullptr;

  // ok: none. A closed queue counts only once there is nothing left to be ready for.
  Status check() const noexcept {
    if (interrupted != nullptr && interrupted->load(std::memory_order_relaxed)) return Status::interrupted;
    if (queue_state != nullptr &&
        queue_state->load(std::memory_order_relaxed) == static_cast<std::uint64_t>(QueueState::closed)) {
      return Status::closed;
    }
    if (disconnected != nullptr && disconnected->load(std::memory_order_relaxed)) return Status::peer_dead;
    return Status::ok;
  }
};

inline void cpu_pause() noexcept { _mm_pause(); }

// Sleeps until the bell rings after `sequence`, the deadline, or a bounded nap: a short one where publishers may not
// have seen that somebody sleeps (`seen` false).
void sleep_on(Doorbell& bell, std::uint32_t sequence, std::uint64_t deadline, bool seen) noexcept;

// Waits until ready() or an interruption. `deadline` in ns of now_ns(); 0 looks once. ready() must be cheap and may
// have side effects only when it returns true. `attendant`: rung before each sleep, for who rings `bell` only while it
// knows that somebody sleeps.
template <class Ready>
Status wait_until(Doorbell& bell, Wait wait, std::uint64_t deadline, const Interruption& interruption, Ready&& ready,
                  Doorbell* attendant = nullptr) {
  if (ready()) return Status::ok;
  if (const Status s = interruption.check(); s != Status::ok) return ready() ? Status::ok : s;
  if (deadline == 0) return Status::timeout;
  constexpr unsigned kLooksPerCheck = 64;
  if (wait.kind() != Wait::Kind::sleep) {
    std::uint64_t spin_until = kNever;
    if (wait.kind() == Wait::Kind::hybrid) spin_until = now_ns() + static_cast<std::uint64_t>(wait.spin_for().count());
    const std::uint64_t until = spin_until < deadline ? spin_until : deadline;
    for (;;) {
      for (unsigned n = 0; n < kLooksPerCheck; ++n) {
        cpu_pause();
        if (ready()) return Status::ok;
      }
      if (const Status s = interruption.check(); s != Status::ok) return ready() ? Status::ok : s;
      if (until != kNever && now_ns() >= until) break;
    }
    if (until == deadline) return Status::timeout;
  }
  for (;;) {
    const std::uint32_t sequence = bell.sequence.load(std::memory_order_acquire);
    arm(bell, sequence);
    const bool seen = sleeper_fence();
    if (ready()) return Status::ok;
    if (const Status s = interruption.check(); s != Status::ok) return ready() ? Status::ok : s;
    if (deadline != kNever && now_ns() >= deadline) return Status::timeout;
    IPCQ_CRASH_POINT("wait.armed");
    if (attendant != nullptr)
      ring(*attendant);  // sleeper_fence() stands between: either it sees us, or we see it sleep
    sleep_on(bell, sequence, deadline, seen);
  }
}

}  // namespace ipcq::detail
