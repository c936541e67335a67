// Turns what a GPU has finished into wake-ups of sleeping clients. Asleep while nothing is in flight or nobody sleeps.
#pragma once

#include <atomic>
#include <thread>

#include "protocol/doorbell.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::runner {

class CompletionWaker {
 public:
  CompletionWaker(const detail::QueueMap& queue, const detail::PoolMap& pool);
  ~CompletionWaker();

 private:
  void run() noexcept;
  bool somebody_sleeps() const noexcept;
  bool advance() noexcept;
  void wake() noexcept;

  const detail::QueueMap& queue_;
  const detail::PoolMap& pool_;
  const detail::Ring<detail::SharedAtomics>& ring_;
  std::uint64_t done_ = 0;  // tickets before this one have been processed
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

}  // namespace ipcq::runner
