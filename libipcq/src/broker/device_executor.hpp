// The executor of a queue on a GPU: kernels that a runner launches.
//
// Thread safety: start, stop() and the destructor wait for the runner, so they are called without the broker's mutex.
// Invariant: stop() asks the runner once; in a forked child it does nothing.
#pragma once

#include <memory>

#include "broker/pool_entry.hpp"
#include "broker/runner_link.hpp"
#include "executor/executor.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::detail {

// The executor with which a queue with these options begins.
ExecutorKind first_executor(const QueueOptions& options) noexcept;

// Without the mutex. Asks the runner and waits for its answer. The maps must outlive the executor. Throws BackendError.
std::unique_ptr<Executor> start_device_executor(std::shared_ptr<RunnerLink> runner, const QueueOptions& options,
                                                QueueMap& queue, const PoolEntry& pool);

}  // namespace ipcq::detail
