// The executor of one queue on the GPU: a thread that either keeps a persistent kernel running while there is work, or
// follows the `in` lines and enqueues a kernel per message. docs/design/cuda.md, "Executors".
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/deadline.hpp"
#include "completion_waker.hpp"
#include "gpu.hpp"
#include "gpu_arbiter.hpp"
#include "gpu_queue.hpp"
#include "progress_watch.hpp"
#include "state_block.hpp"
#include "stream_executor.hpp"

namespace ipcq::runner {

// States of the persistent executor and what moves it on. The queue's thread makes each transition, on the event named.
//
//                 launch: paused_ == 0              scout and first worker wrote the Mailbox
//   +-> pending ----------------------> launched --------------------------------------------> running
//   |      ^      kernel_stays_ = true               (await_begin)          runs_since_ = now     |
//   |      |                                                                                      | the kernel ends:
//   |      |  `reason` stop, to_persistent                             kernel_stays_ = false      v
//   |      +--------------------------------------------------------------------------------- ended
//   |      +-- parked (park): parked = 1 until the line at `limit` is published <--- idle --------+
//   |      +-- late (await_late): parked = 1 until a payload or a line is there <--- late --------+
//   +-- stream executor (StreamExecutor) until a control line switches back <--- to_stream -------+
//
// ask_to_pause(), make_room() and the destructor set Mailbox::stop, so that a kernel ends with the reason `stop` and
// keeps its place. While paused_ != 0 (paused) nothing leaves `pending`. The other states need not be left for a pause,
// as no kernel stays in them: what the stream executor has enqueued waits for no other process. hold() has all states
// left, and the thread rests until release().
//
// All public functions are for the runner's main thread. The threads of other queues call make_room(), resume() and
// runs_since() through GpuArbiter. A kernel that fails ends the process (exit code 1), because the CUDA context is then
// unusable.
class QueueRunner final : public PausableQueue {
 public:
  struct Plan {
    std::string queue_segment;
    std::shared_ptr<StateBlock> state;  // null: the queue has none
    std::shared_ptr<const HandlerKernels> handler;
    ExecutorKind executor = ExecutorKind::persistent;
    std::uint64_t park_after_ns = 0;
    std::uint64_t deadline_ns = 0;  // of a call of the handler; 0: none
    bool rests = false;             // begins so
  };
  // Maps and pins the queue, and starts its thread, which may launch at once. `payloads`: the pool's block of VRAM;
  // null for a queue of inline messages. Throws BackendError, LayoutError (the pool's header contradicts `payloads`),
  // SystemError. Precondition: no kernel of this process stays (Runner pauses the queues).
  QueueRunner(const Gpu& gpu, GpuArbiter& arbiter, const Plan& plan, std::shared_ptr<PinnedPool> pool,
              std::shared_ptr<DeviceAllocation> payloads);
  ~QueueRunner();  // waits until the messages that it works on are finished

  // Between await_pause() and resume() no persistent kernel of this queue is on the GPU. Pauses nest. Ask all queues
  // before waiting for one, because a kernel may not begin, and therefore not end, until another has made room for it.
  void ask_to_pause();
  // False: not until then (now_ns()).
  bool await_pause(std::uint64_t deadline = detail::kNever);
  void resume() override;

  // Between a hold() that returned true and release() neither executor works, and nothing that they have enqueued is
  // left: the handler has seen all messages before one place in the order, and none after it. False: it has not
  // returned before `deadline`, and all goes on.
  bool hold(std::uint64_t deadline);
  void release();
  // While the queue is held: whether release() leaves it so, until another call of this within a hold().
  void set_rest(bool rests);
  // While the queue is held, and all queues are paused.
  void set_handler(std::shared_ptr<const HandlerKernels> handler, const std::string& label);
  StateBlock* state() const noexcept { return state_.get(); }
  const std::string& object() const noexcept { return queue_.object(); }

 private:
  bool make_room() override;
  std::uint64_t runs_since() const override { return runs_since_.load(); }

  void run_executors() noexcept;
  void rest_while_held();
  void set_leave();
  void watch(const std::string& label);
  void run_persistent();
  void launch_persistent(unsigned blocks);
  void launch_in_vain();
  void park();
  void await_late();
  std::optional<AtLatePayload> at_late();
  bool has_begun() const;
  void await_begin();

  const Gpu& gpu_;
  const std::uint64_t park_after_ns_;
  const std::uint64_t deadline_ns_;
  const std::shared_ptr<StateBlock> state_;  // declared before the queue, so that it ends after it
  GpuQueue queue_;
  const detail::Ring<detail::SharedAtomics>& ring_;
  unsigned launches_ = 0;  // of the persistent kernel; its parity selects the WorkArea
  PinnedHost<device::Mailbox> mailbox_;
  Patience patience_;  // of await_begin()

  std::mutex mutex_;  // guards what follows up to stop_, writes to leave_ and to Mailbox::stop
  std::condition_variable changed_;
  unsigned paused_ = 0;        // pauses asked for and not resumed
  bool kernel_stays_ = false;  // a persistent kernel is launched, begun or not
  std::atomic<std::uint64_t> runs_since_{0};
  bool rests_ = false;       // release() leaves it held
  bool hold_asked_ = false;  // the queue's thread is to rest
  bool held_ = false;        // it does
  std::atomic<bool> stop_{false};
  std::atomic<bool> leave_{false};  // stop_ or hold_asked_: executors return to run_executors()
  std::unique_ptr<CompletionWaker> waker_;
  std::unique_ptr<ProgressWatch> watch_;  // also while the executor ends; null: the handler has no deadline
  GpuArbiter::Seat seat_;
  StreamExecutor stream_executor_;
  std::thread thread_;
};

}  // namespace ipcq::runner
