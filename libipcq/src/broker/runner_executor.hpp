// The executor of a queue in a runner: kernels that a GPU's runner launches, or threads of the host runner.
//
// Thread safety: start, stop() and the destructor wait for the runner, so they are called without the broker's mutex.
// Invariant: stop() asks the runner once; in a forked child it does nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "broker/handler_image.hpp"
#include "broker/kept_state.hpp"
#include "broker/pool_entry.hpp"
#include "broker/runner_link.hpp"
#include "executor/executor.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::detail {

// The executor with which a queue on a GPU begins.
ExecutorKind first_executor(const QueueOptions& options) noexcept;

class RunnerExecutor final : public Executor {
 public:
  RunnerExecutor(std::shared_ptr<RunnerLink> runner, std::uint64_t id, QueueMap& queue, PoolMap& pool)
      : runner_(std::move(runner)), id_(id), queue_(queue), pool_(pool) {}
  ~RunnerExecutor() override { stop(); }
  void stop() noexcept override;
  // Of the queue, in that runner's requests.
  std::uint64_t id() const noexcept { return id_; }

 private:
  std::shared_ptr<RunnerLink> runner_;
  std::uint64_t id_;
  QueueMap& queue_;
  PoolMap& pool_;
  const std::uint32_t epoch_ = fork_epoch();
  bool stopped_ = false;
};

// What a queue with a handler of the user's brings along.
struct OwnHandler {
  const HandlerImage* image = nullptr;  // null: the handler is built in
  const KeptState* state = nullptr;     // null: none
  std::uint64_t first = 0;              // the ticket with which a host runner begins
};

// Without the mutex. Asks the runner and waits for its answer. The maps must outlive the executor. Throws BackendError,
// and UsageError where the handler does not take its arguments, or its state.
std::unique_ptr<RunnerExecutor> start_runner_executor(std::shared_ptr<RunnerLink> runner, const QueueOptions& options,
                                                      QueueMap& queue, const PoolEntry& pool,
                                                      const OwnHandler& own = {});
// What a request says of a handler of the user's.
void name_handler(RunnerRequest& request, const std::string& handler);

}  // namespace ipcq::detail
