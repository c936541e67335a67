// Rings the doorbells of a device queue for its kernels, which cannot: a thread follows the tags of `out` and wakes the
// clients that sleep for a message, a line or a slot. It sleeps on the bell `completion_waker` while nothing is in
// flight or no client sleeps; publishers and clients that go to sleep ring that bell.
//
// One owner constructs and destroys it. The thread writes no word of the queue but those of bells.
#pragma once

#include <atomic>
#include <thread>

#include "protocol/doorbell.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::runner {

class CompletionWaker {
 public:
  // Starts the thread. The maps must outlive this object. Throws SystemError if no thread can be started.
  CompletionWaker(const detail::QueueMap& queue, const detail::PoolMap& pool);
  ~CompletionWaker();

 private:
  void run() noexcept;
  bool somebody_sleeps() const noexcept;
  bool a_caller_sleeps() const noexcept;
  bool advance() noexcept;

  const detail::QueueMap& queue_;
  const detail::PoolMap& pool_;
  const detail::Ring<detail::SharedAtomics>& ring_;
  std::uint64_t done_ = 0;    // all tickets before this one have been processed
  std::uint64_t before_ = 0;  // done_ before the last advance()
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace ipcq::runner
