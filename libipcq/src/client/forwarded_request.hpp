// A request that another server has passed on to this one's queue: what its message says, and the queue whose client
// has asked. docs/design/calls.md, "Forwarded calls".
#pragma once

#include <cstddef>
#include <memory>
#include <span>

#include "queue/queue_map.hpp"

namespace ipcq::detail {

// The queue whose client has asked, as this process maps it.
struct CallHome {
  std::shared_ptr<QueueMap> queue;
  std::shared_ptr<PoolMap> pool;
};

struct ForwardedRequest {
  CallHome home;
  SlotLoan slot{kNone, 0};           // of the request, in its home's pool; kNone: the message has its bytes
  std::span<const std::byte> bytes;  // of the request
};

}  // namespace ipcq::detail
