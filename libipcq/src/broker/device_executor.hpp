// The executor of a queue that a runner has on its GPU.
#pragma once

#include <memory>

#include "broker/pool_entry.hpp"
#include "broker/runner_link.hpp"
#include "executor/executor.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::detail {

// What a queue with these options begins with.
ExecutorKind first_executor(const QueueOptions& options) noexcept;

// Without the mutex: asks the runner and waits for its answer. The maps must outlive the executor. Throws BackendError.
std::unique_ptr<Executor> start_device_executor(std::shared_ptr<RunnerLink> runner, const QueueOptions& options,
                                                QueueMap& queue, const PoolEntry& pool);

}  // namespace ipcq::detail
