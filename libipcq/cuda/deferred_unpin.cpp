#include "deferred_unpin.hpp"

#include <chrono>

namespace ipcq::detail {
namespace {

// Unpinning a gigabyte takes less: a call that takes longer is taken to wait for a stream.
constexpr auto kMoment = std::chrono::milliseconds(500);

}  // namespace

void DeferredUnpin::wake() noexcept {
  if (epoch_ != fork_epoch()) return;
  const std::scoped_lock lock(mutex_);
  asked_ = true;
  (void)start_thread(thread_, [this] { run(); });  // without a thread all stays pinned until the next call
  changed_.notify_all();
}

void DeferredUnpin::await() noexcept {
  if (epoch_ != fork_epoch()) return;
  std::unique_lock lock(mutex_);
  if (!thread_.joinable() || std::this_thread::get_id() == thread_.get_id()) return;
  const auto over = [this] { return (!asked_ && !busy_) || is_slow_ || is_held_up(); };
  if (!changed_.wait_for(lock, kMoment, over)) is_slow_ = true;
}

void DeferredUnpin::end() noexcept {
  if (epoch_ != fork_epoch()) return;
  std::unique_lock lock(mutex_);
  ending_ = true;
  if (!is_slow_) changed_.wait_for(lock, kMoment, [this] { return !busy_; });
}

void DeferredUnpin::run() noexcept {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [this] { return asked_ && !is_held_up(); });
    asked_ = false;
    clean_all(lock);
  }
}

void DeferredUnpin::clean_all(std::unique_lock<std::mutex>& lock) noexcept {
  busy_ = true;
  bool any = true;
  while (any && !is_held_up()) {
    lock.unlock();
    any = clean_one_();
    lock.lock();
    is_slow_ = false;
  }
  busy_ = false;
  asked_ = asked_ || any;
  changed_.notify_all();
}

}  // namespace ipcq::detail
