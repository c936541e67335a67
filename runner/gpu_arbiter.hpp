// Room on the GPU for every queue. A kernel that stays may keep another queue's work from beginning for ever: it takes
// the multiprocessors, or it stands before that work in a hardware queue, of which a process has few. So a queue whose
// work does not move asks the others to end their kernels; these begin again behind it.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <mutex>
#include <vector>

namespace ipcq::runner {

class QueueRunner;

class GpuArbiter {
 public:
  // A queue's, as long as it lives.
  class Seat {
   public:
    Seat(GpuArbiter& arbiter, QueueRunner& queue);
    ~Seat();
    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;
    // Keeps the other queues' kernels away until `has_moved`, at most 50 ms; kernels that have just begun get their
    // 20 ms before. False when it has not moved.
    bool take_turn(const std::function<bool()>& has_moved);
    // This queue's share of `all`, of which every queue gets as much.
    unsigned share_of(unsigned all) const;

   private:
    GpuArbiter& arbiter_;
    QueueRunner& queue_;
  };

 private:
  std::mutex mutex_;  // one turn at a time
  std::vector<QueueRunner*> queues_;
  std::atomic<unsigned> seats_{0};  // their number
};

// How long a queue's work may stand still before it takes a turn: 20 ms, twice as long after each time in vain, at most
// 1 s. What holds it up may be another process, or a handler that takes its time.
class Patience {
 public:
  void begin();
  bool is_at_end() const;
  void double_after_turn();  // that was in vain
  // Sleeps in short naps until `has_moved`, or the end of patience; true in the former case.
  bool await(const std::function<bool()>& has_moved);

 private:
  std::uint64_t most_ = 0;   // ns
  std::uint64_t since_ = 0;  // now_ns()
};

}  // namespace ipcq::runner
