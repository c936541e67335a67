#include "pool_mapping.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <utility>

#include "deferred_unpin.hpp"
#include "exit_guard.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

constexpr std::size_t kPage = 4096;

// Pinned shared memory, with the mapping that it lies in.
struct Pin {
  std::shared_ptr<const void> map;
  RegisteredMemory memory;  // unpinned before it is unmapped
};

// What this process has set up so far: owned here, so that a later endpoint finds what the deferred unpin has not come
// to yet. Never destroyed: at exit the driver unloads before it could be.
struct Registry {
  struct Block {
    std::uint64_t pool_generation;
    Context context;
    std::shared_ptr<DeviceBlock> owned;
  };
  struct Pinned {
    const void* data;
    Context context;
    std::shared_ptr<Pin> owned;
  };
  struct Probe {
    Context context;
    std::shared_ptr<ProbeStream> owned;
  };
  std::mutex mutex;  // uses begin under it; not held while anything is unpinned or unmapped
  std::vector<Block> blocks;
  std::vector<Pinned> pins;
  std::vector<Probe> probes;
};
Registry& registry() {
  static auto* const r = new Registry;
  return *r;
}

// Pinned memory that nobody uses. Never destroyed either.
struct Spares {
  struct Spare {
    Context context;
    std::size_t bytes;
    void* data;
  };
  std::mutex mutex;
  std::vector<Spare> all;
};
Spares& spares() {
  static auto* const s = new Spares;
  return *s;
}

// One use of what the registry owns. The last one's end waits for the deferred unpin where nothing holds that up, so
// that memory is mostly given back when a session has ended.
template <class T>
std::shared_ptr<T> use(const std::shared_ptr<T>& owned) {
  return std::shared_ptr<T>(owned.get(), [keep = owned](T*) mutable noexcept {
    const bool last = keep.use_count() == 2;  // the registry's and this
    keep.reset();
    deferred_unpin().look();
    if (last) deferred_unpin().await();
  });
}

// The first entry that nobody uses, taken out.
template <class Entries>
std::shared_ptr<void> take_unused(Entries& entries) {
  const auto it = std::find_if(entries.begin(), entries.end(), [](const auto& e) { return e.owned.use_count() == 1; });
  if (it == entries.end()) return nullptr;
  std::shared_ptr<void> unused = std::move(it->owned);
  entries.erase(it);
  return unused;
}

bool clean_one() {
  auto& r = registry();
  std::unique_lock lock(r.mutex);
  std::shared_ptr<void> unused = take_unused(r.blocks);
  if (!unused) unused = take_unused(r.pins);
  if (!unused) unused = take_unused(r.probes);
  lock.unlock();
  const BesideCaptures beside;
  return std::exchange(unused, nullptr) != nullptr;  // unmapped or unpinned now
}

bool is_of_a_capture(CUresult result) noexcept {
  return result >= CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED && result <= CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
}

CUcontext context_of(cuda::Stream stream, const std::string& object) {
  CUcontext context = nullptr;
  // Of a special stream (null, legacy, per thread) it gives the current context.
  const CUresult result = driver().cuStreamGetCtx(stream, &context);
  if (result == CUDA_ERROR_INVALID_CONTEXT || (result == CUDA_SUCCESS && context == nullptr)) {
    throw UsageError(object +
                     ": no CUDA context is current in this thread; call cudaSetDevice() and create the stream");
  }
  check_cuda(result, "cuStreamGetCtx", object, "pass a stream that exists");
  return context;
}

bool is_capturing(cuda::Stream stream) noexcept {
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  const CUresult result = driver().cuStreamIsCapturing(stream, &status);
  return is_of_a_capture(result) || (result == CUDA_SUCCESS && status != CU_STREAM_CAPTURE_STATUS_NONE);
}

