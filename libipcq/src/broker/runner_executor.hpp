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
// handler of the user's; null: a built-in one. `failed`: receives how many messages an earlier host runner had in work
// when it died, which are passed on as failed. Throws BackendError.
std::unique_ptr<Executor> start_runner_executor(std::shared_ptr<RunnerLink> runner, const QueueOptions& options,
                                                QueueMap& queue, const PoolEntry& pool,
                                                const HandlerImage* image = nullptr, std::uint64_t* failed = nullptr);

}  // namespace ipcq::detail
