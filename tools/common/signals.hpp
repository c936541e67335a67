// Signals: SIGINT, SIGTERM and SIGHUP as an event that a program can wait for, instead of a handler that may do
// nothing.
//
// Make one first thing in main: the signals are blocked there, so that every later thread inherits the mask, and a
// thread of its own takes them with sigwait. SIGPIPE and SIGXFSZ are ignored: writes report EPIPE and EFBIG.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "common/file_descriptor.hpp"

namespace ipcq::program {

class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // Called on the signal thread with the number of the signal, from 1; those within 200 ms count as one. While nobody
  // has subscribed a signal ends the process with 128 + signal: nothing was begun yet. After the subscription ended
  // signals are ignored: the program is about to end anyway.
  using Callback = std::function<void(int count)>;
  class Subscription {
   public:
    explicit Subscription(Signals& signals) : signals_(signals) {}
    Subscription(const Subscription&) = delete;
    Subscription& operator=(const Subscription&) = delete;
    ~Subscription() { signals_.set_callback(nullptr); }

   private:
    Signals& signals_;
  };
  [[nodiscard]] Subscription subscribe(Callback callback) {
    set_callback(std::move(callback));
    return Subscription(*this);
  }

  // While one lives, a stop request interrupts the system call that its thread is blocked in (EINTR, or fewer bytes),
  // and each further one every 20 ms: ask stop_requested() before each. One at a time.
  class Interruptible {
   public:
    explicit Interruptible(const Signals& signals) : signals_(signals) { signals_.set_blocked(pthread_self()); }
    Interruptible(const Interruptible&) = delete;
    Interruptible& operator=(const Interruptible&) = delete;
    ~Interruptible() { signals_.set_blocked(std::nullopt); }

   private:
    const Signals& signals_;
  };

  // The one of this process; null while there is none.
  static const Signals* current() noexcept { return current_.load(std::memory_order_acquire); }

  bool stop_requested() const noexcept { return count_.load(std::memory_order_acquire) > 0; }
  // Becomes and stays readable once a stop is requested.
  int stop_fd() const noexcept { return event_.get(); }
  // Waits for a stop request, or until then; true when a stop was requested.
  bool wait() const;
  bool wait_until(std::chrono::steady_clock::time_point when) const;

 private:
  void set_callback(Callback callback);
  void set_blocked(std::optional<pthread_t> thread) const;
  void take_signals() noexcept;
  void interrupt_blocked() noexcept;

  static std::atomic<const Signals*> current_;

  sigset_t set_{};
  FileDescriptor event_;
  std::atomic<int> count_{0};
  std::atomic<bool> ending_{false};
  std::mutex mutex_;  // guards the two below and is held while the callback runs
  Callback callback_;
  bool subscribed_once_ = false;
  mutable std::mutex blocked_mutex_;  // guards the one below: a thread is not signalled after it has ended
  mutable std::optional<pthread_t> blocked_;
  std::thread thread_;
};

}  // namespace ipcq::program
