#include "host_runner.hpp"

#include <sys/prctl.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <optional>
#include <string>
#include <utility>

#include "base/deadline.hpp"
#include "executor/host_executor.hpp"
#include "executor/works_on.hpp"
#include "image.hpp"
#include "ipcq/error.hpp"
#include "layout/text_field.hpp"
#include "obituary.hpp"
#include "progress_watch.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::runner {

using namespace detail;

namespace {

Wait wait_of(const RunnerRequest& r) {
  if (r.wait == static_cast<std::uint8_t>(Wait::Kind::spin)) return Wait::spin();
  if (r.wait == static_cast<std::uint8_t>(Wait::Kind::sleep)) return Wait::sleep();
  return Wait::hybrid(std::chrono::nanoseconds(r.spin_for_ns));
}

// Says what a handler throws, and how often it did since.
class Complaints {
 public:
  explicit Complaints(std::string object) : object_(std::move(object)) {}
  void say(const char* why) noexcept {
    constexpr std::uint64_t kPauseNs = 1'000'000'000;
    const std::uint64_t now = now_ns();
    std::uint64_t next = next_.load();
    const std::uint64_t kept = 1 + kept_.fetch_add(1);
    if (now < next || !next_.compare_exchange_strong(next, now + kPauseNs)) return;
    kept_.fetch_sub(kept);
    std::fprintf(stderr, "ipcq-host-runner: %s threw (%llu times since the last such line): %s\n", object_.c_str(),
                 static_cast<unsigned long long>(kept), printable(why).c_str());
  }

 private:
  const std::string object_;
  std::atomic<std::uint64_t> next_{0};
  std::atomic<std::uint64_t> kept_{0};
};

}  // namespace

// Declared so that the executor ends first, and the state last.
struct HostRunner::Queue {
  // What comes and goes with one handler.
  struct Handler {
    std::unique_ptr<HostImageFile> image;
    std::unique_ptr<Complaints> complaints;
    std::unique_ptr<ProgressWatch> watch;  // also while the executor ends
    HostCall call() const {
      return {.image = image->table().run,
              .handler = image->handler(),
              .on_throw = [c = complaints.get()](const char* why) { c->say(why); }};
    }
  };

  std::uint32_t threads = 1;
  std::uint64_t deadline_ns = 0;
  std::atomic<bool> is_held{false};    // between two messages
  bool rests = false;                  // so until resume_queue
  std::unique_ptr<StateMemory> state;  // null: none
  std::unique_ptr<QueueMap> queue;
  std::unique_ptr<PoolMap> pool;
  Handler handler;
  std::unique_ptr<HostExecutor> executor;

  std::string object() const { return "queue '" + get_text(queue->config().segment.name, kNameBytes) + "'"; }
  // The handler that the request names.
  Handler load(const RunnerRequest& request, Fd file) const;
};

HostRunner::Queue::Handler HostRunner::Queue::load(const RunnerRequest& request, Fd file) const {
  const std::string segment = queue->segment().name();
  const WorksOn works_on(segment.c_str());  // loading may run code of the user's
  const std::string what = object() + ": its handler '" + get_text(request.handler, sizeof request.handler) + "'";
  Handler h;
  h.image = std::make_unique<HostImageFile>(
      std::move(file), what, get_text(request.arguments, sizeof request.arguments), state ? state->get() : State{});
  if (h.image->is_serial() && threads != 1) {
    throw UsageError(what +
                     ": is called for one message at a time, and the queue has threads=" + std::to_string(threads) +
                     "; leave threads out, or declare `static constexpr bool concurrent = true` in the handler");
  }
  h.complaints = std::make_unique<Complaints>(what);
  if (deadline_ns != 0) {
    h.watch = std::make_unique<ProgressWatch>(
        *queue, *pool, deadline_ns, "ipcq-host-runner: " + what,
        [this] { return is_held.load() ? std::nullopt : std::optional(AtLatePayload::pauses); },
        [segment] { send_obituary(segment.c_str()); });
  }
  return h;
}

HostRunner::HostRunner() {
  ::prctl(PR_SET_TIMERSLACK, 1000);  // ns: short sleeps are not prolonged
  send_obituaries_at_signals();
}
HostRunner::~HostRunner() = default;

