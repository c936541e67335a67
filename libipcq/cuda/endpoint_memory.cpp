#include "endpoint_memory.hpp"

#include <algorithm>
#include <mutex>
#include <utility>

#include "context_scope.hpp"
#include "deferred_unpin.hpp"
#include "device_block.hpp"
#include "host_block.hpp"
#include "ipcq/error.hpp"
#include "layout/text_field.hpp"

namespace ipcq::detail {
namespace {

// Pinned shared memory, and the mapping that it is part of.
struct Pin {
  std::shared_ptr<const void> map;
  RegisteredMemory memory;  // unpinned before it is unmapped
};

// Owns all that this process has mapped and pinned, so that a later endpoint shares what is in use, and what the
// deferred unpin has not given back yet. Never destroyed: a static destructor would run after the driver has unloaded.
struct ProcessMemory {
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
  std::mutex mutex;  // guards the lists, and is held where a use begins; not while anything is unpinned or unmapped
  std::vector<Block> blocks;
  std::vector<Pinned> pins;
  std::vector<Probe> probes;
};
ProcessMemory& process_memory() {
  static auto* const all = new ProcessMemory;
  return *all;
}

// One use of what ProcessMemory owns. The end of the last one wakes the deferred unpin and waits for it unless that is
// held up, so that memory is usually given back by the time a session has ended.
template <class T>
std::shared_ptr<T> use(const std::shared_ptr<T>& owned) {
  return std::shared_ptr<T>(owned.get(), [keep = owned](T*) mutable noexcept {
    const bool last = keep.use_count() == 2;  // that of ProcessMemory and this
    keep.reset();
    deferred_unpin().wake();
    if (last) deferred_unpin().await();
  });
}

// Removes the first entry without a use, and returns its object; null if there is none.
template <class Entries>
std::shared_ptr<void> take_unused(Entries& entries) {
  const auto it = std::find_if(entries.begin(), entries.end(), [](const auto& e) { return e.owned.use_count() == 1; });
  if (it == entries.end()) return nullptr;
  std::shared_ptr<void> unused = std::move(it->owned);
  entries.erase(it);
  return unused;
}

bool clean_one() {
  auto& all = process_memory();
  std::unique_lock lock(all.mutex);
  std::shared_ptr<void> unused = take_unused(all.blocks);
  if (!unused) unused = take_unused(all.pins);
  if (!unused) unused = take_unused(all.probes);
  lock.unlock();
  const BesideCaptures beside;
  return std::exchange(unused, nullptr) != nullptr;  // destroyed here: unmapped or unpinned
}

CUcontext context_of(cuda::Stream stream, const std::string& object) {
  CUcontext context = nullptr;
  // For a special stream (null, legacy, per thread) this gives the current context.
  const CUresult result = driver().cuStreamGetCtx(stream, &context);
  if (result == CUDA_ERROR_INVALID_CONTEXT || (result == CUDA_SUCCESS && context == nullptr)) {
    throw UsageError(object +
                     ": no CUDA context is current in this thread; call cudaSetDevice() and create the stream");
  }
  check_cuda(result, "cuStreamGetCtx", object, "pass a stream that exists");
  return context;
}

void refuse_capture(cuda::Stream stream, const std::string& object) {
  if (!is_capturing(stream)) return;
  throw UsageError(
      object +
      ": the stream captures a graph, whose launches would repeat what is for one message; end the capture "
      "before, and capture the kernels alone");
}

}  // namespace

DeferredUnpin& deferred_unpin() {
  static auto* const c = new DeferredUnpin(clean_one);
  // Static destructors run in reverse order of construction. The driver is loaded by now, so this one runs before it
  // unloads.
  static const struct AtExit {
    ~AtExit() { deferred_unpin().end(); }
  } at_exit;
  return *c;
}

EndpointMemory::EndpointMemory(SessionCore& session, std::shared_ptr<QueueMap> queue, std::shared_ptr<PoolMap> pool,
                               bool reads)
    : session_(session),
      queue_(std::move(queue)),
      pool_(std::move(pool)),
      reads_(reads),
      object_(std::string(reads ? "consumer" : "producer") + " of queue '" +
              get_text(queue_->config().segment.name, kNameBytes) + "'") {}

const View& EndpointMemory::view(cuda::Stream stream) {
  // Before any driver call on `stream`: if it went with a context that was reset, the driver would crash.
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
  auto& all = process_memory();
  const std::scoped_lock lock(all.mutex);
  std::shared_ptr<Pin> used;
  for (const auto& p : all.pins) {
    if (p.data == data && p.context.is_alive()) used = use(p.owned);
  }
  if (!used) {
    auto pin = std::make_shared<Pin>();
    pin->map = std::move(map);
    pin->memory = RegisteredMemory(context.handle(), data, bytes, what);
    const CurrentContext current(context.handle());
    check_same_address(data, what);
    all.pins.push_back({data, context, pin});
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
  auto& all = process_memory();
  const std::scoped_lock lock(all.mutex);
  for (const auto& p : all.probes) {
    if (p.context == view.context) view.probe = use(p.owned);
  }
  if (view.probe) return;
  const auto probe = std::make_shared<ProbeStream>(view.context, object_);
  all.probes.push_back({view.context, probe});
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
      auto& all = process_memory();
      const std::scoped_lock lock(all.mutex);
      for (const auto& b : all.blocks) {
        if (b.pool_generation == h.segment.generation && b.context == context) view->block = use(b.owned);
      }
      if (!view->block) {
        const auto block = std::make_shared<DeviceBlock>(
            context, h, object_ + ": its pool '" + get_text(h.segment.name, sizeof h.segment.name) + "'");
        all.blocks.push_back({h.segment.generation, context, block});
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

}  // namespace ipcq::detail
