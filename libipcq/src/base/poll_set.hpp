// The descriptors that one thread waits for (epoll). Adding and removing are safe beside a wait of another thread.
//
// A descriptor is removed by hand before it is closed: the kernel keeps watching it for as long as any process has a
// copy, such as a child that was forked meanwhile, and its events would then come for ever under a number that may have
// a new owner.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

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
  // Waits up to `timeout_ms` (-1: for ever). Returns the descriptors that have an event, 16 at most; none after the
  // time or a signal. One of them may have been closed and its number reused since the event.
  std::vector<int> wait(int timeout_ms) const;

 private:
  std::string owner_;
  Fd epoll_;
};

}  // namespace ipcq::detail
