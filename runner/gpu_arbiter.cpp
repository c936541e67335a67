#include "gpu_arbiter.hpp"

#include <algorithm>
#include <chrono>
#include <thread>

#include "protocol/doorbell.hpp"

namespace ipcq::runner {

using namespace detail;

namespace {

constexpr std::uint64_t kSpin = 50'000;                                   // ns: a launch takes less
constexpr std::chrono::nanoseconds kNap = std::chrono::microseconds(50);  // then, each twice as long as the one before
constexpr std::chrono::nanoseconds kLongestNap = std::chrono::milliseconds(1);
// With these six busy queues that want three times the multiprocessors all go on (gpu_runner_test, GpuArbiter; H200,
// CUDA 13.0). No comparison with other values is recorded.
constexpr std::uint64_t kTurn = 50'000'000;      // ns
constexpr std::uint64_t kPatience = 20'000'000;  // ns
constexpr std::uint64_t kMostPatience = 1'000'000'000;

bool nap_until(const std::function<bool()>& done, std::uint64_t deadline) {
  const std::uint64_t start = now_ns();
  for (auto nap = kNap;;) {
    if (done()) return true;
    const std::uint64_t now = now_ns();
    if (now >= deadline) return false;
    if (now - start < kSpin) {
      cpu_pause();
    } else {
      std::this_thread::sleep_for(nap);
      nap = std::min(2 * nap, kLongestNap);
    }
  }
}

}  // namespace

GpuArbiter::Seat::Seat(GpuArbiter& arbiter, PausableQueue& queue) : arbiter_(arbiter), queue_(queue) {
  const std::scoped_lock lock(arbiter_.mutex_);
  arbiter_.queues_.push_back(&queue_);
  ++arbiter_.seats_;
}

GpuArbiter::Seat::~Seat() {
  const std::scoped_lock lock(arbiter_.mutex_);
  std::erase(arbiter_.queues_, &queue_);
  --arbiter_.seats_;
}

unsigned GpuArbiter::Seat::share_of(unsigned all) const {
  return all / arbiter_.seats_.load(std::memory_order_relaxed);
}

bool GpuArbiter::Seat::take_turn(const std::function<bool()>& has_moved) {
  const std::scoped_lock lock(arbiter_.mutex_);
  std::uint64_t youngest = 0;
  for (PausableQueue* q : arbiter_.queues_) youngest = std::max(youngest, q->runs_since());
  bool moved = nap_until(has_moved, youngest + kPatience);
  std::vector<PausableQueue*> asked;
  if (moved) return true;
  for (PausableQueue* q : arbiter_.queues_) {
    if (q != &queue_ && q->make_room()) asked.push_back(q);
  }
  if (!asked.empty()) moved = nap_until(has_moved, now_ns() + kTurn);
  for (PausableQueue* q : asked) q->resume();
  return moved;
}

void Patience::begin() {
  most_ = kPatience;
  since_ = now_ns();
}

bool Patience::is_at_end() const { return now_ns() - since_ >= most_; }

void Patience::double_after_turn() {
  most_ = std::min(2 * most_, kMostPatience);
  since_ = now_ns();
}

bool Patience::await(const std::function<bool()>& has_moved) { return nap_until(has_moved, since_ + most_); }

}  // namespace ipcq::runner
