#include "broker/runner_executor.hpp"

#include <cstdint>
#include <string>
#include <utility>

#include "base/os.hpp"
#include "layout/handler_text.hpp"
#include "layout/text_field.hpp"
#include "repair/membership.hpp"

namespace ipcq::detail {
namespace {

// An idle persistent kernel ends after this long: other processes' GPU work is then as fast as on an empty GPU
// (gpu_idle_test: 0.98 of its time; H200, CUDA 13.0). No comparison with other times is recorded.
constexpr std::uint64_t kParkAfterNs = 20'000'000;

// Of a user's handler the errors name the queue: the runner may die of it, or kill it, before it can say so.
std::uint64_t ask_to_start(RunnerLink& runner, RunnerRequest r, const OwnHandler& own, const std::string& object) {
  if (own.image == nullptr) return runner.request(r).id;
  try {
    if (own.state != nullptr) {
      RunnerRequest state;
      state.op = RunnerOp::make_state;
      state.bytes = own.state->bytes;
      r.state = runner.request(state, own.state->content.get()).id;
    }
    return runner.request(r, own.image->file.get()).id;
  } catch (const UsageError& e) {  // its arguments; the host's runner has the queue's name, a GPU's has not
    throw UsageError(naming(object, e.what()));
  } catch (const BackendError& e) {
    throw BackendError(object + ": its handler '" + get_text(r.handler, sizeof r.handler) +
                       "' cannot be started: " + e.what());
  }
}

}  // namespace

void RunnerExecutor::stop() noexcept {
  if (std::exchange(stopped_, true) || fork_epoch() != epoch_) return;
  if (queue_.on_device()) release_late_payloads(queue_, pool_);  // or the executor would wait for them
  runner_->tell(RunnerOp::stop_queue, id_);
}

void name_handler(RunnerRequest& request, const std::string& handler) {
  set_text(request.handler, sizeof request.handler, handler_label(handler));
  set_text(request.arguments, sizeof request.arguments, split_handler(handler).arguments);
}

ExecutorKind first_executor(const QueueOptions& options) noexcept {
  return options.executor == ExecutorKind::stream ? ExecutorKind::stream : ExecutorKind::persistent;
}

std::unique_ptr<RunnerExecutor> start_runner_executor(std::shared_ptr<RunnerLink> runner, const QueueOptions& options,
                                                      QueueMap& queue, const PoolEntry& pool, const OwnHandler& own) {
  RunnerRequest r;
  r.op = RunnerOp::start_queue;
  r.threads = options.threads;
  r.wait = static_cast<std::uint8_t>(options.wait.kind());
  r.spin_for_ns = static_cast<std::uint64_t>(options.wait.spin_for().count());
  r.has_image = own.image != nullptr ? 1 : 0;
  r.paused = options.paused ? 1 : 0;
  r.executor = first_executor(options);
  r.id = pool.map->on_device() ? pool.block : 0;
  r.park_after_ns = kParkAfterNs;
  set_text(r.queue_segment, sizeof r.queue_segment, queue.segment().name());
  set_text(r.pool_segment, sizeof r.pool_segment, pool.map->segment().name());
  r.first_ticket = own.first;
  r.deadline_ns = static_cast<std::uint64_t>(options.handler_deadline.count());
  name_handler(r, options.handler.empty() ? "identity" : options.handler);
  if (queue.on_device()) {
    queue.control().executor.store(static_cast<std::uint64_t>(r.executor), std::memory_order_relaxed);
  }
  const std::uint64_t id =
      ask_to_start(*runner, r, own, "queue '" + get_text(queue.config().segment.name, kNameBytes) + "'");
  return std::make_unique<RunnerExecutor>(std::move(runner), id, queue, *pool.map);
}

}  // namespace ipcq::detail
