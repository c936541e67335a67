#include "queue_runner.hpp"

#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/thread.hpp"
#include "control/control.hpp"
#include "layout/text_field.hpp"
#include "protocol/doorbell.hpp"
#include "stream_executor.hpp"

namespace ipcq::runner {

using namespace detail;

namespace {

constexpr unsigned kMinWorkers = 8;  // 24 make no difference to bulk/4k (gpu_bench, H200, CUDA 13.0)
// Of these no comparison with other values is recorded. Times are in ns.
constexpr std::uint64_t kBytesPerWorker = 32 * 1024;
constexpr std::uint64_t kSpinForPayload = 100'000;
constexpr std::uint64_t kShortestNap = 10'000;  // without MPS the writer's time slice is ms away
constexpr std::uint64_t kLongestNap = 1'000'000;

// As many blocks as a message of this queue can keep busy, at most half the number of multiprocessors. That is enough
// for handlers, which are bound by memory, and with two blocks per multiprocessor it leaves room for the kernels of
// three more such queues. Queues without room take turns (GpuArbiter).
unsigned workers_for(const Gpu& gpu, const PoolHeader& pool) {
  if (pool.backend != static_cast<std::uint32_t>(PoolBackend::cuda)) return 0;
  const auto useful =
      static_cast<unsigned>(std::min<std::uint64_t>(pool.slot_bytes / kBytesPerWorker, device::kMaxWorkers));
  return std::clamp(useful, kMinWorkers,
                    std::min(std::max(gpu.multiprocessors() / 2, kMinWorkers + 1) - 1,  // one is the scout's
                             device::kMaxWorkers));
}

// Ends the process: after a failed kernel its CUDA context is unusable. The broker observes the process' end.
[[noreturn]] void die(const std::string& object, const char* what) noexcept {
  std::fprintf(stderr, "ipcq-runner: %s: %s\n", object.c_str(), what);
  _exit(1);
}

}  // namespace

std::uint64_t nap_for_payload(std::uint64_t late) noexcept {
  return late < kSpinForPayload ? 0 : std::clamp(late / 64, kShortestNap, kLongestNap);
}

PinnedPool::PinnedPool(const Gpu& gpu, const std::string& segment)
    : map(PoolMap::open(segment, deadline_after(std::chrono::seconds(1)))) {
  const std::uint64_t from = map->config().gpub_offset;
  if (map->on_device()) {
    pinned = RegisteredMemory(gpu.context(), map->segment().data() + from, map->segment().size() - from, segment);
  }
}

QueueRunner::QueueRunner(const Gpu& gpu, GpuArbiter& arbiter, const Plan& plan, std::shared_ptr<PinnedPool> pool,
                         std::shared_ptr<DeviceAllocation> payloads)
    : gpu_(gpu),
      plan_(plan),
      pool_(std::move(pool)),
      payloads_(std::move(payloads)),
      queue_(QueueMap::open(plan.queue_segment, deadline_after(std::chrono::seconds(1)))),
      ring_(queue_->ring()),
      object_("queue '" + get_text(queue_->config().segment.name, kNameBytes) + "'"),
      pinned_control_(gpu.context(), &queue_->control(), sizeof(QueueControl), object_),
      pinned_lines_(gpu.context(), ring_.in(0), queue_->config().held_offset - queue_->config().in_offset, object_),
      kernels_(gpu.kernels(plan.handler)),
      memory_(gpu, sizeof(device::ExecutorMemory), object_),
      view_(view()),
      workers_(workers_for(gpu, pool_->map->config())),
      stream_(gpu, object_),
      mailbox_(gpu, object_),
      kind_(plan.executor),
      seat_(arbiter, *this) {
  ::prctl(PR_SET_TIMERSLACK, 1000);  // ns, also for threads started here: short sleeps are not prolonged
  {
    const CurrentContext current(gpu.context());
    check_cuda(driver().cuMemsetD8Async(memory_.address(), 0, sizeof(device::ExecutorMemory), stream_.get()),
               "cuMemsetD8Async", object_);
    synchronize();
  }
  waker_ = std::make_unique<CompletionWaker>(*queue_, *pool_->map);
  require_thread(thread_, object_, [this] { run_executors(); });
}

QueueRunner::~QueueRunner() {
  {
    const std::scoped_lock lock(mutex_);
    stop_.store(true);
    std::atomic_ref(mailbox_->stop).store(1);
  }
  changed_.notify_all();
  ring_always(queue_->control().work);
  thread_.join();
  waker_.reset();
}

// The pool's header is in memory that clients can write. Checks that the kernel stays within the block of VRAM.
void QueueRunner::check_pool() const {
  const PoolHeader& h = pool_->map->config();
  if (!payloads_ ||
      (h.slot_bytes <= h.slot_stride && h.slots <= payloads_->bytes() / std::max<std::uint64_t>(h.slot_stride, 1)))
    return;
  throw LayoutError(object_ + ": the header of its pool names " + std::to_string(h.slots) + " slots of " +
                    std::to_string(h.slot_bytes) + " bytes, more than the " + std::to_string(payloads_->bytes()) +
                    " bytes on the GPU: a client has overwritten it; create the pool anew");
}

device::QueueView QueueRunner::view() const {
  check_pool();
  const PoolMap& pool = *pool_->map;
  const PoolHeader& h = pool.config();
  device::QueueView v{};
  v.in = reinterpret_cast<const device::DeviceUnit*>(gpu_.address(ring_.in(0)));
  v.out = reinterpret_cast<device::DeviceUnit*>(gpu_.address(ring_.out(0)));
  v.counters = reinterpret_cast<std::uint64_t*>(gpu_.address(&queue_->control().processed));
  v.lines_log2 = static_cast<std::uint32_t>(std::countr_zero(ring_.lines()));
  v.slot_bytes = h.slot_bytes;
  v.stride = h.slot_stride;
  if (payloads_) {
    v.slots = h.slots;
    v.gpub = reinterpret_cast<const std::uint64_t*>(gpu_.address(&pool.gpub(0)));
    v.tomb = reinterpret_cast<std::uint64_t*>(gpu_.address(&pool.tomb(0)));
    v.payload = reinterpret_cast<std::uint8_t*>(payloads_->address());
    if (pool.has_host_payloads()) v.mirror = reinterpret_cast<std::uint8_t*>(gpu_.address(pool.payload(0)));
    v.host_readable = queue_->is_host_readable() ? 1 : 0;
  }
  return v;
}

void QueueRunner::ask_to_pause() {
  const std::scoped_lock lock(mutex_);
  ++paused_;
  std::atomic_ref(mailbox_->stop).store(1);
}

void QueueRunner::await_pause() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !kernel_stays_; });
}

