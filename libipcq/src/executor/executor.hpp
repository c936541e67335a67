// An executor runs a queue's handler: it reads published `in` lines in order, changes payloads in place, and writes the
// `out` lines for the readers. One interface for threads of the broker and for kernels of a runner process.
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
  // Ends the executor. Waits until the messages that it works on are finished. Idempotent.
  virtual void stop() noexcept = 0;
};

// Starts `threads` worker threads in this process, for a pool in host memory. `queue` and `pool` must outlive the
// executor. `wait`: how the scout waits for lines. Throws SystemError if a thread cannot be started.
std::unique_ptr<Executor> make_host_executor(const QueueMap& queue, const PoolMap& pool, HostHandler handler,
                                             std::uint32_t threads, Wait wait);

}  // namespace ipcq::detail
