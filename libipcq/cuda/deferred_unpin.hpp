// Unpins and unmaps what endpoints have left, in a thread of its own: both return only when no stream of the context
// stands in a wait (seen on an H200 with driver 580), so nobody who has waits to end may call them.
//
// One in a process, never destroyed; thread-safe. It begins nothing while a wait of this library's is open (OpenWait),
// nor after exit() has been called: the driver then unloads, and the process' end unpins. A forked child, in which CUDA
// does not work, cleans nothing.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

#include "base/os.hpp"
#include "base/thread.hpp"

namespace ipcq::detail {

class DeferredUnpin {
 public:
  // `clean_one` gives one thing back that nobody uses; false when there is none.
  explicit DeferredUnpin(std::function<bool()> clean_one) : clean_one_(std::move(clean_one)) {}

  // Something may be unused now.
  void look() noexcept;
  // Waits until all is cleaned, but not for what is held up: by open waits, or for longer than a moment.
  void await() noexcept;
  // Begins nothing more, and waits a moment for what is under way.
  void end() noexcept;

  void count_wait() noexcept { open_waits_.fetch_add(1); }
  void uncount_wait() noexcept {
    if (open_waits_.fetch_sub(1) == 1) look();
  }

 private:
  bool is_held_up() const noexcept { return open_waits_ != 0 || ending_; }
  [[noreturn]] void run() noexcept;
  void clean_all(std::unique_lock<std::mutex>& lock) noexcept;

  std::function<bool()> clean_one_;
  std::atomic<std::uint64_t> open_waits_{0};
  const std::uint32_t epoch_ = fork_epoch();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::thread thread_;
  bool asked_ = false;    // somebody has left something since the last look
  bool busy_ = false;     // the thread cleans
  bool is_slow_ = false;  // what it is at takes longer than anybody should wait
  bool ending_ = false;
};

// That of this process, for what endpoint_memory.cpp maps and pins.
DeferredUnpin& deferred_unpin();

// A wait that a stream of this process makes or is about to make, until a CPU knows that it ends.
class OpenWait {
 public:
  OpenWait() noexcept = default;
  static OpenWait begin() noexcept {
    OpenWait w;
    w.open_ = true;
    deferred_unpin().count_wait();
    return w;
  }
  OpenWait(OpenWait&& other) noexcept : open_(std::exchange(other.open_, false)) {}
  OpenWait& operator=(OpenWait&& other) noexcept {
    std::swap(open_, other.open_);
    return *this;
  }
  ~OpenWait() { end(); }
  void end() noexcept {
    if (std::exchange(open_, false)) deferred_unpin().uncount_wait();
  }

 private:
  bool open_ = false;
};

}  // namespace ipcq::detail
