// Turn: makes an endpoint, which is for one thread, safe for many: their calls take turns. Nobody calls Python, or
// waits for the GIL, while it has a turn.
//
// A thread that waits within its turn would hold up all others until a message comes. So one that finds a turn taken
// interrupts the session for a moment (Nudge); the one that waits gives its turn up, and goes on waiting behind it.
#pragma once

#include <nanobind/nanobind.h>

#include <atomic>
#include <chrono>
#include <ipcq/session.hpp>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

#include "interpreter.hpp"

namespace ipcq::python {

// Interrupts a session: for its user, until he resumes it, or for a thread that wants a turn, until it has it.
class Nudge {
 public:
  explicit Nudge(Session& session) noexcept : session_(&session) {}

  void begin() noexcept {
    const std::lock_guard lock(mutex_);
    if (wanting_++ == 0 && session_ != nullptr && !by_user_) session_->interrupt();
  }
  void end() noexcept {
    const std::lock_guard lock(mutex_);
    if (--wanting_ == 0 && session_ != nullptr && !by_user_) session_->resume();
  }
  void set_by_user(bool interrupted) noexcept {
    const std::lock_guard lock(mutex_);
    by_user_ = interrupted;
    if (session_ == nullptr) return;
    if (interrupted || wanting_ != 0) {
      session_->interrupt();
    } else {
      session_->resume();
    }
  }
  // Whether Status::interrupted is what the user wants to see.
  bool is_by_user() const noexcept { return by_user_; }
  // The session ends.
  void forget_session() noexcept {
    const std::lock_guard lock(mutex_);
    session_ = nullptr;
  }

 private:
  std::mutex mutex_;
  Session* session_;
  unsigned wanting_ = 0;
  std::atomic<bool> by_user_ = false;
};

class Turn {
 public:
  explicit Turn(std::shared_ptr<Nudge> nudge) noexcept : nudge_(std::move(nudge)) {}

  // Taken by a thread that holds the GIL, which it lets go only where it has to wait.
  class Taken {
   public:
    explicit Taken(Turn& turn) : turn_(turn) {
      if (turn.mutex_.try_lock()) return;
      const ReleasedGil released;
      turn.take_from_others();
    }
    Taken(const Taken&) = delete;
    Taken& operator=(const Taken&) = delete;
    ~Taken() { turn_.mutex_.unlock(); }

   private:
    Turn& turn_;
  };

  // For who goes on waiting, without the GIL: behind those that want a turn now. False: not within `time`.
  bool take_to_wait(std::chrono::nanoseconds time) noexcept {
    const auto end = std::chrono::steady_clock::now() + time;
    while (wanted_ != 0) std::this_thread::sleep_for(std::chrono::microseconds(20));
    return mutex_.try_lock_until(end);
  }
  void give_up() noexcept { mutex_.unlock(); }
  // Gives it up at its end.
  class Given {
   public:
    explicit Given(Turn& turn) noexcept : turn_(turn) {}
    Given(const Given&) = delete;
    Given& operator=(const Given&) = delete;
    ~Given() { turn_.give_up(); }

   private:
    Turn& turn_;
  };
  // The same as Taken, for who does not have the GIL. give_up() follows.
  void take() noexcept {
    if (!mutex_.try_lock()) take_from_others();
  }

  bool is_interrupted_by_user() const noexcept { return nudge_->is_by_user(); }

 private:
  void take_from_others() noexcept {
    ++wanted_;
    nudge_->begin();
    mutex_.lock();
    --wanted_;
    nudge_->end();
  }

  std::timed_mutex mutex_;
  std::atomic<unsigned> wanted_ = 0;
  std::shared_ptr<Nudge> nudge_;
};

}  // namespace ipcq::python
