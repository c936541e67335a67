// How a caller waits, and for how long.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string_view>
#include <type_traits>

#include "ipcq/export.hpp"

namespace ipcq {

// A time-out; `kForever` still ends at close, end of stream, interrupt and the broker's death.
using Duration = std::chrono::nanoseconds;
inline constexpr Duration kForever = Duration::max();

// How long a call may take: any std::chrono::duration. A negative value (or NaN) becomes zero, one that exceeds the
// range of Duration becomes kForever.
class Timeout {
 public:
  template <class Rep, class Period>
  constexpr Timeout(std::chrono::duration<Rep, Period> time) noexcept  // NOLINT(google-explicit-constructor)
      : duration_(rounded(time)) {}
  constexpr operator Duration() const noexcept { return duration_; }       // NOLINT(google-explicit-constructor)
  friend constexpr auto operator<=>(Timeout, Timeout) noexcept = default;  // NOLINT(modernize-use-nullptr): of the 0

 private:
  template <class Rep, class Period>
  static constexpr Duration rounded(std::chrono::duration<Rep, Period> time) noexcept {
    using Time = std::chrono::duration<Rep, Period>;
    if (!(time > time.zero())) return Duration::zero();
    if constexpr (std::is_same_v<Time, Duration>) {
      return time;
    } else {
      using Seconds = std::chrono::duration<long double>;
      if (Seconds(time) >= Seconds(kForever)) return kForever;
      return std::chrono::ceil<Duration>(time);  // rounded up: a positive time never becomes zero
    }
  }

  Duration duration_;
};

// Waiting strategy of one endpoint or executor.
class Wait {
 public:
  enum class Kind : std::uint8_t { spin, hybrid, sleep };

  // Never a system call: lowest latency, one core busy.
  static constexpr Wait spin() noexcept { return Wait(Kind::spin, Duration::max()); }
  // Spins for `spin_for`, then sleeps on a futex.
  static constexpr Wait hybrid(Duration spin_for = std::chrono::microseconds(20)) noexcept {
    return Wait(Kind::hybrid, spin_for);
  }
  // Sleeps on a futex at once: CPU near zero while idle.
  static constexpr Wait sleep() noexcept { return Wait(Kind::sleep, Duration::zero()); }

  constexpr Kind kind() const noexcept { return kind_; }
  constexpr Duration spin_for() const noexcept { return spin_for_; }

 private:
  constexpr Wait(Kind kind, Duration spin_for) noexcept : spin_for_(spin_for), kind_(kind) {}
  Duration spin_for_;
  Kind kind_;
};

// "spin", "hybrid" or "sleep". Throws UsageError on anything else.
IPCQ_API Wait parse_wait(std::string_view text);
IPCQ_API std::string_view to_string(Wait::Kind kind) noexcept;

}  // namespace ipcq