void QueueRunner::resume() {
  const std::scoped_lock lock(mutex_);
  --paused_;
  // A kernel that has not begun yet can be spared its end.
  const bool waits = kernel_stays_ && std::atomic_ref(mailbox_->scouts).load() == 0;
  if (paused_ == 0 && waits && !stop_.load()) std::atomic_ref(mailbox_->stop).store(0);
  changed_.notify_all();
}

bool QueueRunner::make_room() {
  const std::scoped_lock lock(mutex_);
  if (!kernel_stays_) return false;
  ++paused_;
  std::atomic_ref(mailbox_->stop).store(1);
  return true;
}

void QueueRunner::change_to(ExecutorKind kind) noexcept {
  kind_ = kind;
  queue_->control().executor.store(static_cast<std::uint64_t>(kind), std::memory_order_release);
}

void QueueRunner::run_executors() noexcept {
  try {
    const CurrentContext current(gpu_.context());
    while (!stop_.load()) {
      if (kind_ == ExecutorKind::stream) {
        StreamExecutor(*this).run();
      } else {
        run_persistent();
      }
    }
  } catch (const std::exception& e) {
    die(object_, e.what());
  }
}

void QueueRunner::launch(CUfunction kernel, unsigned blocks, unsigned threads, void** arguments) {
  check_cuda(driver().cuLaunchKernel(kernel, blocks, 1, 1, threads, 1, 1, 0, stream_.get(), arguments, nullptr),
             "cuLaunchKernel", object_);
}

void QueueRunner::synchronize() {
  check_cuda(driver().cuStreamSynchronize(stream_.get()), "cuStreamSynchronize", object_, "the kernel failed");
}

bool QueueRunner::is_idle() const {
  const CUresult r = driver().cuStreamQuery(stream_.get());
  if (r != CUDA_ERROR_NOT_READY) check_cuda(r, "cuStreamQuery", object_, "the kernel failed");
  return r == CUDA_SUCCESS;
}

