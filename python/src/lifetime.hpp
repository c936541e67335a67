// Who owns what: a session, its endpoints, and the slots and messages that they have given out. Each of these keeps
// what it needs alive, so Python may drop them in any order, and from any thread.
//
//   SessionState <- EndpointState (of a producer, consumer, client, server) <- loans, messages, calls, requests
//
// All of it ends, and its functions are called, with the GIL.
//
// An endpoint that was closed lets its session go once nothing of it is held any more: then the session, if it was
// closed too, detaches from the broker.
#pragma once

#include <nanobind/nanobind.h>

#include <atomic>
#include <cstdint>
#include <ipcq/session.hpp>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "interpreter.hpp"
#include "turn.hpp"

namespace ipcq::python {

class EndpointState;

// In a child of a fork objects of its parent are not used, and what has a lock that a thread of the parent may have
// held is left alone.
std::uint32_t forks() noexcept;
// Of an object that was made when there were so many, and has no threads. Throws UsageError if it is the parent's.
void check_forks(std::uint32_t then, const std::string& where);

class SessionState {
 public:
  explicit SessionState(Session session)
      : session_(std::move(session)), nudge_(std::make_shared<Nudge>(session_)), forks_(forks()) {}
  SessionState(const SessionState&) = delete;
  SessionState& operator=(const SessionState&) = delete;
  ~SessionState();  // detaches, and lets the GIL go meanwhile

  Session& session() noexcept { return session_; }
  const std::shared_ptr<Nudge>& nudge() const noexcept { return nudge_; }
  bool is_inherited() const noexcept { return forks_ != forks(); }
  bool is_left_alone() const noexcept { return is_inherited() || is_ending(); }
  // Throws UsageError if it was closed, or inherited by a fork.
  void check_open() const;

  void add(const std::shared_ptr<EndpointState>& endpoint);
  // Closes all endpoints; `broken_off`: producers do not end their streams. `under_views`: see EndpointState::close().
  void close(bool broken_off, bool under_views = false);
  bool is_closed() const noexcept { return closed_; }

 private:
  Session session_;
  std::shared_ptr<Nudge> nudge_;
  std::mutex mutex_;
  std::vector<std::weak_ptr<EndpointState>> endpoints_;
  std::atomic<bool> closed_ = false;
  std::uint32_t forks_;
};

class EndpointState {
 public:
  EndpointState(std::shared_ptr<SessionState> session, std::string queue)
      : session_(std::move(session)),
        queue_(std::move(queue)),
        where_("queue '" + queue_ + "'"),
        turn_(session_->nudge()),
        forks_(forks()) {}
  EndpointState(const EndpointState&) = delete;
  EndpointState& operator=(const EndpointState&) = delete;
  virtual ~EndpointState() = default;

  const std::string& queue() const noexcept { return queue_; }
  const std::string& where() const noexcept { return where_; }  // for exceptions
  Turn& turn() noexcept { return turn_; }
  bool is_closed() const noexcept { return closed_; }
  bool is_inherited() const noexcept { return forks_ != forks(); }
  // Nothing of it is given back or closed: it is the parent's, or the interpreter ends.
  bool is_left_alone() const noexcept { return is_inherited() || is_ending(); }
  // Throws UsageError if it was inherited by a fork. That it was closed calls say by their status.
  void check_owner() const;

  // Ends its stream or leaves its group, once, and lets the GIL go meanwhile. Calls come to closed from now on; where
  // views of its slots or messages are alive the library's endpoint stays open until the last of them ends, so that
  // none shows, or writes to, what is another's; but for `under_views`, when the interpreter ends.
  void close(bool broken_off, bool under_views = false);
  void begin_view() noexcept { ++views_; }
  void end_view();

  // What the module's GPU part has for it (device_bindings.cpp). In the caller's turn.
  std::shared_ptr<void>& device_side() noexcept { return device_side_; }

  // Of a loan, message, call or request: it exists.
  void hold() noexcept { held_.fetch_add(1, std::memory_order_relaxed); }
  void let_go() noexcept;

 protected:
  // Ends the library's endpoint: without the GIL, in the caller's turn.
  virtual void end(bool broken_off) noexcept = 0;
  // Destroys it, in the caller's turn: from now on it is an empty object, whose calls come to closed.
  virtual void forget() noexcept = 0;

 private:
  void finish_close();
  void drop_session() noexcept;

  std::shared_ptr<SessionState> session_;
  const std::string queue_;
  const std::string where_;
  Turn turn_;
  std::atomic<bool> closed_ = false;
  std::atomic<bool> ended_ = false;
  bool ends_broken_off_ = false;
  std::atomic<std::size_t> views_ = 0;
  std::atomic<std::size_t> held_ = 0;
  std::shared_ptr<void> device_side_;
  std::uint32_t forks_;
};

// Counts a thing that an endpoint has given out. Move-only.
class Held {
 public:
  Held() noexcept = default;
  explicit Held(EndpointState& endpoint) noexcept { begin(endpoint); }
  Held(Held&& other) noexcept : endpoint_(std::exchange(other.endpoint_, nullptr)) {}
  Held& operator=(Held&&) = delete;
  ~Held() { end(); }
  void begin(EndpointState& endpoint) noexcept {
    endpoint.hold();
    endpoint_ = &endpoint;
  }
  void end() noexcept {
    if (endpoint_ != nullptr) std::exchange(endpoint_, nullptr)->let_go();
  }

 private:
  EndpointState* endpoint_ = nullptr;
};

// What is open when the interpreter ends is closed before it does. Producers do not end their streams by it.
void remember(const std::shared_ptr<SessionState>& session);
void close_all_sessions();

// Of what is left when the interpreter ends: its destructor would close it, or wait for a thread that has stopped.
template <class T>
void leave_to_the_process(T& object) noexcept {
  if (is_ending()) (void)new T(std::move(object));  // NOLINT(cppcoreguidelines-owning-memory)
}

}  // namespace ipcq::python
