// Ends waits of streams whose consumer has closed when their queue or broker ends; without it such a stream would wait
// for ever. A thread of the process checks every 10 ms.
//
// Thread-safe; one per process, never destroyed. Its thread makes no CUDA call. In a forked child it does nothing.
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
  // The thread calls `is_over` until it returns true, and then destroys it with all that it keeps alive.
  void keep(std::function<bool()> is_over);

 private:
  [[noreturn]] void run() noexcept;
  void check_all() noexcept;

  const std::uint32_t epoch_ = fork_epoch();
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::function<bool()>> added_;    // guarded by mutex_
  std::vector<std::function<bool()>> guarded_;  // used by the thread alone
  std::thread thread_;
};

}  // namespace ipcq::detail
