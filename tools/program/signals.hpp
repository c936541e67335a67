// Signals: SIGINT, SIGTERM and SIGHUP as an event that a program can wait for. A signal handler could call hardly
// anything; here a thread takes the signals with sigwait().
//
// Constructed first in main, one per process: it blocks the signals, and every thread started later inherits the mask.
// SIGPIPE and SIGXFSZ are ignored: writes report EPIPE and EFBIG. Thread-safe, except construction and destruction.
#pragma once

#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <mutex>
#include <optional>
#include <thread>

#include "program/file_descriptor.hpp"

namespace ipcq::program {

class Signals {
 public:
  Signals();
  ~Signals();
  Signals(const Signals&) = delete;
  Signals& operator=(const Signals&) = delete;

  // Called by the signal thread with the count of signals so far, from 1; signals within 200 ms count as one. Before
  // the first subscription a signal ends the process with code 128 + signal, as nothing has begun yet. After the
  // subscription has ended signals are ignored, as the program is about to end.
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
  // and after it any other every 20 ms: the thread checks stop_requested() before each call. One at a time in a
  // process.
  class Interruptible {
   public:
    explicit Interruptible(const Signals& signals) : signals_(signals) { signals_.set_blocked(pthread_self()); }
    Interruptible(const Interruptible&) = delete;
    Interruptible& operator=(const Interruptible&) = delete;
    ~Interruptible() { signals_.set_blocked(std::nullopt); }

   private:
    const Signals& signals_;
  };

  // The object of this process; null while there is none.
  static const Signals* current() noexcept { return current_.load(std::memory_order_acquire); }

  bool stop_requested() const noexcept { return count_.load(std::memory_order_acquire) > 0; }
  // Becomes and stays readable once a stop is requested.
  int stop_fd() const noexcept { return event_.get(); }
  // Waits for a stop request, or until `when`. True when a stop was requested.
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
  std::mutex mutex_;  // guards the next two, and is held while the callback runs
  Callback callback_;
  bool subscribed_once_ = false;
  mutable std::mutex blocked_mutex_;  // guards blocked_, so that a thread that has ended is not signalled
  mutable std::optional<pthread_t> blocked_;
  std::thread thread_;
};

}  // namespace ipcq::program
