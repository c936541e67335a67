#include "gpu_queue.hpp"

#include <algorithm>
#include <bit>
#include <chrono>
#include <utility>

#include "base/deadline.hpp"
#include "layout/text_field.hpp"

namespace ipcq::runner {

using namespace detail;

namespace {

// Of these no comparison with other values is recorded, but for the one named.
constexpr unsigned kMinWorkers = 8;  // 24 make no difference to bulk/4k (gpu_bench, H200, CUDA 13.0)
constexpr std::uint64_t kBytesPerWorker = 32 * 1024;

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

}  // namespace

PinnedPool::PinnedPool(const Gpu& gpu, const std::string& segment)
    : map(PoolMap::open(segment, deadline_after(std::chrono::seconds(1)))) {
  const std::uint64_t from = map->config().gpub_offset;
  if (map->on_device()) {
    pinned = RegisteredMemory(gpu.context(), map->segment().data() + from, map->segment().size() - from, segment);
  }
}

GpuQueue::GpuQueue(const Gpu& gpu, const std::string& segment, std::shared_ptr<const HandlerKernels> handler,
                   ExecutorKind first, std::shared_ptr<PinnedPool> pool, std::shared_ptr<DeviceAllocation> payloads)
    : gpu_(gpu),
      pool_(std::move(pool)),
      payloads_(std::move(payloads)),
      map_(QueueMap::open(segment, deadline_after(std::chrono::seconds(1)))),
      object_("queue '" + get_text(map_->config().segment.name, kNameBytes) + "'"),
      pinned_control_(gpu.context(), &map_->control(), sizeof(QueueControl), object_),
      pinned_lines_(gpu.context(), map_->ring().in(0), map_->config().held_offset - map_->config().in_offset, object_),
      handler_(std::move(handler)),
      memory_(gpu, sizeof(device::ExecutorMemory), object_),
      view_(make_view()),
      workers_(workers_for(gpu, pool_->map->config())),
      stream_(gpu, object_),
      kind_(first) {
  const CurrentContext current(gpu.context());
  check_cuda(driver().cuMemsetD8Async(memory_.address(), 0, sizeof(device::ExecutorMemory), stream_.get()),
             "cuMemsetD8Async", object_);
  synchronize();
}

// The pool's header is in memory that clients can write. Checks that the kernel stays within the block of VRAM.
void GpuQueue::check_pool() const {
  const PoolHeader& h = pool().config();
  if (!payloads_ ||
      (h.slot_bytes <= h.slot_stride && h.slots <= payloads_->bytes() / std::max<std::uint64_t>(h.slot_stride, 1)))
    return;
  throw LayoutError(object_ + ": the header of its pool names " + std::to_string(h.slots) + " slots of " +
                    std::to_string(h.slot_bytes) + " bytes, more than the " + std::to_string(payloads_->bytes()) +
                    " bytes on the GPU: a client has overwritten it; create the pool anew");
}

device::QueueView GpuQueue::make_view() const {
  check_pool();
  const PoolHeader& h = pool().config();
  const auto& ring = map_->ring();
  device::QueueView v{};
  v.in = reinterpret_cast<const device::DeviceUnit*>(gpu_.address(ring.in(0)));
  v.out = reinterpret_cast<device::DeviceUnit*>(gpu_.address(ring.out(0)));
  v.counters = reinterpret_cast<std::uint64_t*>(gpu_.address(&map_->control().processed));
  v.lines_log2 = static_cast<std::uint32_t>(std::countr_zero(ring.lines()));
  v.slot_bytes = h.slot_bytes;
  v.stride = h.slot_stride;
  if (payloads_) {
    v.slots = h.slots;
    v.gpub = reinterpret_cast<const std::uint64_t*>(gpu_.address(&pool().gpub(0)));
    v.tomb = reinterpret_cast<std::uint64_t*>(gpu_.address(&pool().tomb(0)));
    v.payload = reinterpret_cast<std::uint8_t*>(payloads_->address());
    if (pool().has_host_payloads()) v.mirror = reinterpret_cast<std::uint8_t*>(gpu_.address(pool().payload(0)));
    v.host_readable = map_->is_host_readable() ? 1 : 0;
  }
  return v;
}

void GpuQueue::launch(CUfunction kernel, unsigned blocks, unsigned threads, void** arguments) {
  check_cuda(driver().cuLaunchKernel(kernel, blocks, 1, 1, threads, 1, 1, 0, stream_.get(), arguments, nullptr),
             "cuLaunchKernel", object_);
}

void GpuQueue::synchronize() {
  check_cuda(driver().cuStreamSynchronize(stream_.get()), "cuStreamSynchronize", object_, "the kernel failed");
}

bool GpuQueue::is_idle() const {
  const CUresult r = driver().cuStreamQuery(stream_.get());
  if (r != CUDA_ERROR_NOT_READY) check_cuda(r, "cuStreamQuery", object_, "the kernel failed");
  return r == CUDA_SUCCESS;
}

void GpuQueue::change_to(ExecutorKind kind) noexcept {
  kind_ = kind;
  map_->control().executor.store(static_cast<std::uint64_t>(kind), std::memory_order_release);
}

}  // namespace ipcq::runner
