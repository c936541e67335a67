// One queue's executor on the GPU: a thread that keeps a persistent kernel alive while there is work, or follows the
// lines and enqueues a kernel per message. docs/design/cuda.md, "Executors".
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

// A pool as this process maps and pins it; shared by its queues.
struct PinnedPool {
  PinnedPool(const Gpu& gpu, const std::string& segment);
  std::unique_ptr<detail::PoolMap> map;
  detail::RegisteredMemory pinned;  // words and mirror
};

// How long to nap, in ns, when a payload has been late for `late` ns: nobody rings a bell when it comes. 0: not yet.
std::uint64_t nap_for_payload(std::uint64_t late) noexcept;

class QueueRunner {
 public:
  struct Plan {
    std::string queue_segment;
    std::string handler;
    ExecutorKind executor = ExecutorKind::persistent;
    std::uint64_t park_after_ns = 0;
  };
  // `payloads` may be null: a queue of inline messages.
  QueueRunner(const Gpu& gpu, GpuArbiter& arbiter, const Plan& plan, std::shared_ptr<PinnedPool> pool,
              std::shared_ptr<DeviceBlock> payloads);
  ~QueueRunner();  // finishes the messages being worked on

  const std::string& segment() const noexcept { return plan_.queue_segment; }
  // From the end of await_pause() to resume() no kernel of this queue stays on the GPU. Ask all queues before waiting
  // for one: a kernel may need the room that another one takes.
  void ask_to_pause();
  void await_pause();
  void resume();
  // For GpuArbiter: ask_to_pause(), if a kernel of this queue stays now. Returns whether.
  bool make_room();
  // Since when (now_ns()) a kernel of this queue stays and runs; 0: none does.
  std::uint64_t runs_since() const { return runs_since_.load(); }

 private:
  void keep() noexcept;
  void run_persistent();
  void park();
  void await_late();
  void run_stream();
  bool await_payload(const detail::Descriptor& d);
  bool enqueue(std::uint64_t ticket, std::uint32_t& inlined);
  void enqueue_inlined(std::uint64_t first, std::uint32_t count);
  void enqueue_message(std::uint64_t ticket, const detail::Descriptor& d);
  void launch(CUfunction kernel, unsigned blocks, unsigned threads, void** arguments);
  void synchronize();
  bool is_idle() const;  // the stream
  void await_begin();
  void see_to_progress();
  void drain();  // the stream
  device::StreamTotals* totals() const noexcept;
  void change_to(ExecutorKind kind) noexcept;
  void check_pool() const;
  device::QueueView view() const;

  const Gpu& gpu_;
  const Plan plan_;
  const std::shared_ptr<PinnedPool> pool_;
  const std::shared_ptr<DeviceBlock> payloads_;
  const std::unique_ptr<detail::QueueMap> queue_;
  const detail::Ring<detail::SharedAtomics>& ring_;
  const std::string object_;
  detail::RegisteredMemory pinned_control_;
  detail::RegisteredMemory pinned_lines_;
  Kernels kernels_;
  DeviceBlock memory_;     // ExecutorMemory
  unsigned launches_ = 0;  // of the persistent kernel
  device::QueueView view_;
  unsigned workers_ = 0;  // blocks that share a large message
  Stream stream_;
  PinnedHost<device::Mailbox> mailbox_;

  ExecutorKind kind_;
  std::uint64_t resume_ = 0;  // as in Mailbox
  std::uint64_t limit_ = 0;
  Patience patience_;
  std::uint64_t seen_done_ = 0;  // messages, when patience_ began

  std::mutex mutex_;
  std::condition_variable changed_;
  unsigned paused_ = 0;
  bool kernel_stays_ = false;
  std::atomic<std::uint64_t> runs_since_{0};
  std::atomic<bool> stop_{false};
  std::unique_ptr<CompletionWaker> waker_;
  GpuArbiter::Seat seat_;
  std::thread thread_;
};

}  // namespace ipcq::runner
