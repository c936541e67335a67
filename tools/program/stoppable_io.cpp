#include "program/stoppable_io.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace ipcq::program {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kGrace = std::chrono::seconds(1);

// Waits until fd is ready for `events`, or a stop is requested. May return early: callers check again.
void await(int fd, short events, const Signals* signals) {
  pollfd entries[2] = {{fd, events, 0}, {signals != nullptr ? signals->stop_fd() : -1, POLLIN, 0}};
  ::poll(entries, 2, -1);
}

// Waits until `fd` is writable. False when the grace is over first.
bool takes_more(int fd, StopGrace& grace) {
  for (;;) {
    const auto left = grace.left();
    if (left == left.zero()) return false;
    pollfd entry{fd, POLLOUT, 0};
    if (::poll(&entry, 1, static_cast<int>(left.count())) > 0) return true;
  }
}

// A system call's result, or minus its errno.
ssize_t or_error(ssize_t result) { return result >= 0 ? result : -errno; }
bool is_to_be_repeated(ssize_t result) { return result == -EINTR || result == -EAGAIN; }

}  // namespace

std::chrono::milliseconds StopGrace::left() {
  const auto now = Clock::now();
  if (!until_) until_ = now + kGrace;
  return std::max(std::chrono::milliseconds::zero(), std::chrono::ceil<std::chrono::milliseconds>(*until_ - now));
}

ssize_t read_some(int fd, std::span<std::byte> into, const Signals& signals) {
  for (;;) {
    const Signals::Interruptible interruptible(signals);
    if (signals.stop_requested()) return -ECANCELED;
    const ssize_t result = or_error(::read(fd, into.data(), into.size()));
    if (!is_to_be_repeated(result)) return result;
    if (result == -EAGAIN) await(fd, POLLIN, &signals);
  }
}

ssize_t write_some(int fd, std::span<const iovec> parts, const Signals* signals, StopGrace& grace) {
  for (;;) {
    std::optional<Signals::Interruptible> interruptible;
    if (signals != nullptr) interruptible.emplace(*signals);
    const bool stopped = signals != nullptr && signals->stop_requested();
    if (stopped && !takes_more(fd, grace)) return -ECANCELED;
    const ssize_t result = or_error(::writev(fd, parts.data(), static_cast<int>(parts.size())));
    if (!is_to_be_repeated(result)) return result;
    if (result == -EAGAIN && !stopped) await(fd, POLLOUT, signals);
  }
}

}  // namespace ipcq::program
