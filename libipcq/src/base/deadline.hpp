// The time at which a call must return. A call makes one Deadline from its time-out and passes it to every part: no
// part restarts the time, and a part that begins after it has passed still knows that the call was given time.
//
// A call without time (zero, or less) checks once, never sleeps, and returns `full` or `empty`; a call with time
// returns `timeout`. Not thread-safe; for the caller's stack.
#pragma once

#include <time.h>

#include <algorithm>
#include <cstdint>

#include "ipcq/export.hpp"
#include "ipcq/status.hpp"
#include "ipcq/wait.hpp"

namespace ipcq::detail {

// CLOCK_MONOTONIC, ns.
IPCQ_INTERNAL_API std::uint64_t now_ns() noexcept;

inline constexpr std::uint64_t kNever = ~std::uint64_t{0};
// When a time-out from now ends; 0: it was none.
IPCQ_INTERNAL_API std::uint64_t deadline_after(Duration timeout) noexcept;
// Of now_ns(), for a system call.
constexpr timespec to_timespec(std::uint64_t ns) noexcept {
  return {.tv_sec = static_cast<time_t>(ns / 1'000'000'000u), .tv_nsec = static_cast<long>(ns % 1'000'000'000u)};
}

class Deadline {
 public:
  // Starts with the first look at it, so that a call that need not wait need not read the clock.
  explicit Deadline(Duration timeout) noexcept : timeout_(timeout) {}
  static Deadline none() noexcept { return Deadline(Duration::zero()); }
  // Continues a deadline that deadline_after() returned.
  static Deadline until(std::uint64_t at_ns) noexcept {
    Deadline d(at_ns == 0 ? Duration::zero() : Duration(1));
    d.at_ns_ = at_ns;
    return d;
  }

  // For a call whose work before its first wait counts, too.
  void start() noexcept { (void)at_ns(); }
  bool was_given_time() const noexcept { return timeout_ > Duration::zero(); }
  // In ns of now_ns(); 0 without time, kNever for kForever: what wait_until() takes.
  std::uint64_t at_ns() noexcept {
    if (at_ns_ == 0 && was_given_time()) at_ns_ = deadline_after(timeout_);
    return at_ns_;
  }
  bool has_passed() noexcept {
    const std::uint64_t at = at_ns();
    return at != kNever && (at == 0 || now_ns() >= at);
  }
  // One round of a wait: at most so long from now, and no longer than this.
  Deadline round(std::uint64_t ns) noexcept {
    Deadline r(timeout_);
    if (was_given_time()) r.at_ns_ = std::min(at_ns(), now_ns() + ns);
    return r;
  }
  // A part of the call that may take `time` from now, and no longer than this.
  Deadline within(Duration time) noexcept {
    if (time == kForever) return *this;
    if (time <= Duration::zero()) return none();
    return until(std::min(at_ns(), deadline_after(time)));
  }
  // Status of a call that ends without result. `at_once`: full or empty.
  Status outcome(Status at_once) const noexcept { return was_given_time() ? Status::timeout : at_once; }

 private:
  Duration timeout_;
  std::uint64_t at_ns_ = 0;  // 0: not started, or without time
};

}  // namespace ipcq::detail
