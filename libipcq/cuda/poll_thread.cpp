#include "poll_thread.hpp"

#include <sys/prctl.h>

#include <algorithm>
#include <chrono>

#include "protocol/doorbell.hpp"

namespace ipcq::detail {
namespace {

constexpr std::uint64_t kLongNap = 1'000'000;  // ns: wake() interrupts a sleep of this length or longer

}  // namespace

bool PollThread::ensure_thread() noexcept {
  return start_thread(thread_, [this] { run(); });
}

bool PollThread::start() noexcept {
  const std::scoped_lock lock(mutex_);
  return !stopped_ && ensure_thread();
}

void PollThread::wake() noexcept {
  const std::scoped_lock lock(mutex_);
  if (stopped_) return;
  woken_ = true;
  if (naps_long_) {
    changed_.notify_one();
  } else {
    (void)ensure_thread();
  }
}

void PollThread::stop() noexcept {
  if (epoch_ != fork_epoch()) {
    forget_thread(thread_);
    return;
  }
  {
    const std::scoped_lock lock(mutex_);
    stopped_ = true;
    changed_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

void PollThread::run() noexcept {
  prctl(PR_SET_TIMERSLACK, 1000UL, 0UL, 0UL, 0UL);  // the default adds 50 us to each sleep
  std::unique_lock lock(mutex_);
  while (!stopped_) {
    woken_ = false;
    lock.unlock();
    const std::uint64_t nap = round_();
    lock.lock();
    if (nap == 0 || stopped_ || woken_) continue;
    naps_long_ = nap >= kLongNap;
    const auto roused = [this] { return stopped_ || (woken_ && naps_long_); };
    if (nap == kNever) {
      changed_.wait(lock, roused);
    } else {
      changed_.wait_for(lock, std::chrono::nanoseconds(nap), roused);
    }
    naps_long_ = false;
  }
}

std::uint64_t nap_after(std::uint64_t idle) noexcept { return std::clamp<std::uint64_t>(idle / 8, 3'000, 50'000); }

}  // namespace ipcq::detail
