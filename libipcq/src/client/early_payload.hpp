// Whether the payload of a message in device memory is complete, for a consumer on the CPU. It may hold the message
// earlier: a stream took it early and gave it back, or the queue is a direct device queue. Until the payload is
// complete a GPU may write the slot, so the consumer neither reads nor releases the message. No bell is rung then; the
// consumer polls.
//
// For one thread. Refers to the caller's maps and to its copy of the descriptor.
#pragma once

#include <cstdint>

#include "client/message_wait.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::detail {

class EarlyPayload {
 public:
  EarlyPayload(const QueueMap& queue, const PoolMap& pool, std::uint64_t ticket, Descriptor& d) noexcept
      : queue_(queue), pool_(pool), ticket_(ticket), d_(d), before_executor_((d.flags & kBeforeExecutor) != 0) {}

  // there: it can be read, and the descriptor's flags are those of the processed message. lost: it will never be
  // complete. not_yet: a GPU or an executor still writes it.
  enum class Outcome : std::uint8_t { there, lost, not_yet };
  // Looks every 50 us, for 10 ms at most, or until `wait` says that the call must end.
  Outcome await(const MessageWait& wait, Deadline& deadline) noexcept;

  // Whether no GPU and no executor writes the payload any more.
  bool is_complete() noexcept;
  // Precondition: is_complete() has returned true. Returns whether the payload can be read, and sets the descriptor's
  // flags. False: it will never be complete.
  bool read_outcome() noexcept;

 private:
  const QueueMap& queue_;
  const PoolMap& pool_;
  const std::uint64_t ticket_;
  Descriptor& d_;
  const bool before_executor_;
  LineRead read_ = LineRead::absent;
  Descriptor processed_;  // as the executor wrote it, where read_ is `present`
};

}  // namespace ipcq::detail
