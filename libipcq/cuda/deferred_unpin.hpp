// Unpins and unmaps, in a thread of its own, the memory that closed endpoints no longer use. Both driver calls return
// only when no stream of the context stands in a wait (seen on an H200 with driver 580): a thread that must end such
// waits would wait for itself.
//
// Thread-safe; one per process, never destroyed. Invariant: before each such call it checks for waits of this library
// (OpenWait), and it begins none while it finds one open, nor once exit() runs static destructors: the driver then
// unloads, and the end of the process unpins. In a forked child, where CUDA does not work, it does nothing.
//
// A wait may open between that check and the call, or during the call: count_wait() takes no lock, because a thread
// that waited there for the call might be the one that has to end the wait for which the call waits. The call then
// returns when that wait ends: with the message, the queue, the broker or the consumer's close, and without a limit of
// time. Until then this thread alone stands still and what is unused stays mapped; await() and end() give it 500 ms.
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
  // `clean_one` unpins or unmaps one unused thing; false when there is none. Called by the thread, without the lock.
  explicit DeferredUnpin(std::function<bool()> clean_one) : clean_one_(std::move(clean_one)) {}

  // Tells the thread that something may be unused now. Does not wait.
  void wake() noexcept;
  // Waits until all that is unused is given back: 500 ms at most, and not at all while open waits or a slow call hold
  // the thread up.
  void await() noexcept;
  // Lets nothing more begin, and waits 500 ms at most for the call under way.
  void end() noexcept;

  void count_wait() noexcept { open_waits_.fetch_add(1); }
  void uncount_wait() noexcept {
    if (open_waits_.fetch_sub(1) == 1) wake();
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
  bool asked_ = false;    // wake() was called since the thread last began to clean
  bool busy_ = false;     // the thread cleans
  bool is_slow_ = false;  // its present call has taken 500 ms or longer: await() and end() do not wait for it
  bool ending_ = false;
};

// The one of this process, for what endpoint_memory.cpp maps and pins.
DeferredUnpin& deferred_unpin();

// Counts one wait of a stream, from before it is enqueued until this process knows that nothing holds it up any more.
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
