// A thread that polls for what streams do, which ring no bell: it polls while something is pending and sleeps
// otherwise.
//
// Thread-safe, but for stop() and the destructor, which are the owner's. The thread begins with the first start() or
// wake(). Invariant: it makes no CUDA call, because a call on a full stream may return only after this thread has
// acted.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>

#include "base/os.hpp"
#include "base/thread.hpp"

namespace ipcq::detail {

class PollThread {
 public:
  // The thread calls `round`, which returns the time to sleep before the next call, in ns; kNever: until wake().
  explicit PollThread(std::function<std::uint64_t()> round) : round_(std::move(round)) {}
  ~PollThread() { stop(); }
  PollThread(const PollThread&) = delete;
  PollThread& operator=(const PollThread&) = delete;

  // Starts the thread, if it does not run yet. False: the system refuses one; wake() will try again.
  bool start() noexcept;
  // Something new is pending. Interrupts a sleep of 1 ms or longer, which takes a system call; a shorter one runs out.
  void wake() noexcept;
  // Ends the thread and joins it; in a forked child only forgets it. Idempotent; wake() does nothing afterwards.
  void stop() noexcept;

 private:
  bool ensure_thread() noexcept;  // with mutex_ held
  void run() noexcept;

  std::function<std::uint64_t()> round_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;
  const std::uint32_t epoch_ = fork_epoch();
  bool woken_ = false;
  bool naps_long_ = false;
  bool stopped_ = false;
};

// The sleep, in ns, when nothing has changed for `idle` ns: an eighth of that, so that a change is seen with at most
// that delay, but at least 3 us and at most 50 us.
std::uint64_t nap_after(std::uint64_t idle) noexcept;

}  // namespace ipcq::detail
