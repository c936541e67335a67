// Looks after waits of streams whose consumer has closed, in a thread of the process: until they are over, somebody has
// to see the end of the queue and of the broker. Thread-safe. One in a process, never destroyed; makes no CUDA call.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

#include "base/os.hpp"
#include "base/thread.hpp"

namespace ipcq::detail {

class OrphanedWaits {
 public:
  static OrphanedWaits& get();
  // `look` is called again and again until it returns true, and destroyed then, with what it keeps alive.
  void keep(std::function<bool()> look);

 private:
  [[noreturn]] void run() noexcept;
  void look_at_all() noexcept;

  const std::uint32_t epoch_ = fork_epoch();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::function<bool()>> added_;    // guarded
  std::vector<std::function<bool()>> guarded_;  // the thread's
  std::thread thread_;
};

}  // namespace ipcq::detail
