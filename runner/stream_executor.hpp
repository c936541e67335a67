// The stream executor of a queue: follows the `in` lines and enqueues the work of each message once its payload is
// complete, until a control line switches to the persistent kernel or the queue stops. For the queue's thread.
// docs/design/cuda.md, "Executors".
//
// Invariant: nothing that it enqueues waits for another process, because allocations for other queues wait for streams.
#pragma once

#include <atomic>
#include <cstdint>

#include "gpu_arbiter.hpp"
#include "gpu_queue.hpp"
#include "layout/line.hpp"

namespace ipcq::runner {

class StreamExecutor {
 public:
  // All three outlive it. `stop`: ends run() once it is set and QueueControl::work was rung.
  StreamExecutor(GpuQueue& queue, GpuArbiter::Seat& seat, const std::atomic<bool>& stop) noexcept
      : q_(queue), ring_(queue.map().ring()), seat_(seat), stop_(stop) {}
  // Returns after a switch to the other executor, or the stop, with everything finished that it has enqueued.
  void run();

 private:
  bool await_payload(const detail::Descriptor& d);
  // What became of a ticket that is published: it joins the run of those without a slot, its own work is enqueued (or
  // it has none), or it is to be looked at again, behind the run or after a stop.
  enum class Enqueued : std::uint8_t { in_run, alone, later };
  Enqueued enqueue(std::uint64_t ticket, std::uint32_t& inlined);
  void enqueue_inlined(std::uint64_t first, std::uint32_t count);
  void enqueue_message(std::uint64_t ticket, const detail::Descriptor& d);
  void see_to_progress();
  void drain();  // waits until the stream is idle
  static unsigned fewer_or_more(unsigned in_flight, std::uint64_t drain_ns) noexcept;
  device::StreamTotals* totals() const noexcept;

  GpuQueue& q_;
  const detail::Ring<detail::SharedAtomics>& ring_;
  GpuArbiter::Seat& seat_;
  const std::atomic<bool>& stop_;
  Patience patience_;
  unsigned most_in_flight_ = ~0u;  // for which draining does not take long
  std::uint64_t seen_done_ = 0;    // messages done when see_to_progress() last looked
};

}  // namespace ipcq::runner
