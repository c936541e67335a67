// Stands in for ipcq-runner where there is no GPU: speaks its protocol with the broker, and works on device queues with
// threads, in the mirror. So what broker and clients without a GPU do about device queues is tested everywhere: who may
// attach, lines and bells, and the death of a runner. What a GPU does is tested on one (label gpu).
//
// While the file that $IPCQ_STAND_IN_FAILS names exists it says that it cannot start; if the file is not empty, that it
// cannot yet. It waits $IPCQ_STAND_IN_DELAY_MS
// before it says anything. At SIGUSR1 it lets go of its broker, and goes on working for $IPCQ_STAND_IN_LINGER_MS before
// it ends.
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <memory>
#include <thread>

#include "control/control.hpp"
#include "control/runner_wire.hpp"
#include "executor/host_executor.hpp"
#include "ipcq/error.hpp"
#include "protocol/doorbell.hpp"

namespace {

using namespace ipcq;
using namespace ipcq::detail;

struct StandInQueue {
  std::unique_ptr<QueueMap> queue;
  std::unique_ptr<PoolMap> pool;
  std::unique_ptr<HostExecutor> executor;  // after the maps: ends first
};

class StandIn {
 public:
  RunnerReply answer(const RunnerRequest& r) {
    RunnerReply reply;
    try {
      switch (r.op) {
        case RunnerOp::allocate:
          reply.id = ++last_id_;
          reply.memory.bytes = r.bytes;
          break;
        case RunnerOp::free:
          break;
        case RunnerOp::start_queue:
          reply.id = start(r);
          break;
        case RunnerOp::stop_queue:
          queues_.erase(r.id);
          break;
        case RunnerOp::check:
          break;
        case RunnerOp::pause_queue:
          (void)queues_.at(r.id).executor->pause(kNever);
          break;
        case RunnerOp::resume_queue:
          queues_.at(r.id).executor->resume();
          break;
        case RunnerOp::make_state:
        case RunnerOp::save_state:
        case RunnerOp::load_state:
        case RunnerOp::replace_handler:
          throw UsageError("the stand-in has built-in handlers only");
      }
    } catch (const std::exception& e) {
      reply.failed = 1;
      set_text(reply.text, sizeof reply.text, e.what());
    }
    return reply;
  }

 private:
  std::uint64_t start(const RunnerRequest& r) {
    StandInQueue q;
    q.queue =
        QueueMap::open(get_text(r.queue_segment, sizeof r.queue_segment), deadline_after(std::chrono::seconds(1)));
    q.pool = PoolMap::open(get_text(r.pool_segment, sizeof r.pool_segment), deadline_after(std::chrono::seconds(1)));
    if (q.pool->on_device() && !q.pool->has_host_payloads()) throw UsageError("the stand-in needs a mirror");
    const HostHandler handler = find_host_handler(get_text(r.handler, sizeof r.handler));
    if (handler == nullptr) throw UsageError("the stand-in does not know this handler");
    q.executor =
        make_host_executor(*q.queue, *q.pool, {.builtin = handler}, 1, Wait::hybrid(), {.paused = r.paused != 0});
    queues_[++last_id_] = std::move(q);
    return last_id_;
  }

  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, StandInQueue> queues_;
};

std::chrono::milliseconds from_environment(const char* name) {
  const char* const text = std::getenv(name);
  return std::chrono::milliseconds(text != nullptr ? std::atoi(text) : 0);
}

}  // namespace

int main() {
  const Fd socket(kRunnerSocket);
  ::signal(SIGUSR1, [](int) { ::shutdown(kRunnerSocket, SHUT_RDWR); });
  RunnerHello hello;
  set_text(hello.device_name, sizeof hello.device_name, "stand-in");
  const auto delay = from_environment("IPCQ_STAND_IN_DELAY_MS");
  std::this_thread::sleep_for(delay);
  const char* const fails = std::getenv("IPCQ_STAND_IN_FAILS");
  if (fails != nullptr && ::access(fails, F_OK) == 0) {
    hello.start = std::filesystem::is_empty(fails) ? RunnerStart::failed : RunnerStart::not_yet;
    set_text(hello.text, sizeof hello.text, "GPU 0: the stand-in was told to fail");
  }
  if (!send_message(socket.get(), &hello, sizeof hello) || hello.start != RunnerStart::up) return 1;
  StandIn runner;
  RunnerRequest request;
  Fd unused;
  while (receive_message(socket.get(), &request, sizeof request, unused) > 0) {
    const RunnerReply reply = runner.answer(request);
    std::this_thread::sleep_for(delay);
    if (!send_message(socket.get(), &reply, sizeof reply)) break;
  }
  std::this_thread::sleep_for(from_environment("IPCQ_STAND_IN_LINGER_MS"));
  return 0;
}
