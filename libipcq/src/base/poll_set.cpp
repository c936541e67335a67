#include "base/poll_set.hpp"

#include <sys/epoll.h>

#include <cerrno>
#include <cstddef>
#include <utility>

#include "base/system_error.hpp"

namespace ipcq::detail {

PollSet::PollSet(std::string owner) : owner_(std::move(owner)), epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  if (!epoll_) throw_system(errno, "epoll_create1", owner_);
}

void PollSet::watch(int fd, For what) {
  epoll_event e{};
  e.events = what == For::hang_up ? EPOLLRDHUP : EPOLLIN | EPOLLRDHUP;
  e.data.fd = fd;
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &e) != 0) throw_system(errno, "epoll_ctl", owner_);
}

void PollSet::unwatch(int fd) noexcept { ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

std::vector<int> PollSet::wait(int timeout_ms) const {
  constexpr int kMost = 16;
  epoll_event events[kMost];
  const int n = ::epoll_wait(epoll_.get(), events, kMost, timeout_ms);
  std::vector<int> ready;
  if (n > 0) ready.reserve(static_cast<std::size_t>(n));
  for (int i = 0; i < n; ++i) ready.push_back(events[i].data.fd);
  return ready;
}

}  // namespace ipcq::detail
