// ipcq.BufferPool: buffers whose memory is allocated once, since allocating and freeing wait for kernels.
//
// Thread-safe. A buffer keeps its pool, so that it has somewhere to go back to. What goes back is lent again once no
// stream uses it; the longest returned first.
#pragma once

#include <nanobind/nanobind.h>

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>

#include "array_buffer.hpp"

namespace ipcq::python {

class PoolState final : public BufferHome, public std::enable_shared_from_this<PoolState> {
 public:
  struct Stats {
    std::size_t count = 0;   // of the pool
    std::size_t held = 0;    // lent, and not back
    std::size_t in_use = 0;  // back, and still used by streams
    std::uint64_t gets = 0;
    std::uint64_t waits = 0;  // gets that had to wait
    std::uint64_t dry = 0;    // gets that came to nothing
  };

  // Without the GIL: takes as long as the kernels that run.
  PoolState(std::size_t count, ArrayLayout layout, int gpu, std::string where);
  PoolState(const PoolState&) = delete;
  PoolState& operator=(const PoolState&) = delete;
  ~PoolState() override;

  const ArrayLayout& layout() const noexcept { return layout_; }
  int gpu() const noexcept { return gpu_; }
  const std::string& where() const noexcept { return where_; }
  bool is_closed() const noexcept { return closed_; }

  // Throws Empty or TimeoutError (none within the time; the text says how many are held), ClosedError, UsageError
  // (inherited by a fork), and what signals' handlers throw.
  std::shared_ptr<BufferState> get(const Patience& patience);
  void put(std::unique_ptr<SideMemory> memory) noexcept override;
  Stats stats();
  // Lends nothing more, waits for the streams that use what is back, frees it, and returns how many are not freed:
  // those that are held, which are freed when they come back, and what streams use after the time-out, freed when they
  // end.
  std::size_t close(const Patience& patience);

 private:
  std::unique_ptr<SideMemory> take_idle();  // with the lock; null: none is
  std::size_t count_used() const;           // the same

  const std::size_t count_;
  const ArrayLayout layout_;
  const int gpu_;
  const std::string where_;
  const std::uint32_t forks_ = forks();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::unique_ptr<SideMemory>> back_;
  Stats stats_;
  std::atomic<bool> closed_ = false;
};

}  // namespace ipcq::python
