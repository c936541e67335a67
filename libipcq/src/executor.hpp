// What runs a queue's handler: takes published lines in order, works on the payloads in place, writes the lines for the
// readers. One interface for host threads and, later, the persistent and the stream executor of a GPU.
#pragma once

#include <cstdint>
#include <memory>

#include "ipcq/handler.hpp"
#include "ipcq/wait.hpp"
#include "queue_map.hpp"

namespace ipcq::detail {

class Executor {
 public:
  virtual ~Executor() = default;
  virtual const char* name() const noexcept = 0;
  // Ends after the messages being worked on. Idempotent.
  virtual void stop() noexcept = 0;
  // Messages being worked on now, and lines passed over because their content made no sense.
  virtual std::uint64_t inflight() const noexcept = 0;
  virtual std::uint64_t damaged() const noexcept = 0;
};

// Worker threads of this process over a pool in host memory. The maps must outlive it.
std::unique_ptr<Executor> make_host_executor(const QueueMap& queue, const PoolMap& pool, HostHandler handler,
                                             std::uint32_t threads, Wait wait);

}  // namespace ipcq::detail
