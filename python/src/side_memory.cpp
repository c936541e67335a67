#include "side_memory.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <mutex>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "interpreter.hpp"
#include "lifetime.hpp"

namespace ipcq::python {
namespace {

// What GPUs copy from best, and what a page of the CPU is.
constexpr std::size_t kAlignment = 4096;

class HostMemory final : public SideMemory {
 public:
  explicit HostMemory(std::size_t bytes) {
    const std::size_t whole = (std::max(bytes, std::size_t{1}) + kAlignment - 1) / kAlignment * kAlignment;
    data_.reset(static_cast<std::byte*>(std::aligned_alloc(kAlignment, whole)));
    if (data_ == nullptr) throw std::bad_alloc();
    std::memset(data_.get(), 0, whole);
  }

  std::byte* host() const noexcept override { return data_.get(); }
  std::byte* device() const noexcept override { return data_.get(); }
  dlpack::Device dlpack_device() const noexcept override { return {}; }
  int gpu() const noexcept override { return -1; }
  Stream own_stream() const noexcept override { return nullptr; }
  void begin_on(Stream, bool) override {}
  void end_on(Stream, bool) noexcept override {}
  void copy_to_device(Stream) override {}
  void copy_to_host(Stream) override {}
  void copy_from_device(const std::byte*, std::size_t, Stream) override {}
  bool is_host_free(bool) const override { return true; }
  bool is_idle() const noexcept override { return true; }

 private:
  struct Free {
    void operator()(std::byte* data) const noexcept { std::free(data); }
  };
  std::unique_ptr<std::byte, Free> data_;
};

// One per process, never destroyed: its thread looks at it until the process is gone. A forked child has its own.
class Freeing {
 public:
  static Freeing& of_the_process() {
    static std::atomic<Freeing*> current = nullptr;
    Freeing* known = current;
    while (known == nullptr || known->forks_ != forks()) {
      auto made = std::make_unique<Freeing>();
      if (current.compare_exchange_strong(known, made.get())) return *made.release();
    }
    return *known;
  }

  void add(std::unique_ptr<SideMemory> memory) {
    const std::lock_guard lock(mutex_);
    came_.push_back(std::move(memory));
    ++left_;
    if (!is_running_) std::thread([this] { run(); }).detach();  // where none can be made, the next call tries again
    is_running_ = true;
    changed_.notify_all();
  }

  std::size_t await(int most_ms) {
    std::unique_lock lock(mutex_);
    const std::uint64_t enough = fruitless_looks_ + 2;  // the one under way may have begun before
    changed_.wait_for(lock, std::chrono::milliseconds(most_ms),
                      [&] { return left_ == 0 || fruitless_looks_ >= enough; });
    return left_;
  }

 private:
  void run() {
    std::vector<std::unique_ptr<SideMemory>> waiting;  // looked at without the lock, which callers with the GIL take
    constexpr std::chrono::microseconds kShortest(100);
    constexpr std::chrono::microseconds kLongest(20'000);
    for (auto nap = kShortest;;) {
      {
        std::unique_lock lock(mutex_);
        if (waiting.empty()) changed_.wait(lock, [this] { return !came_.empty(); });
        std::move(came_.begin(), came_.end(), std::back_inserter(waiting));
        came_.clear();
      }
      if (is_ending()) break;
      const auto idle =
          std::find_if(waiting.begin(), waiting.end(), [](const auto& memory) { return memory->is_idle(); });
      const bool is_found = idle != waiting.end();
      if (is_found) {
        std::swap(*idle, waiting.back());
        waiting.pop_back();  // frees it, which takes as long as the kernels that run
      }
      std::unique_lock lock(mutex_);
      if (is_found) {
        --left_;
        nap = kShortest;
      } else {
        ++fruitless_looks_;
        if (came_.empty()) changed_.wait_for(lock, nap);
        nap = std::min(nap * 2, kLongest);
      }
      changed_.notify_all();
    }
    for (auto& memory : waiting) (void)memory.release();  // the driver unloads
  }

  const std::uint32_t forks_ = forks();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::unique_ptr<SideMemory>> came_;
  std::size_t left_ = 0;  // all that is not freed
  std::uint64_t fruitless_looks_ = 0;
  bool is_running_ = false;
};

}  // namespace

std::unique_ptr<SideMemory> make_host_memory(std::size_t bytes) { return std::make_unique<HostMemory>(bytes); }

void free_when_idle(std::unique_ptr<SideMemory> memory) noexcept {
  if (memory == nullptr) return;
  if (memory->gpu() < 0) return;  // freed here: it is always idle
  if (is_ending()) {
    (void)memory.release();
    return;
  }
  try {
    Freeing::of_the_process().add(std::move(memory));
  } catch (const std::exception&) {  // no thread can be made now, or no memory is left
    (void)memory.release();          // without effect where it was taken
  }
}

std::size_t await_freeing(int most_ms) noexcept { return Freeing::of_the_process().await(most_ms); }

}  // namespace ipcq::python