void refuse_capture(cuda::Stream stream, const std::string& object) {
  if (!is_capturing(stream)) return;
  throw UsageError(
      object +
      ": the stream captures a graph, whose launches would repeat what is for one message; end the capture "
      "before, and capture the kernels alone");
}

void check_same_address(void* data, const std::string& object) {
  CUdeviceptr device = 0;
  check_cuda(driver().cuMemHostGetDevicePointer(&device, data, 0), "cuMemHostGetDevicePointer", object);
  if (device != reinterpret_cast<CUdeviceptr>(data)) {
    throw BackendError(object +
                       ": this GPU reaches pinned memory at other addresses than the CPU; it is not supported");
  }
}

// The process' own memory, pinned: what the driver allocates would be gone after a reset of its device, and what the
// CPU reads there with it. Shared, so that a fork does not make the CPU write to a copy.
void* map_pinned(const Context& context, std::size_t bytes, const std::string& object) {
  void* const data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (data == MAP_FAILED) throw SystemError(errno, object + ": mmap of " + std::to_string(bytes) + " bytes failed");
  const BesideCaptures beside;
  const CurrentContext current(context.handle());
  try {
    check_cuda(driver().cuMemHostRegister(data, bytes, CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP),
               "cuMemHostRegister", object, "raise the limit of locked memory (ulimit -l unlimited)");
    check_same_address(data, object);
  } catch (...) {
    ::munmap(data, bytes);
    throw;
  }
  return data;
}

}  // namespace

DeferredUnpin& deferred_unpin() {
  static auto* const c = new DeferredUnpin(clean_one);
  // Before the driver's own end: what is made later is ended earlier, and the driver is there by now.
  static const struct AtExit {
    ~AtExit() { deferred_unpin().end(); }
  } at_exit;
  return *c;
}

ContextScope::ContextScope(const Context& context) noexcept {
  if (!context.is_alive()) return;
  CUcontext current = nullptr;
  const Driver& cu = driver();
  usable_ = cu.cuCtxGetCurrent(&current) == CUDA_SUCCESS && current == context.handle();
  if (usable_) return;
  // Else the thread's own would be used, and its null stream taken for that of this one.
  usable_ = pushed_ = cu.cuCtxPushCurrent(context.handle()) == CUDA_SUCCESS;
}

ContextScope::~ContextScope() {
  CUcontext ignored = nullptr;
  if (pushed_) driver().cuCtxPopCurrent(&ignored);
}

void BesideCaptures::exchange() noexcept { driver().cuThreadExchangeStreamCaptureMode(&mode_); }

ProbeStream::ProbeStream(const Context& context, const std::string& object) : context_(context) {
  const CurrentContext current(context.handle());
  check_cuda(driver().cuStreamCreateWithPriority(&stream_, CU_STREAM_NON_BLOCKING, 0), "cuStreamCreateWithPriority",
             object, "if this process' CUDA context has failed, start the process anew (cudaGetLastError() tells)");
}

ProbeStream::~ProbeStream() {
  const ContextScope scope(context_);
  if (scope) driver().cuStreamDestroy(stream_);
}

