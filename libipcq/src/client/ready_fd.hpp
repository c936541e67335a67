// Descriptors for other people's event loops: readable while an endpoint's call may have something to return. docs/
// decisions/022-fd.md.
//
// Ringers know nothing of descriptors: a thread of the session sleeps on the bells of endpoints that wait, and writes
// their eventfds. So who asks for no descriptor pays nothing, and a death leaves what it leaves to any sleeper.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "base/os.hpp"
#include "ipcq/status.hpp"
#include "protocol/doorbell.hpp"

namespace ipcq::detail {

class ReadyFd;

// A thread that sleeps on the bells of some endpoints. Thread-safe.
class BellWatch {
 public:
  // Bells of one thread: of the 128 words that one wait of the kernel takes, one is this object's.
  static constexpr std::size_t kMost = 127;

  // Throws SystemError.
  BellWatch();
  ~BellWatch();
  BellWatch(const BellWatch&) = delete;
  BellWatch& operator=(const BellWatch&) = delete;

  // False: there are kMost already.
  bool admit();
  // Signals `fd` once its bell's sequence is another than `sequence`, and after five seconds anyway; where its ringers
  // may not see that it is armed (`seen` false) after a millisecond.
  void watch(ReadyFd& fd, std::uint32_t sequence, bool seen) noexcept;
  // Once it returns, nothing of `fd` and of its bell is looked at any more.
  void dismiss(ReadyFd& fd) noexcept;

 private:
  struct Watched {
    ReadyFd* fd;
    std::uint32_t sequence;
    std::uint64_t until;  // ns of now_ns()
  };
  void run() noexcept;
  void change() noexcept;  // has the thread begin a new round. With the mutex

  std::mutex mutex_;
  std::condition_variable round_began_;
  std::vector<Watched> watched_;  // with room for kMost
  std::size_t admitted_ = 0;
  std::uint64_t rounds_ = 0;
  bool stop_ = false;
  std::atomic<std::uint32_t> changes_{0};  // a futex of the thread's own
  std::thread thread_;
};

// Those of a session. Thread-safe.
class BellWatches {
 public:
  // One that has admitted a further endpoint. Throws SystemError.
  std::shared_ptr<BellWatch> admitting();

 private:
  std::mutex mutex_;
  std::vector<std::shared_ptr<BellWatch>> watches_;
};

// The descriptor of one endpoint. For the endpoint's thread, but for signal(). The bell must outlive it.
class ReadyFd {
 public:
  // `attendant`: as of wait_until(). Throws SystemError.
  ReadyFd(BellWatches& watches, Doorbell& bell, Doorbell* attendant);
  ~ReadyFd();
  ReadyFd(const ReadyFd&) = delete;
  ReadyFd& operator=(const ReadyFd&) = delete;

  int get() const noexcept { return event_.get(); }
  // After a call that has found nothing: not readable until there may be something. `has_news()`: whether such a call
  // would return something else now.
  template <class HasNews>
  void rest(const HasNews& has_news) noexcept {
    if (is_watched_.load(std::memory_order_acquire)) return;
    drain_eventfd(event_.get());
    const std::uint32_t sequence = bell_.sequence.load(std::memory_order_acquire);
    arm(bell_, sequence);
    const bool seen = sleeper_fence();
    if (has_news()) return signal_eventfd(event_.get());
    if (attendant_ != nullptr) ring(*attendant_);
    is_watched_.store(true, std::memory_order_release);
    watch_->watch(*this, sequence, seen);
  }

 private:
  friend class BellWatch;
  void signal() noexcept {
    is_watched_.store(false, std::memory_order_release);
    signal_eventfd(event_.get());
  }

  Doorbell& bell_;
  Doorbell* const attendant_;
  const Fd event_;
  const std::shared_ptr<BellWatch> watch_;
  std::atomic<bool> is_watched_{false};
};

// Whether a call has found nothing, so that its endpoint's descriptor is to say when there is something.
inline bool has_found_nothing(Status s) noexcept { return s == Status::empty || s == Status::timeout; }

}  // namespace ipcq::detail
