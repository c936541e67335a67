// Marks a consumer as one whose callback runs, or whose claim is open: nothing else may take then.
#pragma once

#include <atomic>

namespace ipcq::detail {

class Consuming {
 public:
  explicit Consuming(std::atomic<bool>& flag) noexcept : flag_(flag) { flag_.store(true, std::memory_order_relaxed); }
  ~Consuming() { flag_.store(false, std::memory_order_relaxed); }
  Consuming(const Consuming&) = delete;
  Consuming& operator=(const Consuming&) = delete;

 private:
  std::atomic<bool>& flag_;
};

}  // namespace ipcq::detail
