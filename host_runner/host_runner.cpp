#include "host_runner.hpp"

#include <sys/prctl.h>

#include <atomic>
#include <chrono>
#include <cstdio>
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

// Declared so that the executor ends first, and the image last.
struct HostRunner::Queue {
  std::unique_ptr<HostImageFile> image;
  std::unique_ptr<QueueMap> queue;
  std::unique_ptr<PoolMap> pool;
  std::unique_ptr<Complaints> complaints;
  std::unique_ptr<ProgressWatch> watch;  // also while the executor ends
  std::unique_ptr<Executor> executor;
};

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
  const std::string label = get_text(request.handler, sizeof request.handler);
  q->queue = QueueMap::open(get_text(request.queue_segment, sizeof request.queue_segment), deadline());
  q->pool = PoolMap::open(get_text(request.pool_segment, sizeof request.pool_segment), deadline());
  const std::string object =
      "queue '" + get_text(q->queue->config().segment.name, kNameBytes) + "': its handler '" + label + "'";
  const std::string segment = q->queue->segment().name();
  const WorksOn works_on(segment.c_str());  // loading may run code of the user's
  q->image =
      std::make_unique<HostImageFile>(std::move(image), object, get_text(request.arguments, sizeof request.arguments));
  q->complaints = std::make_unique<Complaints>(object);
  q->executor = make_host_executor(*q->queue, *q->pool,
                                   {.image = q->image->table().run,
                                    .handler = q->image->handler(),
                                    .on_throw = [c = q->complaints.get()](const char* why) { c->say(why); }},
                                   request.threads, wait_of(request), request.first_ticket);
  if (request.deadline_ns != 0) {
    q->watch = std::make_unique<ProgressWatch>(
        *q->queue, *q->pool, request.deadline_ns, "ipcq-host-runner: " + object, [] { return false; },
        [segment] { send_obituary(segment.c_str()); });
  }
  RunnerReply reply;
  reply.id = ++last_id_;
  queues_[reply.id] = std::move(q);
  return reply;
}

}  // namespace ipcq::runner
