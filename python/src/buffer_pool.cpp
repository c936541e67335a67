#include "buffer_pool.hpp"

#include <algorithm>
#include <chrono>
#include <ipcq/error.hpp>
#include <utility>

#include "errors.hpp"
#include "interpreter.hpp"

namespace ipcq::python {
namespace {

using Locked = LockWithGil<std::mutex>;
using std::chrono::microseconds;
using std::chrono::steady_clock;

}  // namespace

PoolState::PoolState(std::size_t count, ArrayLayout layout, int gpu, std::string where)
    : count_(count), layout_(layout), gpu_(gpu), where_(std::move(where)) {
  for (std::size_t i = 0; i < count; ++i)
    back_.push_back(gpu_ < 0 ? make_host_memory(layout_.bytes())
                             : make_gpu_memory(layout_.bytes(), gpu_, false, where_));
}

PoolState::~PoolState() {
  for (auto& memory : back_) {
    if (forks_ != forks()) {
      (void)memory.release();  // the parent's
    } else {
      free_when_idle(std::move(memory));
    }
  }
}

std::unique_ptr<SideMemory> PoolState::take_idle() {
  const auto idle = std::find_if(back_.begin(), back_.end(), [](const auto& memory) { return memory->is_idle(); });
  if (idle == back_.end()) return nullptr;
  std::unique_ptr<SideMemory> memory = std::move(*idle);
  back_.erase(idle);
  return memory;
}

std::size_t PoolState::count_used() const {
  return static_cast<std::size_t>(
      std::count_if(back_.begin(), back_.end(), [](const auto& memory) { return !memory->is_idle(); }));
}

std::shared_ptr<BufferState> PoolState::get(const Patience& patience) {
  check_forks(forks_, where_);
  std::unique_ptr<SideMemory> memory;
  Stats now;
  const auto begin = steady_clock::now();
  for (bool is_first = true;; is_first = false) {
    {
      const ReleasedGil released;
      const auto until = steady_clock::now() + patience.slice();
      std::unique_lock lock(mutex_);
      for (;;) {
        if (!closed_) memory = take_idle();
        const auto time = steady_clock::now();
        if (memory != nullptr || closed_ || time >= until) break;
        // Nobody tells when a stream ends.
        const auto nap = back_.empty() ? std::chrono::ceil<microseconds>(until - time) : nap_after(time - begin);
        if (std::exchange(is_first, false)) ++stats_.waits;
        changed_.wait_for(lock, nap);
      }
      if (memory != nullptr) {
        ++stats_.gets;
        ++stats_.held;
        break;
      }
      if (!closed_ && patience.is_none_left()) ++stats_.dry;
      now = stats_;
      now.in_use = count_used();
    }
    if (closed_) throw_status(Status::closed, {where_, "get", -1, 0, "the pool is closed"});
    if (patience.is_none_left()) {
      const std::string why = std::string(patience.is_zero() ? "none is free" : "none came back in time") + ": of " +
                              std::to_string(count_) + " are held " + std::to_string(now.held) +
                              ", and back but still used by streams " + std::to_string(now.in_use) +
                              "; release what is done with, or make the pool larger";
      throw_status(patience.is_zero() ? Status::empty : Status::timeout, {where_, "get", -1, 0, why});
    }
    check_signals();
  }
  return std::make_shared<BufferState>(layout_, std::move(memory), shared_from_this(), "a buffer of " + where_);
}

void PoolState::put(std::unique_ptr<SideMemory> memory) noexcept {
  {
    const Locked locked(mutex_);
    --stats_.held;
    if (!closed_) back_.push_back(std::move(memory));
    changed_.notify_all();
  }
  free_when_idle(std::move(memory));  // of a pool that was closed
}

PoolState::Stats PoolState::stats() {
  check_forks(forks_, where_);
  const Locked locked(mutex_);
  Stats stats = stats_;
  stats.count = count_;
  stats.in_use = count_used();
  return stats;
}

std::size_t PoolState::close(const Patience& patience) {
  check_forks(forks_, where_);
  const auto begin = steady_clock::now();
  std::size_t left = 0;
  for (bool is_over = false; !is_over;) {
    {
      const ReleasedGil released;
      const auto until = steady_clock::now() + patience.slice();
      std::unique_lock lock(mutex_);
      closed_ = true;
      changed_.notify_all();
      while ((left = count_used()) != 0 && steady_clock::now() < until)
        changed_.wait_for(lock, nap_after(steady_clock::now() - begin));
      is_over = left == 0 || patience.is_none_left();
      left += stats_.held;
    }
    if (!is_over) check_signals();
  }
  std::deque<std::unique_ptr<SideMemory>> back;
  {
    const Locked locked(mutex_);
    back = std::exchange(back_, {});
  }
  for (auto& memory : back) free_when_idle(std::move(memory));
  if (gpu_ >= 0 && !patience.is_zero()) {
    const ReleasedGil released;
    (void)await_freeing(1000);
  }
  return left;
}

}  // namespace ipcq::python
