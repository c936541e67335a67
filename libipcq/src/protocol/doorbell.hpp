// Doorbells: a waiter sleeps on a word in shared memory, and a ringer wakes it, with no system call while nobody
// sleeps. wait_until() is the loop of every waiting call. Thread-safe. The state diagram stands on Doorbell
// (layout.hpp).
//
//   sleeper                                        ringer
//   loads `sequence` (acquire)                     stores what the sleeper waits for (release)
//   raises `armed` to that value (arm)             publisher_fence()
//   sleeper_fence()                                loads `armed` and `sequence`; if they are equal:
//   loads what it waits for; if it is not there:     increments `sequence` (release), which disarms
//   futex wait while `sequence` is unchanged         futex wake of all
//
// A sleeper or a ringer that is killed leaves no state to clear, and at most one needless wake. A ringer killed between
// increment and wake leaves sleepers: the repair after each death rings every doorbell.
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

// Before any other process maps the bell.
inline void init(Doorbell& bell) noexcept { bell.armed.store(~std::uint32_t{0}, std::memory_order_relaxed); }

// Raises `armed` to `sequence`, the value that the sleeper loaded. Never lowers it: a sleeper that loaded `sequence`
// before the last ring must not disarm the bell for another that sleeps on the newer value. Relaxed: sleeper_fence()
// orders it.
inline void arm(Doorbell& bell, std::uint32_t sequence) noexcept {
  std::uint32_t before = bell.armed.load(std::memory_order_relaxed);
  while (is_before(before, sequence) && !bell.armed.cas(before, sequence, std::memory_order_relaxed)) {
    before = bell.armed.load(std::memory_order_relaxed);
  }
}

// Whether somebody may sleep. Relaxed: the caller's publisher_fence() orders it.
inline bool is_armed(const Doorbell& bell) noexcept {
  return bell.armed.load(std::memory_order_relaxed) == bell.sequence.load(std::memory_order_relaxed);
}

// Increments `sequence` and wakes all sleepers, whether or not the bell is armed. A system call.
void ring_always(Doorbell& bell) noexcept;

// Wakes the sleepers if the bell is armed. The caller has stored what they wait for, and called publisher_fence().
inline void ring(Doorbell& bell) noexcept {
  if (is_armed(bell)) ring_always(bell);
}

// Conditions that end a wait early. A waiter checks them before each sleep and regularly while it spins; null pointers
// are skipped. Relaxed loads: observing a condition late only prolongs the wait, and the party that sets it rings.
struct Interruption {
  const Word* queue_state = nullptr;  // QueueState
  const std::atomic<bool>* disconnected = nullptr;
  const std::atomic<bool>* interrupted = nullptr;

  // ok: no condition holds.
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

// The protocol loses no wake. A process that overwrites the bell, or is stopped between increment and wake, can cause a
// missed wake: a sleeper checks again after this time (ns).
inline constexpr std::uint64_t kLongestSleep = 5'000'000'000;
// Longest sleep after membarrier was refused, when a ringer may not observe that the bell is armed.
inline constexpr std::uint64_t kSleepUnseen = 1'000'000;

// Sleeps until `sequence` changes, the deadline (ns of now_ns()) or the longest sleep: 5 s, or 1 ms where ringers may
// not observe that the bell is armed (`seen` false, from sleeper_fence()). May return early; the caller looks again.
void sleep_on(Doorbell& bell, std::uint32_t sequence, std::uint64_t deadline, bool seen) noexcept;

// Waits until ready() or an interruption. `deadline` in ns of now_ns(): 0 checks once, kNever has no limit. Returns ok,
// timeout, or the interruption; ready() takes precedence over an interruption. ready() must be cheap and may have side
// effects only when it returns true. `attendant`: a second bell, rung before each sleep. Its thread rings `bell`, and
// sleeps itself while no one is armed on `bell` (the completion waker of a device queue).
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
      ring(*attendant);  // after arm() and sleeper_fence(): the attendant observes our `armed`, or we observe its own
    sleep_on(bell, sequence, deadline, seen);
  }
}

}  // namespace ipcq::detail
