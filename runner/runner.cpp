#include "runner.hpp"

#include <string>

#include "base/deadline.hpp"
#include "control/control.hpp"
#include "layout/text_field.hpp"

namespace ipcq::runner {

using namespace detail;

// Pauses all queues while it lives. Allocating, freeing, pinning and unpinning wait for the kernels of this context,
// and a persistent kernel does not end by itself.
class Runner::Paused {
 public:
  // Throws BackendError, with all queues as they were, where one does not pause until then.
  explicit Paused(Runner& runner, std::uint64_t deadline = kNever) : runner_(runner) {
    for (auto& [id, q] : runner_.queues_) q->ask_to_pause();
    for (auto& [id, q] : runner_.queues_) {
      if (q->await_pause(deadline)) continue;
      resume();
      throw BackendError(q->object() +
                         ": its handler has been working on a message for seconds, and this waits for all queues of " +
                         runner_.gpu_.object() + ", so nothing was done; try again");
    }
  }
  ~Paused() { resume(); }
  Paused(const Paused&) = delete;
  Paused& operator=(const Paused&) = delete;

 private:
  void resume() {
    for (auto& [id, q] : runner_.queues_) q->resume();
  }
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
    case RunnerOp::make_state:
      return make_state(request, attachment);
    case RunnerOp::save_state:
    case RunnerOp::load_state:
      copy_state(request, attachment);
      return reply;
    case RunnerOp::replace_handler:
      replace_handler(request, attachment);
      return reply;
    case RunnerOp::pause_queue:
    case RunnerOp::resume_queue:
      set_rest(queue(request), request.op == RunnerOp::pause_queue);
      return reply;
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

std::shared_ptr<const HandlerKernels> Runner::kernels_of(const RunnerRequest& request, const Fd& attachment,
                                                         const StateBlock* state) const {
  const std::string handler = get_text(request.handler, sizeof request.handler);
  if (request.has_image == 0) return std::make_shared<const HandlerKernels>(builtin_, handler);
  const std::string object = "the image of handler '" + handler + "'";
  const std::string image = attachment ? read_memfd(attachment.get(), object) : std::string();
  if (image.empty()) throw BackendError(object + " did not come along with its request");
  return std::make_shared<const HandlerKernels>(gpu_, image, handler,
                                                get_text(request.arguments, sizeof request.arguments),
                                                state != nullptr ? state->get() : State{});
}

RunnerReply Runner::start_queue(const RunnerRequest& request, const Fd& attachment) {
  const Paused paused(*this);
  std::shared_ptr<DeviceAllocation> payloads;
  if (request.id != 0) payloads = blocks_.at(request.id);
  const std::shared_ptr<StateBlock> state = take_state(request.state);
  RunnerReply reply;
  reply.id = ++last_id_;
  const QueueRunner::Plan plan{.queue_segment = get_text(request.queue_segment, sizeof request.queue_segment),
                               .state = state,
                               .handler = kernels_of(request, attachment, state.get()),
                               .executor = request.executor,
                               .park_after_ns = request.park_after_ns,
                               .deadline_ns = request.deadline_ns,
                               .rests = request.paused != 0};
  auto queue = std::make_unique<QueueRunner>(gpu_, arbiter_, plan,
                                             pinned_pool(get_text(request.pool_segment, sizeof request.pool_segment)),
                                             std::move(payloads));
  queue->ask_to_pause();  // as the other queues, until this function returns
  queue->await_pause();
  queues_[reply.id] = std::move(queue);
  return reply;
}

RunnerReply Runner::make_state(const RunnerRequest& request, const Fd& content) {
  const Paused paused(*this);
  RunnerReply reply;
  reply.id = ++last_id_;
  states_[reply.id] = std::make_shared<StateBlock>(gpu_, request.bytes, content);
  return reply;
}

std::shared_ptr<StateBlock> Runner::take_state(std::uint64_t id) {
  if (id == 0) return {};
  const auto it = states_.find(id);
  if (it == states_.end()) throw BackendError(gpu_.object() + ": the state of a queue that is started is not there");
  std::shared_ptr<StateBlock> state = std::move(it->second);
  states_.erase(it);
  return state;
}

QueueRunner& Runner::queue(const RunnerRequest& request) {
  const auto it = queues_.find(request.id);
  if (it == queues_.end()) throw BackendError(gpu_.object() + ": that queue has ended here; try again");
  return *it->second;
}

namespace {

// Between two messages of a queue while it lives.
class Held {
 public:
  explicit Held(QueueRunner& queue) : queue_(queue) {
    if (queue.hold(deadline_after(kPlacePatience))) return;
    throw BackendError(queue.object() + ": its handler has been working on a message for more than " +
                       std::to_string(kPlacePatience.count()) + " s, so nothing was done; try again");
  }
  ~Held() { queue_.release(); }
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;

 private:
  QueueRunner& queue_;
};

}  // namespace

void Runner::set_rest(QueueRunner& q, bool rests) {
  const Held held(q);
  q.set_rest(rests);
}

void Runner::copy_state(const RunnerRequest& request, const Fd& file) {
  QueueRunner& q = queue(request);
  StateBlock* const state = q.state();
  if (state == nullptr || state->get().bytes != request.bytes) {
    throw BackendError(q.object() + ": its state has another size than the broker says");
  }
  const Held held(q);
  const Paused paused(*this, deadline_after(kPlacePatience));
  if (request.op == RunnerOp::save_state) {
    state->save(file, q.object());
  } else {
    state->load(file, q.object());
  }
}

void Runner::replace_handler(const RunnerRequest& request, const Fd& image) {
  QueueRunner& q = queue(request);
  const Held held(q);
  const Paused paused(*this, deadline_after(kPlacePatience));
  q.set_handler(kernels_of(request, image, q.state()), get_text(request.handler, sizeof request.handler));
}

}  // namespace ipcq::runner
