// Shares the GPU of a runner between its queues. A persistent kernel can keep the work of another queue from ever
// beginning: it occupies the multiprocessors, or precedes that work in a hardware queue, of which a process has few. A
// queue whose work makes no progress therefore has the other queues end their kernels, which are launched again after
// it.
//
// Thread-safe: each queue's thread uses its own seat. Invariant: one queue at a time has a turn, and it resumes every
// queue that it has paused.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

namespace ipcq::runner {

// What the arbiter asks of a queue with a seat. The threads of other queues call it, with the arbiter's mutex held.
class PausableQueue {
 public:
  // If a persistent kernel of this queue is on the GPU, has it end, keeps the next from being launched until resume()
  // and returns true.
  virtual bool make_room() = 0;
  virtual void resume() = 0;  // after each make_room() that returned true
  // Since when (ns of now_ns()) a persistent kernel of this queue runs; 0: none does.
  virtual std::uint64_t runs_since() const = 0;

 protected:
  ~PausableQueue() = default;
};

class GpuArbiter {
 public:
  // Registers a queue while it lives.
  class Seat {
   public:
    Seat(GpuArbiter& arbiter, PausableQueue& queue);
    ~Seat();
    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;
    // Pauses the other queues' kernels until has_moved(), at most 50 ms. Before that it waits until each kernel has had
    // 20 ms, and for the turns of other queues. False if has_moved() did not become true.
    bool take_turn(const std::function<bool()>& has_moved);
    // An equal share of `all` for this queue.
    unsigned share_of(unsigned all) const;

   private:
    GpuArbiter& arbiter_;
    PausableQueue& queue_;
  };

 private:
  std::mutex mutex_;  // one turn at a time
  std::vector<PausableQueue*> queues_;
  std::atomic<unsigned> seats_{0};  // their number
};

// How long a queue's work may make no progress before the queue takes a turn: 20 ms, doubled after each turn without
// effect up to 1 s, because the cause may be another process or a slow handler. For one thread.
class Patience {
 public:
  void begin();
  bool is_at_end() const;
  void double_after_turn();  // after a turn without effect
  // Waits until has_moved() (true) or the end of patience (false): spins for 50 us, then sleeps 50 us to 1 ms at a
  // time.
  bool await(const std::function<bool()>& has_moved);

 private:
  std::uint64_t most_ = 0;   // ns
  std::uint64_t since_ = 0;  // now_ns()
};

}  // namespace ipcq::runner
