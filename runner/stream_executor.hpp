// One run of the stream executor of a queue: follows the `in` lines and enqueues the work of each message once its
// payload is complete, until a control line switches to the persistent kernel or the queue stops. For the queue's
// thread, which lends it the members of its QueueRunner meanwhile. docs/design/cuda.md, "Executors".
//
// Invariant: nothing that it enqueues waits for another process, because allocations for other queues wait for streams.
#pragma once

#include <cstdint>

#include "layout/executor_memory.hpp"
#include "layout/line.hpp"

namespace ipcq::runner {

class QueueRunner;

class StreamExecutor {
 public:
  explicit StreamExecutor(QueueRunner& queue) noexcept : q_(queue) {}
  void run();

 private:
  bool await_payload(const detail::Descriptor& d);
  bool enqueue(std::uint64_t ticket, std::uint32_t& inlined);
  void enqueue_inlined(std::uint64_t first, std::uint32_t count);
  void enqueue_message(std::uint64_t ticket, const detail::Descriptor& d);
  void see_to_progress();
  void drain();  // waits until the stream is idle
  device::StreamTotals* totals() const noexcept;

  QueueRunner& q_;
};

}  // namespace ipcq::runner
