// The descriptors that one thread waits for (epoll). Adding and removing are safe beside a wait of another thread.
//
// A descriptor is removed by hand before it is closed: the kernel keeps watching it for as long as any process has a
// copy, such as a child that was forked meanwhile, and its events would then come for ever under a number that may have
// a new owner.
#pragma once

#include <cstdint>
#include <string>

#include "base/os.hpp"

namespace ipcq::detail {

class PollSet {
 public:
  // What an event is asked for. `hang_up` is for a descriptor whose data another thread reads.
  enum class For : std::uint8_t { data_and_hang_up, hang_up };

  // `owner` names the object in errors. Throws SystemError.
  explicit PollSet(std::string owner);
  PollSet(const PollSet&) = delete;
  PollSet& operator=(const PollSet&) = delete;

  // Throws SystemError; the descriptor is not watched then.
  void watch(int fd, For what = For::data_and_hang_up);
  // Does nothing when it is not watched.
  void unwatch(int fd) noexcept;
  // Descriptors that have an event. One of them may have been closed, and its number reused, since the event.
  class Ready {
   public:
    const int* begin() const noexcept { return fds_; }
    const int* end() const noexcept { return fds_ + count_; }

   private:
    friend class PollSet;
    static constexpr int kMost = 16;
    int count_ = 0;
    int fds_[kMost] = {};
  };
  // Waits up to `timeout_ms` (-1: for ever); none are ready after the time or a signal. Allocates nothing.
  Ready wait(int timeout_ms) const noexcept;

 private:
  std::string owner_;
  Fd epoll_;
};

}  // namespace ipcq::detail
