#include "program/signals.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>
#include <ipcq/error.hpp>
#include <string>
#include <system_error>

namespace ipcq::program {
namespace {

// Some senders, such as timeout(1), signal a process and then its group. Signals this close count as one.
constexpr auto kOneSignal = std::chrono::milliseconds(200);
// A stop request interrupts again and again: the thread may not have been blocked yet when the first signal came.
constexpr timespec kInterruptEvery{0, 20'000'000};
// The signal that interrupts a blocked thread. By default SIGURG is ignored; these programs use it for nothing else.
constexpr int kInterrupt = SIGURG;

bool is_ignored(int signal) {
  struct sigaction action {};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

// Waits until fd is readable; `timeout` null: without limit. Callers loop, because other signals may end the wait.
bool readable(int fd, const timespec* timeout) {
  pollfd entry{fd, POLLIN, 0};
  return ppoll(&entry, 1, timeout, nullptr) > 0;
}

void ignore_for_interruption(int) {}

// Without SA_RESTART, so that system calls end with EINTR.
void prepare_interruption() {
  struct sigaction action {};
  action.sa_handler = ignore_for_interruption;
  sigemptyset(&action.sa_mask);
  sigaction(kInterrupt, &action, nullptr);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, kInterrupt);
  pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace

std::atomic<const Signals*> Signals::current_{nullptr};

Signals::Signals() {
  signal(SIGPIPE, SIG_IGN);
  signal(SIGXFSZ, SIG_IGN);  // it would end a broker at its limit of file sizes, and leave its names behind
  prepare_interruption();
  sigemptyset(&set_);
  // SIGINT is taken even if it is ignored, as it is in a background program of a shell without job control. SIGHUP is
  // not: nohup has it ignored.
  sigaddset(&set_, SIGINT);
  sigaddset(&set_, SIGTERM);
  if (!is_ignored(SIGHUP)) sigaddset(&set_, SIGHUP);
  pthread_sigmask(SIG_BLOCK, &set_, nullptr);
  event_ = FileDescriptor(eventfd(0, EFD_CLOEXEC));
  if (!event_.valid()) {
    const int error = errno;
    throw SystemError(error, "signals: eventfd failed: " + std::system_category().message(error) +
                                 " (raise the limit of open files: ulimit -n)");
  }
  try {
    thread_ = std::thread([this] { take_signals(); });
  } catch (const std::system_error& e) {
    throw SystemError(e.code().value(),
                      "signals: pthread_create failed: " + e.code().message() +
                          " (raise the limit of this user's processes and threads, ulimit -u, or that of the cgroup, "
                          "pids.max or --pids-limit of a container, whichever is reached)");
  }
  current_.store(this, std::memory_order_release);
}

Signals::~Signals() {
  current_.store(nullptr, std::memory_order_release);
  ending_.store(true, std::memory_order_release);
  pthread_kill(thread_.native_handle(), SIGTERM);  // blocked there, so sigwait takes it
  thread_.join();
}

bool Signals::wait() const {
  while (!stop_requested()) readable(event_.get(), nullptr);
  return true;
}

bool Signals::wait_until(std::chrono::steady_clock::time_point when) const {
  while (!stop_requested()) {
    const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(when - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    const timespec timeout{static_cast<time_t>(left.count() / 1'000'000'000),
                           static_cast<long>(left.count() % 1'000'000'000)};
    readable(event_.get(), &timeout);
  }
  return true;
}

void Signals::set_callback(Callback callback) {
  const std::lock_guard lock(mutex_);
  callback_ = std::move(callback);
  subscribed_once_ = true;
}

void Signals::set_blocked(std::optional<pthread_t> thread) const {
  const std::lock_guard lock(blocked_mutex_);
  blocked_ = thread;
}

void Signals::interrupt_blocked() noexcept {
  const std::lock_guard lock(blocked_mutex_);
  if (blocked_) pthread_kill(*blocked_, kInterrupt);
}

void Signals::take_signals() noexcept {
  std::chrono::steady_clock::time_point last;
  for (;;) {
    const int signal = stop_requested() ? sigtimedwait(&set_, nullptr, &kInterruptEvery) : sigwaitinfo(&set_, nullptr);
    if (ending_.load(std::memory_order_acquire)) return;
    if (stop_requested()) interrupt_blocked();
    if (signal < 0) continue;
    const auto now = std::chrono::steady_clock::now();
    if (stop_requested() && now - last < kOneSignal) continue;
    last = now;
    const int count = count_.fetch_add(1, std::memory_order_acq_rel) + 1;
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(event_.get(), &one, sizeof one);  // fails only on overflow
    const std::lock_guard lock(mutex_);
    if (callback_) {
      callback_(count);
    } else if (!subscribed_once_) {
      _exit(128 + signal);
    }
  }
}

}  // namespace ipcq::program
