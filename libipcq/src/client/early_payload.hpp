// The payload of a message that may have been copied before the payload was complete: a stream took the message early
// and gave it back, or its queue is a direct one of a GPU. A CPU that read or released such a message would do so while
// a GPU still writes the payload. Nobody rings when it is complete, so the caller asks again.
//
// For one thread. Refers to the caller's maps, and to its copy of the descriptor.
#pragma once

#include <cstdint>

#include "queue/queue_map.hpp"

namespace ipcq::detail {

class EarlyPayload {
 public:
  EarlyPayload(const QueueMap& queue, const PoolMap& pool, std::uint64_t ticket, Descriptor& d) noexcept
      : queue_(queue), pool_(pool), ticket_(ticket), d_(d), before_executor_((d.flags & kBeforeExecutor) != 0) {}

  // Whether nothing writes to it any more.
  bool is_complete() noexcept;
  // Once it is complete: whether it came. The descriptor's flags are then those of the processed message.
  bool settle() noexcept;

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
