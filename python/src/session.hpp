// ipcq._core.Session, and how endpoints are opened.
#pragma once

#include <nanobind/nanobind.h>

#include <chrono>
#include <future>
#include <ipcq/error.hpp>
#include <ipcq/session.hpp>
#include <memory>
#include <string>
#include <utility>

#include "interpreter.hpp"
#include "lifetime.hpp"
#include "waiting.hpp"

namespace ipcq::python {

class SessionObject {
 public:
  explicit SessionObject(std::shared_ptr<SessionState> state) : state_(std::move(state)) {}
  // Throws UsageError if it was closed, or inherited by a fork.
  const std::shared_ptr<SessionState>& open() const {
    if (state_ == nullptr) throw UsageError("the session is closed: open another by ipcq.connect()");
    state_->check_open();
    return state_;
  }
  const std::shared_ptr<SessionState>& state() const noexcept { return state_; }
  void close(bool broken_off) {
    if (state_ == nullptr) return;
    state_->close(broken_off);
    state_.reset();
  }

 private:
  std::shared_ptr<SessionState> state_;
};

// Calls attempt(Duration) in slices without the GIL until it does not throw NotFoundError, or the caller's patience is
// over.
template <class Attempt>
auto wait_to_find(const Patience& patience, Attempt&& attempt) {
  for (;;) {
    try {
      const ReleasedGil released;
      return attempt(patience.is_zero() ? Duration::zero() : patience.slice());
    } catch (const NotFoundError&) {
      if (patience.is_none_left()) throw;
    }
    check_signals();
  }
}

// `open(Session&, Duration)` opens the library's endpoint.
template <class State, class Open>
std::shared_ptr<State> open_endpoint(SessionObject& session, const std::string& queue, const Patience& patience,
                                     Open&& open) {
  const std::shared_ptr<SessionState> of = session.open();
  auto endpoint = wait_to_find(patience, [&](Duration left) {
    of->check_open();
    return open(of->session(), left);
  });
  auto state = std::make_shared<State>(of, queue, std::move(endpoint));
  of->add(state);
  return state;
}

// Calls open(Duration) without the GIL. Where the caller has patience, in a thread of its own, so that a signal's
// handler can run here; if that throws, the session is interrupted for a moment, which ends open().
template <class Open>
auto run_interruptibly(SessionState& session, const Patience& patience, Open&& open) {
  if (patience.is_zero()) {
    const ReleasedGil released;
    return open(Duration::zero());
  }
  for (;;) {
    auto opened = std::async(std::launch::async, [&] { return open(patience.left()); });
    try {
      for (bool is_done = false; !is_done;) {
        check_signals();
        session.check_open();
        const ReleasedGil released;
        is_done = opened.wait_for(std::chrono::milliseconds(50)) == std::future_status::ready;
      }
    } catch (...) {
      const ReleasedGil released;
      session.nudge()->begin();
      opened.wait();
      session.nudge()->end();
      throw;
    }
    try {
      return opened.get();
    } catch (const NotFoundError&) {  // perhaps because a thread that wanted its turn has interrupted the session
      if (patience.is_none_left() || session.nudge()->is_by_user()) throw;
    }
  }
}

void bind_session(nb::module_& m);

}  // namespace ipcq::python
