// The set of descriptors that one thread waits for (epoll). Thread-safe: other threads may add and remove descriptors
// during a wait.
//
// Invariant: as long as a thread waits, a descriptor is removed before it is closed. close() alone does not remove it
// while another process has a copy, such as a child forked meanwhile: epoll would go on reporting it, under a number
// that may be in use again. After the last wait() nobody is told, and the order does not matter (a broker that stops).
#pragma once

#include <cstdint>
#include <string>

#include "base/os.hpp"

namespace ipcq::detail {

class PollSet {
 public:
  // Which events are reported. `hang_up`: for a descriptor whose data another thread reads.
  enum class For : std::uint8_t { data_and_hang_up, hang_up };

  // `owner` names the object in errors. Throws SystemError.
  explicit PollSet(std::string owner);
  PollSet(const PollSet&) = delete;
  PollSet& operator=(const PollSet&) = delete;

  // Throws SystemError; the descriptor is not watched then.
  void watch(int fd, For what = For::data_and_hang_up);
  // Does nothing when it is not watched.
  void unwatch(int fd) noexcept;
  // Descriptors with an event. The caller checks each: another thread may have closed it since, and reused its number.
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
  // Waits up to `timeout_ms` (-1: no limit). Empty after that time, and after a signal. Allocates nothing.
  Ready wait(int timeout_ms) const noexcept;

 private:
  std::string owner_;
  Fd epoll_;
};

}  // namespace ipcq::detail