RunnerReply HostRunner::answer(const RunnerRequest& request, Fd attachment) {
  switch (request.op) {
    case RunnerOp::start_queue:
      return start_queue(request, std::move(attachment));
    case RunnerOp::stop_queue:
      queues_.erase(request.id);
      return {};
    case RunnerOp::check:
      return {};
    case RunnerOp::make_state:
      return make_state(request, attachment);
    case RunnerOp::save_state:
    case RunnerOp::load_state:
      copy_state(request, attachment);
      return {};
    case RunnerOp::replace_handler:
      replace_handler(request, std::move(attachment));
      return {};
    case RunnerOp::pause_queue:
    case RunnerOp::resume_queue:
      set_rest(queue(request), request.op == RunnerOp::pause_queue);
      return {};
    case RunnerOp::allocate:
    case RunnerOp::free:
      break;
  }
  throw UsageError("host runner: request " + std::to_string(static_cast<unsigned>(request.op)) +
                   " is for a GPU's runner");
}

RunnerReply HostRunner::start_queue(const RunnerRequest& request, Fd image) {
  const auto deadline = [] { return deadline_after(std::chrono::seconds(1)); };
  auto q = std::make_unique<Queue>();
  q->state = take_state(request.state);
  q->threads = request.threads;
  q->deadline_ns = request.deadline_ns;
  q->queue = QueueMap::open(get_text(request.queue_segment, sizeof request.queue_segment), deadline());
  q->pool = PoolMap::open(get_text(request.pool_segment, sizeof request.pool_segment), deadline());
  q->handler = q->load(request, std::move(image));
  q->executor = make_host_executor(*q->queue, *q->pool, q->handler.call(), request.threads, wait_of(request),
                                   {.first = request.first_ticket, .paused = request.paused != 0});
  q->rests = request.paused != 0;
  q->is_held.store(q->rests);
  RunnerReply reply;
  reply.id = ++last_id_;
  queues_[reply.id] = std::move(q);
  return reply;
}

RunnerReply HostRunner::make_state(const RunnerRequest& request, const Fd& content) {
  RunnerReply reply;
  reply.id = ++last_id_;
  states_[reply.id] = std::make_unique<StateMemory>(request.bytes, content, "host runner: the state of a queue");
  return reply;
}

std::unique_ptr<StateMemory> HostRunner::take_state(std::uint64_t id) {
  if (id == 0) return {};
  const auto it = states_.find(id);
  if (it == states_.end()) throw BackendError("host runner: the state of a queue that is started is not there");
  std::unique_ptr<StateMemory> state = std::move(it->second);
  states_.erase(it);
  return state;
}

HostRunner::Queue& HostRunner::queue(const RunnerRequest& request) {
  const auto it = queues_.find(request.id);
  if (it == queues_.end()) throw BackendError("host runner: that queue has ended here; try again");
  return *it->second;
}

// Between two messages of a queue while it lives. One that rests is there already.
class HostRunner::Between {
 public:
  explicit Between(Queue& q) : q_(q) {
    if (q.rests) return;
    if (!q.executor->pause(deadline_after(kPlacePatience))) {
      throw BackendError(q.object() + ": its handler has been working on a message for more than " +
                         std::to_string(kPlacePatience.count()) + " s, so nothing was done; try again");
    }
    q.is_held.store(true);
  }
  ~Between() {
    if (q_.rests) return;
    q_.is_held.store(false);
    q_.executor->resume();
  }
  Between(const Between&) = delete;
  Between& operator=(const Between&) = delete;

 private:
  Queue& q_;
};

void HostRunner::set_rest(Queue& q, bool rests) {
  const Between between(q);
  q.rests = rests;
}

void HostRunner::copy_state(const RunnerRequest& request, const Fd& file) {
  Queue& q = queue(request);
  if (!q.state || q.state->get().bytes != request.bytes) {
    throw BackendError(q.object() + ": its state has another size than the broker says");
  }
  const Between between(q);
  if (request.op == RunnerOp::save_state) {
    q.state->save(file, q.object());
  } else {
    q.state->load(file, q.object());
  }
}

void HostRunner::replace_handler(const RunnerRequest& request, Fd image) {
  Queue& q = queue(request);
  Queue::Handler handler = q.load(request, std::move(image));
  const Between between(q);
  q.executor->set_call(handler.call());
  std::swap(q.handler, handler);
  auto old = std::make_shared<Queue::Handler>(std::move(handler));
  unload_ = [old = std::move(old), segment = q.queue->segment().name()]() mutable {
    const WorksOn works_on(segment.c_str());
    old.reset();
  };
}

// That may run code of the user's, as destructors of static objects. What it comes to is no matter of the new one.
void HostRunner::answered() noexcept {
  if (const auto unload = std::exchange(unload_, nullptr)) unload();
}

}  // namespace ipcq::runner
