// The executor of a queue in host memory: threads of the broker call the handler. One of them, the scout, waits for the
// next line while the others work.
#pragma once

#include <cstdint>
#include <memory>

#include "executor/executor.hpp"
#include "ipcq/builtin_handlers.hpp"
#include "ipcq/wait.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::detail {

// Starts `threads` worker threads in this process, for a pool in host memory. `queue` and `pool` must outlive the
// executor. `wait`: how the scout waits for lines. Throws SystemError if a thread cannot be started.
std::unique_ptr<Executor> make_host_executor(const QueueMap& queue, const PoolMap& pool, HostHandler handler,
                                             std::uint32_t threads, Wait wait);

}  // namespace ipcq::detail
