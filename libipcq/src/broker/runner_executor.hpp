// The executor of a queue in a runner: kernels that a GPU's runner launches, or threads of the host runner.
//
// Thread safety: start, stop() and the destructor wait for the runner, so they are called without the broker's mutex.
// Invariant: stop() asks the runner once; in a forked child it does nothing.
#pragma once

#include <cstdint>
#include <memory>

#include "broker/handler_image.hpp"
#include "broker/pool_entry.hpp"
#include "broker/runner_link.hpp"
#include "executor/executor.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::detail {

// The executor with which a queue on a GPU begins.
ExecutorKind first_executor(const QueueOptions& options) noexcept;

// Without the mutex. Asks the runner and waits for its answer. The maps must outlive the executor. `image`: of a
// handler of the user's; null: a built-in one. `first`: the ticket with which a host runner begins. Throws
// BackendError, and UsageError where the handler does not take its arguments.
std::unique_ptr<Executor> start_runner_executor(std::shared_ptr<RunnerLink> runner, const QueueOptions& options,
                                                QueueMap& queue, const PoolEntry& pool,
                                                const HandlerImage* image = nullptr, std::uint64_t first = 0);

}  // namespace ipcq::detail
