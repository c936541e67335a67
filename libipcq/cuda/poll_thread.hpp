// A thread that looks after stream work which nobody announces: it polls while something is pending and sleeps
// otherwise. Started by the first start() or wake(). It makes no CUDA call.
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
  // `look` is called again and again; it returns how long to nap (ns) before the next call; kNever: until wake().
  explicit PollThread(std::function<std::uint64_t()> look) : look_(std::move(look)) {}
  ~PollThread() { stop(); }
  PollThread(const PollThread&) = delete;
  PollThread& operator=(const PollThread&) = delete;

  // Starts the thread, if need be. False: the system has none to give, and wake() does nothing until it has.
  bool start() noexcept;
  // Something new is pending: look soon. A system call only when the thread sleeps, or naps for long.
  void wake() noexcept;
  // Ends the thread; in a forked child only forgets it. Idempotent; wake() does nothing after it.
  void stop() noexcept;

 private:
  bool ensure_thread() noexcept;  // with mutex_ held
  void run() noexcept;

  std::function<std::uint64_t()> look_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;
  const std::uint32_t epoch_ = fork_epoch();
  bool woken_ = false;
  bool naps_long_ = false;
  bool stopped_ = false;
};

// How long to nap when nothing has moved for `idle` ns: what is waited for is then seen at most an eighth late.
std::uint64_t nap_after(std::uint64_t idle) noexcept;

}  // namespace ipcq::detail
