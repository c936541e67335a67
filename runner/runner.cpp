#include "runner.hpp"

#include <string>

#include "control/control.hpp"
#include "layout/text_field.hpp"

namespace ipcq::runner {

using namespace detail;

// Pauses all queues while it lives. Allocating, freeing, pinning and unpinning wait for the kernels of this context,
// and a persistent kernel does not end by itself.
class Runner::Paused {
 public:
  explicit Paused(Runner& runner) : runner_(runner) {
    for (auto& [id, q] : runner_.queues_) q->ask_to_pause();
    for (auto& [id, q] : runner_.queues_) q->await_pause();
  }
  ~Paused() {
    for (auto& [id, q] : runner_.queues_) q->resume();
  }

 private:
  Runner& runner_;
};

Runner::~Runner() {
  for (auto& [id, q] : queues_) q->ask_to_pause();  // ending one queue waits for the kernels of all
  for (auto& [id, q] : queues_) q->await_pause();
}

RunnerReply Runner::answer(const RunnerRequest& request, Fd attachment) {
  RunnerReply reply;
  switch (request.op) {
    case RunnerOp::allocate:
      return allocate(request);
    case RunnerOp::start_queue:
      return start_queue(request, attachment);
    case RunnerOp::stop_queue: {
      const auto q = queues_.find(request.id);
      if (q == queues_.end()) return reply;
      std::unique_ptr<QueueRunner> ended = std::move(q->second);
      queues_.erase(q);
      ended->ask_to_pause();  // other queues' kernels may need its room to begin, and so to end
      const Paused paused(*this);
      ended.reset();
      return reply;
    }
    case RunnerOp::free: {
      const Paused paused(*this);
      blocks_.erase(request.id);
      return reply;
    }
    case RunnerOp::check: {
      const Paused paused(*this);
      gpu_.check();
      return reply;
    }
  }
  throw UsageError("unknown request");
}

RunnerReply Runner::allocate(const RunnerRequest& request) {
  const Paused paused(*this);
  RunnerReply reply;
  auto block = std::make_shared<DeviceAllocation>(gpu_, request.bytes, "a pool");
  reply.memory = block->exported();
  reply.id = ++last_id_;
  blocks_[reply.id] = std::move(block);
  return reply;
}

std::shared_ptr<PinnedPool> Runner::pinned_pool(const std::string& segment) {
  auto& known = pools_[segment];
  if (auto pool = known.lock()) return pool;
  auto pool = std::make_shared<PinnedPool>(gpu_, segment);
  known = pool;
  return pool;
}

std::shared_ptr<const HandlerKernels> Runner::kernels_of(const RunnerRequest& request, const Fd& attachment) const {
  const std::string handler = get_text(request.handler, sizeof request.handler);
  if (request.has_image == 0) return std::make_shared<const HandlerKernels>(builtin_, handler);
  const std::string object = "the image of handler '" + handler + "'";
  const std::string image = attachment ? read_memfd(attachment.get(), object) : std::string();
  if (image.empty()) throw BackendError(object + " did not come along with its request");
  return std::make_shared<const HandlerKernels>(gpu_, image, handler,
                                                get_text(request.arguments, sizeof request.arguments));
}

RunnerReply Runner::start_queue(const RunnerRequest& request, const Fd& attachment) {
  const Paused paused(*this);
  std::shared_ptr<DeviceAllocation> payloads;
  if (request.id != 0) payloads = blocks_.at(request.id);
  RunnerReply reply;
  reply.id = ++last_id_;
  const QueueRunner::Plan plan{.queue_segment = get_text(request.queue_segment, sizeof request.queue_segment),
                               .handler = kernels_of(request, attachment),
                               .executor = request.executor,
                               .park_after_ns = request.park_after_ns,
                               .deadline_ns = request.deadline_ns};
  auto queue = std::make_unique<QueueRunner>(gpu_, arbiter_, plan,
                                             pinned_pool(get_text(request.pool_segment, sizeof request.pool_segment)),
                                             std::move(payloads));
  queue->ask_to_pause();  // as the other queues, until this function returns
  queue->await_pause();
  queues_[reply.id] = std::move(queue);
  return reply;
}

}  // namespace ipcq::runner
