// The executor of one queue on the GPU: a thread that either keeps a persistent kernel running while there is work, or
// follows the `in` lines and enqueues a kernel per message. docs/design/cuda.md, "Executors".
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "completion_waker.hpp"
#include "gpu.hpp"
#include "gpu_arbiter.hpp"
#include "ipcq/options.hpp"
#include "layout/queue_view.hpp"

namespace ipcq::runner {

// A pool, mapped and pinned in this process; its queues share it.
struct PinnedPool {
  PinnedPool(const Gpu& gpu, const std::string& segment);
  std::unique_ptr<detail::PoolMap> map;
  detail::RegisteredMemory pinned;  // gpub, tomb and mirror
};

// How long to sleep, in ns, before checking again for a payload that has been late for `late` ns: a stream that
// completes one rings no bell. 0: spin.
std::uint64_t nap_for_payload(std::uint64_t late) noexcept;

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
// as no kernel stays in them: what the stream executor has enqueued waits for no other process.
//
// All public functions are for the runner's main thread, except make_room(), resume() and runs_since(), which the
// threads of other queues call through GpuArbiter. A kernel that fails ends the process (exit code 1), because the CUDA
// context is then unusable.
class QueueRunner {
 public:
  struct Plan {
    std::string queue_segment;
    std::string handler;
    ExecutorKind executor = ExecutorKind::persistent;
    std::uint64_t park_after_ns = 0;
  };
  // Maps and pins the queue, and starts its thread, which may launch at once. `payloads`: the pool's block of VRAM;
  // null for a queue of inline messages. Throws BackendError, LayoutError (the pool's header contradicts `payloads`),
  // SystemError. Precondition: no kernel of this process stays (Runner pauses the queues).
  QueueRunner(const Gpu& gpu, GpuArbiter& arbiter, const Plan& plan, std::shared_ptr<PinnedPool> pool,
              std::shared_ptr<DeviceAllocation> payloads);
  ~QueueRunner();  // waits until the messages that it works on are finished

  const std::string& segment() const noexcept { return plan_.queue_segment; }
  // Between await_pause() and resume() no persistent kernel of this queue is on the GPU. Pauses nest. Ask all queues
  // before waiting for one, because a kernel may not begin, and therefore not end, until another has made room for it.
  void ask_to_pause();
  void await_pause();
  void resume();
  // For GpuArbiter: if a persistent kernel of this queue is on the GPU, ask_to_pause() and return true.
  bool make_room();
  // Since when (ns of now_ns()) a persistent kernel of this queue runs; 0: none does.
  std::uint64_t runs_since() const { return runs_since_.load(); }

 private:
  friend class StreamExecutor;  // a part of the queue's thread

  void run_executors() noexcept;
  void run_persistent();
  void park();
  void await_late();
  void launch(CUfunction kernel, unsigned blocks, unsigned threads, void** arguments);
  void synchronize();
  bool is_idle() const;  // whether everything enqueued on stream_ has finished
  void await_begin();
  void change_to(ExecutorKind kind) noexcept;
  void check_pool() const;
  device::QueueView view() const;

  const Gpu& gpu_;
  const Plan plan_;
  const std::shared_ptr<PinnedPool> pool_;
  const std::shared_ptr<DeviceAllocation> payloads_;
  const std::unique_ptr<detail::QueueMap> queue_;
  const detail::Ring<detail::SharedAtomics>& ring_;
  const std::string object_;
  detail::RegisteredMemory pinned_control_;
  detail::RegisteredMemory pinned_lines_;
  Kernels kernels_;
  DeviceAllocation memory_;  // ExecutorMemory
  unsigned launches_ = 0;    // of the persistent kernel; its parity selects the WorkArea
  device::QueueView view_;
  unsigned workers_ = 0;  // blocks that share a large message
  Stream stream_;
  PinnedHost<device::Mailbox> mailbox_;

  ExecutorKind kind_;
  std::uint64_t resume_ = 0;  // as in Mailbox
  std::uint64_t limit_ = 0;
  Patience patience_;
  std::uint64_t seen_done_ = 0;  // messages done when patience_ began

  std::mutex mutex_;  // guards paused_, kernel_stays_ and writes to Mailbox::stop
  std::condition_variable changed_;
  unsigned paused_ = 0;        // pauses asked for and not resumed
  bool kernel_stays_ = false;  // a persistent kernel is launched, begun or not
  std::atomic<std::uint64_t> runs_since_{0};
  std::atomic<bool> stop_{false};
  std::unique_ptr<CompletionWaker> waker_;
  GpuArbiter::Seat seat_;
  std::thread thread_;
};

}  // namespace ipcq::runner