// Waits until the kernel just launched has begun. If that takes too long, other queues' kernels must make room for it.
void QueueRunner::await_begin() {
  const auto has_begun = [&] {
    const bool scouts = std::atomic_ref(mailbox_->scouts).load() != 0;
    const bool works = workers_ == 0 || std::atomic_ref(mailbox_->works).load() != 0;
    return (scouts && works) || is_idle();
  };
  patience_.begin();
  while (!patience_.await(has_begun)) {
    if (seat_.take_turn(has_begun)) break;
    patience_.double_after_turn();
  }
  runs_since_.store(now_ns());
}

// One launch of the persistent kernel, from `pending` to `ended` and the state that follows.
void QueueRunner::run_persistent() {
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return paused_ == 0 || stop_.load(); });
    if (stop_.load()) return;
    std::atomic_ref(mailbox_->stop).store(0);
    mailbox_->scouts = mailbox_->works = 0;
    mailbox_->reason = device::EndReason::none;
    kernel_stays_ = true;
  }
  auto* const memory = reinterpret_cast<device::ExecutorMemory*>(memory_.address());  // VRAM: never dereferenced here
  device::WorkArea* area = &memory->area[launches_ % 2];
  device::WorkArea* next_area = &memory->area[++launches_ % 2];
  device::Mailbox* mailbox = gpu_.address(mailbox_.get());
  std::uint64_t park_after = plan_.park_after_ns;
  void* arguments[] = {&view_, &area, &next_area, &mailbox, &resume_, &limit_, &park_after};
  launch(kernels_.persistent, 1 + workers_, device::kBlockThreads, arguments);
  await_begin();
  synchronize();
  resume_ = mailbox_->resume;
  limit_ = mailbox_->limit;
  const device::EndReason reason = mailbox_->reason;
  {
    const std::scoped_lock lock(mutex_);
    kernel_stays_ = false;
    runs_since_.store(0);
  }
  changed_.notify_all();
  if (reason == device::EndReason::idle) park();
  if (reason == device::EndReason::late) await_late();
  if (reason == device::EndReason::to_stream) change_to(ExecutorKind::stream);
  if (reason == device::EndReason::to_persistent) change_to(ExecutorKind::persistent);
}

// Sleeps without a kernel until the next line is published. A line published after the kernel last loaded it is
// observed by wait_until(), which checks again after it has armed the bell.
void QueueRunner::park() {
  auto& control = queue_->control();
  control.parked.store(1, std::memory_order_relaxed);
  const auto published = [&] { return is_tagged(ring_.in(limit_), ring_.lap(limit_)); };
  (void)wait_until(control.work, Wait::sleep(), kNever, {nullptr, nullptr, &stop_}, published);
  control.parked.store(0, std::memory_order_relaxed);
}

// Waits without a kernel, because all messages left wait for their payload: until one payload is complete, or a line is
// published that the kernel has not looked at and can take.
void QueueRunner::await_late() {
  std::vector<Descriptor> late;
  Descriptor d;
  for (std::uint64_t t = resume_; t < limit_; ++t) {
    if (ring_.readable(t)) continue;
    if (ring_.look_in(t, d) != LineRead::present) {  // damaged since: the kernel skips it
      std::this_thread::sleep_for(std::chrono::nanoseconds(kLongestNap));
      return;
    }
    late.push_back(d);
  }
  if (late.empty()) return park();  // the last payload was completed as the kernel ended
  const auto has_line = [&] {
    if (!is_tagged(ring_.in(limit_), ring_.lap(limit_))) return false;
    if (late.size() < device::kLate) return true;
    return ring_.look_in(limit_, d) != LineRead::present || d.kind != LineKind::slot;
  };
  const auto due = [&] {
    return has_line() ||
           std::any_of(late.begin(), late.end(), [&](const auto& m) { return is_written(m, *pool_->map); });
  };
  auto& control = queue_->control();
  control.parked.store(1, std::memory_order_relaxed);
  const std::uint64_t start = now_ns();
  while (!stop_.load() && !due()) {
    const std::uint64_t now = now_ns();
    if (const std::uint64_t nap = nap_for_payload(now - start); nap != 0) {
      (void)wait_until(control.work, Wait::sleep(), now + nap, {nullptr, nullptr, &stop_}, due);
    } else {
      cpu_pause();
    }
  }
  control.parked.store(0, std::memory_order_relaxed);
}

}  // namespace ipcq::runner
