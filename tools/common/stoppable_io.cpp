#include "common/stoppable_io.hpp"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <optional>

namespace ipcq::program {
namespace {

constexpr auto kPatienceOnceStopped = std::chrono::seconds(1);

// Until fd is ready for `events`, or a stop is requested. Anything else may end it too: the callers look again.
void await(int fd, short events, const Signals* signals) {
  pollfd entries[2] = {{fd, events, 0}, {signals != nullptr ? signals->stop_fd() : -1, POLLIN, 0}};
  ::poll(entries, 2, -1);
}

bool takes_more(int fd) {
  using Clock = std::chrono::steady_clock;
  for (const auto until = Clock::now() + kPatienceOnceStopped;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    pollfd entry{fd, POLLOUT, 0};
    if (::poll(&entry, 1, left > 0 ? static_cast<int>(left) : 0) > 0) return true;
    if (left <= 0) return false;
  }
}

// What a system call has returned, or minus its errno.
ssize_t or_error(ssize_t result) { return result >= 0 ? result : -errno; }
bool is_to_be_repeated(ssize_t result) { return result == -EINTR || result == -EAGAIN; }

}  // namespace

ssize_t read_some(int fd, std::span<std::byte> into, const Signals& signals) {
  for (;;) {
    const Signals::Interruptible interruptible(signals);
    if (signals.stop_requested()) return -ECANCELED;
    const ssize_t result = or_error(::read(fd, into.data(), into.size()));
    if (!is_to_be_repeated(result)) return result;
    if (result == -EAGAIN) await(fd, POLLIN, &signals);
  }
}

ssize_t write_some(int fd, std::span<const iovec> parts, const Signals* signals) {
  for (;;) {
    std::optional<Signals::Interruptible> interruptible;
    if (signals != nullptr) interruptible.emplace(*signals);
    const bool stopped = signals != nullptr && signals->stop_requested();
    if (stopped && !takes_more(fd)) return -ECANCELED;
    const ssize_t result = or_error(::writev(fd, parts.data(), static_cast<int>(parts.size())));
    if (!is_to_be_repeated(result)) return result;
    if (result == -EAGAIN && !stopped) await(fd, POLLOUT, signals);
  }
}

}  // namespace ipcq::program
