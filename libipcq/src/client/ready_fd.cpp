#include "client/ready_fd.hpp"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/thread.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

// As the kernel has it from Linux 5.16 on; headers of Debian 12 have neither struct nor number.
struct FutexWait {
  std::uint64_t value;
  std::uint64_t address;
  std::uint32_t flags;
  std::uint32_t reserved;
};
constexpr long kFutexWaitV = 449;
constexpr std::uint32_t kFutex32 = 2;  // shared between processes

FutexWait wait_for(const void* address, std::uint32_t value) noexcept {
  return {value, reinterpret_cast<std::uint64_t>(address), kFutex32, 0};
}

// Returns at the latest at `until`, and at once if a word has not its value. Returns the error, or 0.
int wait_for_any(const FutexWait* waits, std::size_t count, std::uint64_t until) noexcept {
  const timespec t = to_timespec(until);
  return syscall(kFutexWaitV, waits, count, 0, &t, CLOCK_MONOTONIC) < 0 ? errno : 0;
}

void require_wait_for_any() {
  const std::uint32_t word = 1;
  const FutexWait other = wait_for(&word, 0);
  if (const int error = wait_for_any(&other, 1, 1); error == ENOSYS || error == EPERM) {
    throw_system(error, "futex_waitv", "a descriptor for an event loop");
  }
}

}  // namespace

BellWatch::BellWatch() {
  require_wait_for_any();
  watched_.reserve(kMost);
  require_thread(thread_, "a descriptor for an event loop: the thread that watches bells", [this] { run(); });
}

BellWatch::~BellWatch() {
  {
    const std::scoped_lock lock(mutex_);
    stop_ = true;
    change();
  }
  thread_.join();
}

bool BellWatch::admit() {
  const std::scoped_lock lock(mutex_);
  if (admitted_ == kMost) return false;
  ++admitted_;
  return true;
}

void BellWatch::change() noexcept {
  changes_.fetch_add(1, std::memory_order_release);
  syscall(SYS_futex, &changes_, FUTEX_WAKE, 1, nullptr, nullptr, 0);
}

void BellWatch::watch(ReadyFd& fd, std::uint32_t sequence, bool seen) noexcept {
  const std::scoped_lock lock(mutex_);
  watched_.push_back({&fd, sequence, now_ns() + (seen ? kLongestSleep : kSleepUnseen)});  // there is room
  change();
}

void BellWatch::dismiss(ReadyFd& fd) noexcept {
  std::unique_lock lock(mutex_);
  --admitted_;
  std::erase_if(watched_, [&](const Watched& w) { return w.fd == &fd; });
  const std::uint64_t before = rounds_;
  change();
  round_began_.wait(lock, [&] { return rounds_ != before; });  // the kernel may look at the bell until then
}

void BellWatch::run() noexcept {
  FutexWait waits[1 + kMost];
  for (;;) {
    std::size_t count = 1;
    std::uint64_t until = kNever;
    {
      const std::scoped_lock lock(mutex_);
      ++rounds_;
      round_began_.notify_all();
      if (stop_) return;
      waits[0] = wait_for(&changes_, changes_.load(std::memory_order_acquire));
      const std::uint64_t now = now_ns();
      std::erase_if(watched_, [&](const Watched& w) {
        // SYNC doorbell (acquire): what was stored before the ring. Pairs with: ring_always.
        const bool due = w.fd->bell_.sequence.load(std::memory_order_acquire) != w.sequence || w.until <= now;
        if (due) w.fd->signal();
        return due;
      });
      for (const Watched& w : watched_) {
        waits[count++] = wait_for(&w.fd->bell_.sequence, w.sequence);
        until = std::min(until, w.until);
      }
    }
    (void)wait_for_any(waits, count, until);
  }
}

std::shared_ptr<BellWatch> BellWatches::admitting() {
  const std::scoped_lock lock(mutex_);
  for (const auto& w : watches_) {
    if (w->admit()) return w;
  }
  watches_.push_back(std::make_shared<BellWatch>());
  (void)watches_.back()->admit();
  return watches_.back();
}

ReadyFd::ReadyFd(BellWatches& watches, Doorbell& bell, Doorbell* attendant)
    : bell_(bell), attendant_(attendant), event_(make_eventfd()), watch_(watches.admitting()) {
  signal_eventfd(event_.get());  // until a first call has found nothing
}

ReadyFd::~ReadyFd() { watch_->dismiss(*this); }

}  // namespace ipcq::detail
