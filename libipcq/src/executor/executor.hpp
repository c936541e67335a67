// What runs a queue's handler: takes published lines in order, works on the payloads in place, writes the lines for the
// readers. One interface for host threads of this process and for a GPU's executor in a runner process.
#pragma once

#include <cstdint>
#include <memory>

#include "ipcq/handler.hpp"
#include "ipcq/wait.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::detail {

class Executor {
 public:
  virtual ~Executor() = default;
  // Ends after the messages being worked on. Idempotent.
  virtual void stop() noexcept = 0;
};

// Worker threads of this process over a pool in host memory. The maps must outlive it.
std::unique_ptr<Executor> make_host_executor(const QueueMap& queue, const PoolMap& pool, HostHandler handler,
                                             std::uint32_t threads, Wait wait);

}  // namespace ipcq::detail
