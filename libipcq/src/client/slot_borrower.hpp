// Borrows the slots of one producer: in which order, and how long it lets some become free before it takes the first.
//
// Slots in host memory are lent in turn. The slot that was released last still lies in the cache of its reader's core;
// a producer that writes it slows both down. For the same reason one that spins in front of a pool without a free slot,
// in a queue with backpressure block, lets a few become free.
//
// For the producer's thread. Refers to the pool's map, which must outlive it.
#pragma once

#include <cstdint>

#include "base/deadline.hpp"
#include "ipcq/options.hpp"
#include "ipcq/wait.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::detail {

class SlotBorrower {
 public:
  SlotBorrower(const PoolMap& pool, std::uint32_t client, Backpressure backpressure, Wait wait) noexcept;

  // kNone: there is no free slot.
  SlotLoan borrow() noexcept {
    const SlotLoan loan = pool_.pool().borrow(client_, hint_);
    // The next search takes the lowest free slot of this word: the fewer slots are in use, the likelier they still lie
    // in the GPU's cache.
    if (on_device_) hint_ -= hint_ % kSlotsPerFreeWord;
    return loan;
  }
  // After borrow() has found none, in a call that may wait until the deadline. Returns when a quarter of the slots is
  // free, or none has become free for some ten microseconds, or after 256 looks, some hundred; then the next calls
  // return at once.
  void await_some(Deadline& deadline) noexcept;

 private:
  const PoolMap& pool_;
  const std::uint32_t client_;
  const bool on_device_;
  const std::uint32_t want_;  // 0: await_some() returns at once
  std::uint32_t hint_;
  std::uint32_t skip_ = 0;  // calls of await_some()
};

}  // namespace ipcq::detail