CUresult ProbeStream::query() const noexcept {
  const BesideCaptures beside;
  const ContextScope scope(context_);
  return scope ? driver().cuStreamQuery(stream_) : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

DeviceBlock::DeviceBlock(const Context& context, const PoolHeader& pool, const std::string& object)
    : context_(context) {
  CUipcMemHandle handle;
  static_assert(sizeof handle.reserved == sizeof pool.device.ipc_handle);
  std::memcpy(handle.reserved, pool.device.ipc_handle, sizeof pool.device.ipc_handle);
  if (pool.device.base_offset > pool.device.bytes ||
      pool.slots * pool.slot_stride > pool.device.bytes - pool.device.base_offset) {
    throw BackendError(object + ": its header contradicts itself; restart the broker");
  }
  const CurrentContext current(context.handle());
  check_cuda(driver().cuIpcOpenMemHandle(&base_, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS), "cuIpcOpenMemHandle",
             object);
  payloads_ = reinterpret_cast<std::byte*>(base_ + pool.device.base_offset);
}

DeviceBlock::~DeviceBlock() {
  const ContextScope scope(context_);
  if (scope) driver().cuIpcCloseMemHandle(base_);
}

HostBlock::HostBlock(const Context& context, std::size_t bytes, const std::string& object)
    : context_(context), bytes_((bytes + kPage - 1) / kPage * kPage) {
  auto& s = spares();
  {
    const std::scoped_lock lock(s.mutex);
    for (auto& spare : s.all) {
      if (spare.context != context_ || spare.bytes != bytes_) continue;
      data_ = spare.data;
      std::swap(spare, s.all.back());
      s.all.pop_back();
      break;
    }
    if (data_ == nullptr) s.all.reserve(s.all.capacity() + 1);  // the destructor finds room
  }
  if (data_ == nullptr) data_ = map_pinned(context, bytes_, object);
  std::memset(data_, 0, bytes_);
}

HostBlock::~HostBlock() {
  auto& s = spares();
  const std::scoped_lock lock(s.mutex);
  s.all.push_back({context_, bytes_, data_});
}

EndpointMemory::EndpointMemory(SessionCore& session, std::shared_ptr<QueueMap> queue, std::shared_ptr<PoolMap> pool,
                               bool reads)
    : session_(session),
      queue_(std::move(queue)),
      pool_(std::move(pool)),
      reads_(reads),
      object_(std::string(reads ? "consumer" : "producer") + " of queue '" + queue_->config().segment.name + "'") {}

const View& EndpointMemory::view(cuda::Stream stream) {
  // Before the stream is looked at: where it went with its context, the driver would crash.
  for (const auto& v : views_) {
    if (!v->context.is_alive()) {
      throw UsageError(object_ + ": " + why_broken(*v) + "; end the session before that, and connect anew after it");
    }
  }
  const CUcontext context = context_of(stream, object_);
  refuse_capture(stream, object_);
  for (const auto& v : views_) {
    if (v->context.handle() == context) return *v;
  }
  return make_view(Context(context, object_));
}

void EndpointMemory::pin(const Context& context, std::shared_ptr<const void> map, void* data, std::uint64_t bytes,
                         const std::string& what) {
  if (bytes == 0) return;
  const void* const of = map.get();
  auto& r = registry();
  const std::scoped_lock lock(r.mutex);
  std::shared_ptr<Pin> used;
  for (const auto& p : r.pins) {
    if (p.data == data && p.context.is_alive()) used = use(p.owned);
  }
  if (!used) {
    auto pin = std::make_shared<Pin>();
    pin->map = std::move(map);
    pin->memory = RegisteredMemory(context.handle(), data, bytes, what);
    const CurrentContext current(context.handle());
    check_same_address(data, what);
    r.pins.push_back({data, context, pin});
    used = use(pin);
  }
  pins_.push_back(used);
  session_.keep_with(of, std::move(used));
}

void EndpointMemory::pin_payloads(View& view) {
  const PoolHeader& h = pool_->config();
  pin(view.context, pool_, pool_->payload(0), h.payload_bytes, object_ + ": payloads in host memory");
  view.payloads = pool_->payload(0);
}

void EndpointMemory::open_probe(View& view) {
  auto& r = registry();
  const std::scoped_lock lock(r.mutex);
  for (const auto& p : r.probes) {
    if (p.context == view.context) view.probe = use(p.owned);
  }
  if (view.probe) return;
  const auto probe = std::make_shared<ProbeStream>(view.context, object_);
  r.probes.push_back({view.context, probe});
  view.probe = use(probe);
}

const View& EndpointMemory::make_view(const Context& context) {
  const BesideCaptures beside;
  auto view = std::make_unique<View>();
  const PoolHeader& h = pool_->config();
  const QueueHeader& q = queue_->config();
  view->context = context;
  view->stride = h.slot_stride;
  open_probe(*view);
  pin(context, pool_, &pool_->gpub(0), h.payload_offset - h.gpub_offset, object_ + ": words of its pool");
  if (reads_) {
    pin(context, queue_, queue_->segment().data() + q.in_offset, q.held_offset - q.in_offset, object_ + ": its lines");
  }
  if (!pool_->on_device()) {
    view->reach = Reach::host;
    pin_payloads(*view);
    session_.log(LogLevel::info, object_ + ": its pool lies in host memory; kernels reach it across PCIe");
  } else if (h.slots != 0) {
    try {
      auto& r = registry();
      const std::scoped_lock lock(r.mutex);
      for (const auto& b : r.blocks) {
        if (b.pool_generation == h.segment.generation && b.context == context) view->block = use(b.owned);
      }
      if (!view->block) {
        const auto block = std::make_shared<DeviceBlock>(context, h, object_ + ": its pool '" + h.segment.name + "'");
        r.blocks.push_back({h.segment.generation, context, block});
        view->block = use(block);
      }
      session_.keep_with(pool_.get(), view->block);
      view->payloads = view->block->payloads();
    } catch (const BackendError& e) {
      const bool mirrored = pool_->has_host_payloads() && (!reads_ || queue_->is_host_readable());
      if (!mirrored) {
        throw BackendError(std::string(e.what()) +
                           "; use the pool's device, or one with peer access to it, or a queue with mirror=full" +
                           (reads_ ? " whose processed payloads are host-readable" : ""));
      }
      view->reach = Reach::mirror;
      pin_payloads(*view);
      session_.log(LogLevel::warning, std::string(e.what()) + "; works on the mirror in host memory instead");
    }
  }
  views_.push_back(std::move(view));
  return *views_.back();
}

CUresult enqueue_write(const View& view, cuda::Stream stream, Word& word, std::uint64_t value) noexcept {
  const ContextScope scope(view.context);
  if (!scope) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  // SYNC gpub (release, system): the stream's earlier work before the word; the default flag fences.
  // Pairs with: reached.
  return driver().cuStreamWriteValue64(stream, reinterpret_cast<CUdeviceptr>(&word.raw), value,
                                       CU_STREAM_WRITE_VALUE_DEFAULT);
}

CUresult enqueue_wait(const View& view, cuda::Stream stream, const Word& word, std::uint64_t at_least) noexcept {
  const ContextScope scope(view.context);
  if (!scope) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  return driver().cuStreamWaitValue64(stream, reinterpret_cast<CUdeviceptr>(&word.raw), at_least,
                                      CU_STREAM_WAIT_VALUE_GEQ);
}

CUresult enqueue_wait(const View& view, cuda::Stream stream, const std::uint32_t* word,
                      std::uint32_t at_least) noexcept {
  const ContextScope scope(view.context);
  if (!scope) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  return driver().cuStreamWaitValue32(stream, reinterpret_cast<CUdeviceptr>(word), at_least, CU_STREAM_WAIT_VALUE_GEQ);
}

std::string why_broken(const View& view) {
  if (view.context.is_alive()) return "its GPU context has failed (a kernel faulted)";
  return is_exiting() ? "CUDA was unloaded, because the process exits" : "its device was reset (cudaDeviceReset)";
}

bool is_broken(const View& view) noexcept {
  const CUresult result = view.probe->query();
  return result != CUDA_SUCCESS && result != CUDA_ERROR_NOT_READY && !is_of_a_capture(result);
}

bool is_capturing(const View& view, cuda::Stream stream) noexcept {
  const ContextScope scope(view.context);
  return scope && is_capturing(stream);
}

CUresult query(const View& view, cuda::Stream stream) noexcept {
  const BesideCaptures beside;
  const ContextScope scope(view.context);
  return scope ? driver().cuStreamQuery(stream) : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

}  // namespace ipcq::detail
