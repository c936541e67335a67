#include "base/poll_set.hpp"

#include <sys/epoll.h>

#include <algorithm>
#include <cerrno>
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

PollSet::Ready PollSet::wait(int timeout_ms) const noexcept {
  epoll_event events[Ready::kMost];
  Ready ready;
  ready.count_ = std::max(::epoll_wait(epoll_.get(), events, Ready::kMost, timeout_ms), 0);
  for (int i = 0; i < ready.count_; ++i) ready.fds_[i] = events[i].data.fd;
  return ready;
}

}  // namespace ipcq::detail
