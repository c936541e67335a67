// How calls wait: without the GIL, and in slices, so that a signal's handler runs (KeyboardInterrupt) and a call that
// closes the endpoint from another thread is not held up.
#pragma once

#include <nanobind/nanobind.h>

#include <algorithm>
#include <chrono>
#include <ipcq/status.hpp>
#include <ipcq/wait.hpp>
#include <thread>
#include <type_traits>
#include <utility>

#include "interpreter.hpp"
#include "turn.hpp"

namespace ipcq::python {

namespace nb = nanobind;

// A call's time-out as Python has it: seconds, or None for no limit.
class Patience {
 public:
  // Throws TypeError and ValueError (not a number).
  explicit Patience(nb::handle timeout);

  bool is_none_left() const noexcept { return left() <= Duration::zero(); }
  bool is_zero() const noexcept { return zero_; }
  // As given; below 0: no limit.
  double seconds() const noexcept { return seconds_; }
  Duration left() const noexcept {
    if (forever_) return kForever;
    if (zero_) return Duration::zero();
    return std::max(Duration(deadline_ - std::chrono::steady_clock::now()), Duration::zero());
  }
  // How long the next wait is to be; never zero, which has other outcomes.
  Duration slice() const noexcept { return std::clamp(left(), Duration(1), Duration(kSlice)); }

 private:
  static constexpr std::chrono::milliseconds kSlice{100};
  std::chrono::steady_clock::time_point deadline_{};
  double seconds_ = -1;
  bool forever_ = false;
  bool zero_ = false;
};

// Between two looks at what nobody tells of, as a stream's end: the longer, the longer it has taken.
inline std::chrono::microseconds nap_after(std::chrono::steady_clock::duration waited) noexcept {
  using std::chrono::microseconds;
  return std::clamp(std::chrono::ceil<microseconds>(waited / 16), microseconds(5), microseconds(1000));
}

// Runs the handlers of signals that came. Throws what they throw.
inline void check_signals() {
  if (PyErr_CheckSignals() != 0) throw nb::python_error();
}

inline Status status_of(Status status) noexcept { return status; }
inline Status status_of(const BatchResult& result) noexcept { return result.status; }
template <class T>
Status status_of(const Result<T>& result) noexcept {
  return result.status();
}

template <class Outcome>
void set_status(Outcome& outcome, Status status) noexcept {
  if constexpr (std::is_same_v<Outcome, BatchResult>) {
    outcome.status = status;
  } else {
    outcome = status;
  }
}

// Calls attempt(Duration): first without a wait and, unless `long_work`, with the GIL; then, where that came to empty
// or full and the caller has patience, in slices without the GIL until one comes to another status than timeout. The
// endpoint is the caller's within each.
//
// A signal that comes while it waits does not end the wait at once; and once a call has returned, Python runs the
// signal's handler before anybody has what it returned. So handlers run here: where one throws, undo(outcome) gives
// back what was received.
template <class Attempt, class Undo>
auto wait_for(Turn& turn, const Patience& patience, bool long_work, Attempt&& attempt, Undo&& undo) {
  const auto at_once = [&] {
    if (!long_work) {
      const Turn::Taken taken(turn);
      return attempt(Duration::zero());
    }
    const ReleasedGil released;  // comes back behind the turn's end
    turn.take();
    const Turn::Given given(turn);
    return attempt(Duration::zero());
  };
  // Not the user's interruption, but that of a thread that wanted its turn.
  const auto is_nudged = [&](Status status) { return status == Status::interrupted && !turn.is_interrupted_by_user(); };
  auto outcome = at_once();
  while (patience.is_zero() && is_nudged(status_of(outcome))) {
    {
      const ReleasedGil released;
      std::this_thread::yield();
    }
    outcome = at_once();
  }
  Status status = status_of(outcome);
  if (patience.is_zero() || (status != Status::empty && status != Status::full && !is_nudged(status))) return outcome;
  do {
    check_signals();
    const ReleasedGil released;
    if (!turn.take_to_wait(patience.slice())) {
      set_status(outcome, Status::timeout);
    } else {
      const Turn::Given given(turn);
      outcome = attempt(patience.slice());
    }
    status = status_of(outcome);
    if (is_nudged(status)) set_status(outcome, status = Status::timeout);
  } while (status == Status::timeout && !patience.is_none_left());
  if (PyErr_CheckSignals() != 0) {
    nb::python_error raised;  // takes it, so that nothing is in flight meanwhile
    undo(outcome);
    throw raised;
  }
  return outcome;
}
template <class Attempt>
auto wait_for(Turn& turn, const Patience& patience, bool long_work, Attempt&& attempt) {
  return wait_for(turn, patience, long_work, std::forward<Attempt>(attempt), [](auto&) {});
}

}  // namespace ipcq::python
