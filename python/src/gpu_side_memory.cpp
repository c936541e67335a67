#include "gpu_side_memory.hpp"

#include <ipcq/error.hpp>

#if IPCQ_PYTHON_CUDA
#include <cuda.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "context_scope.hpp"
#include "device_use.hpp"
#include "driver.hpp"
#endif

namespace ipcq::python {
#if IPCQ_PYTHON_CUDA
namespace {

using ipcq::detail::check_cuda;
using ipcq::detail::Context;
using ipcq::detail::driver;

constexpr const char* kUse = "a stream that uses a buffer";

// For calls of the driver: the context is current, and a capture of another stream is not spoiled.
class InContext {
 public:
  explicit InContext(const Context& context) : scope_(context) {
    if (!scope_)
      throw BackendError(
          "GPU: the context of a buffer is gone, and its memory with it (cudaDeviceReset?): make another");
  }

 private:
  ipcq::detail::BesideCaptures beside_;
  ipcq::detail::ContextScope scope_;
};

// The primary context, which the frameworks use. It is never given back: the next one would take long to make.
CUcontext context_of(int gpu, const std::string& where) {
  const auto& cu = driver();
  CUdevice device = 0;
  int count = 0;
  check_cuda(cu.cuDeviceGetCount(&count), "cuDeviceGetCount", where);
  if (gpu >= count)
    throw BackendError(where + ": there is no GPU " + std::to_string(gpu) + ", of " + std::to_string(count) +
                       " that the driver shows (CUDA_VISIBLE_DEVICES); device=None is host memory");
  CUcontext context = nullptr;
  check_cuda(cu.cuDeviceGet(&device, gpu), "cuDeviceGet", where);
  check_cuda(cu.cuDevicePrimaryCtxRetain(&context, device), "cuDevicePrimaryCtxRetain", where);
  return context;
}

class GpuMemory final : public SideMemory {
 public:
  GpuMemory(std::size_t bytes, int gpu, bool zeroed, const std::string& where)
      : bytes_(std::max(bytes, std::size_t{1})), gpu_(gpu), context_(context_of(gpu, where), where) {
    try {
      allocate(where);
      if (zeroed) clear();
    } catch (...) {
      free();
      throw;
    }
  }
  ~GpuMemory() override { free(); }

  std::byte* host() const noexcept override { return static_cast<std::byte*>(host_); }
  std::byte* device() const noexcept override {
    return reinterpret_cast<std::byte*>(device_);  // NOLINT(performance-no-int-to-ptr): an address of the GPU
  }
  dlpack::Device dlpack_device() const noexcept override { return {dlpack::kCuda, gpu_}; }
  int gpu() const noexcept override { return gpu_; }
  Stream own_stream() const noexcept override { return own_; }

  void begin_on(Stream stream, bool writes) override {
    const InContext in(context_);
    if (stream != own_) check(static_cast<CUstream>(stream));
    // One of the same handle may be of a stream that was destroyed: it is waited for as well.
    for (const Use& use : uses_) {
      if (writes || use.wrote || use.stream == stream) wait(stream, use.event);
    }
  }

  void end_on(Stream stream, bool wrote) noexcept override {
    try {
      const InContext in(context_);
      record_use(static_cast<CUstream>(stream), wrote);
    } catch (const Error&) {
      is_lost_ = true;
    }
  }

  void copy_to_device(Stream stream) override {
    begin_on(stream, true);
    const InContext in(context_);
    wait(stream, copied_);
    check_cuda(driver().cuMemcpyHtoDAsync(device_, host_, bytes_, static_cast<CUstream>(stream)), "cuMemcpyHtoDAsync",
               kUse);
    end_copy(stream, false);
  }
  void copy_to_host(Stream stream) override {
    begin_on(stream, false);
    const InContext in(context_);
    wait(stream, copied_);
    check_cuda(driver().cuMemcpyDtoHAsync(host_, device_, bytes_, static_cast<CUstream>(stream)), "cuMemcpyDtoHAsync",
               kUse);
    end_copy(stream, true);
  }
  void copy_from_device(const std::byte* from, std::size_t bytes, Stream stream) override {
    const InContext in(context_);
    check_cuda(
        driver().cuMemcpyDtoDAsync(device_, reinterpret_cast<CUdeviceptr>(from), bytes, static_cast<CUstream>(stream)),
        "cuMemcpyDtoDAsync", kUse);
  }

  bool is_host_free(bool writes) const override {
    if (is_lost_)
      throw BackendError("GPU " + std::to_string(gpu_) +
                         ": when this buffer's last copy ends is not known, since a stream has failed: make another");
    const InContext in(context_);  // without it the host side is gone, too
    if (!writes && !to_host_) return true;
    const CUresult result = driver().cuEventQuery(copied_);
    if (result != CUDA_ERROR_NOT_READY) check_cuda(result, "cuEventQuery", "a copy of a buffer");
    return result == CUDA_SUCCESS;
  }

  bool is_idle() const noexcept override {
    if (is_lost_) return !context_.is_alive();
    try {
      const InContext in(context_);
      return is_over(copied_) && std::all_of(uses_.begin(), uses_.end(), [](const Use& u) { return is_over(u.event); });
    } catch (const Error&) {
      return true;  // with the context; and in one that has failed nothing runs
    }
  }

 private:
  static constexpr std::size_t kEvents = 4;  // so many streams are told apart at a time
  struct Use {
    CUstream stream;
    CUevent event;  // recorded behind it
    bool wrote;
  };

  static bool is_over(CUevent event) noexcept { return driver().cuEventQuery(event) != CUDA_ERROR_NOT_READY; }
  static void wait(Stream stream, CUevent event) {
    check_cuda(driver().cuStreamWaitEvent(static_cast<CUstream>(stream), event, 0), "cuStreamWaitEvent", kUse);
  }
  static void record(CUevent event, CUstream stream) {
    check_cuda(driver().cuEventRecord(event, stream), "cuEventRecord", kUse);
  }

  void check(CUstream stream) const {
    const auto& cu = driver();
    if (stream != nullptr) {
      CUcontext of = nullptr;
      check_cuda(cu.cuStreamGetCtx(stream, &of), "cuStreamGetCtx", kUse);
      if (of != context_.handle())
        throw UsageError("the stream is not of the primary context of GPU " + std::to_string(gpu_) +
                         ", on which the buffer is");
    }
    CUstreamCaptureStatus capture = CU_STREAM_CAPTURE_STATUS_NONE;
    check_cuda(cu.cuStreamIsCapturing(stream, &capture), "cuStreamIsCapturing", kUse);
    if (capture != CU_STREAM_CAPTURE_STATUS_NONE)
      throw UsageError("the stream captures a graph, whose launches would use the buffer in no order: end it first");
  }

  void record_use(CUstream stream, bool wrote) {
    const auto same = std::find_if(uses_.begin(), uses_.end(), [&](const Use& use) { return use.stream == stream; });
    if (same != uses_.end()) {  // it has waited for the former use
      record(same->event, stream);
      same->wrote |= wrote;
      return;
    }
    const CUevent event = take_event();
    uses_.push_back({stream, event, wrote});
    record(event, stream);
  }

  // One of those that were made with the memory: beside a stream that waits the driver might not make another.
  CUevent take_event() {
    if (spare_.empty()) {
      const auto over = std::partition(uses_.begin(), uses_.end(), [](const Use& use) { return !is_over(use.event); });
      for (auto use = over; use != uses_.end(); ++use) spare_.push_back(use->event);
      uses_.erase(over, uses_.end());
    }
    if (spare_.empty()) {  // all are one use of the memory's own stream from now on
      bool wrote = false;
      for (const Use& use : uses_) {
        wait(own_, use.event);
        wrote = wrote || use.wrote;
      }
      record(uses_.front().event, own_);
      for (std::size_t i = 1; i < uses_.size(); ++i) spare_.push_back(uses_[i].event);
      uses_.resize(1);
      uses_.front() = {own_, uses_.front().event, wrote};
    }
    const CUevent event = spare_.back();
    spare_.pop_back();
    return event;
  }

  void end_copy(Stream stream, bool to_host) {
    try {
      record(copied_, static_cast<CUstream>(stream));
      to_host_ = to_host;
      record_use(static_cast<CUstream>(stream), !to_host);
    } catch (const Error&) {
      is_lost_ = true;
      throw;
    }
  }

  void allocate(const std::string& where) {
    const auto& cu = driver();
    const InContext in(context_);
    check_cuda(cu.cuStreamCreateWithPriority(&own_, CU_STREAM_NON_BLOCKING, 0), "cuStreamCreateWithPriority", where);
    check_cuda(cu.cuEventCreate(&copied_, CU_EVENT_DISABLE_TIMING), "cuEventCreate", where);
    spare_.reserve(kEvents + 1);
    uses_.reserve(kEvents);
    for (std::size_t i = 0; i < kEvents; ++i) {
      CUevent event = nullptr;
      check_cuda(cu.cuEventCreate(&event, CU_EVENT_DISABLE_TIMING), "cuEventCreate", where);
      spare_.push_back(event);
    }
    const auto twice = [](auto&& call) {  // what was dropped may be free in a moment
      const CUresult result = call();
      if (result != CUDA_ERROR_OUT_OF_MEMORY) return result;
      (void)await_freeing(1000);
      return call();
    };
    check_cuda(twice([&] { return cu.cuMemAlloc(&device_, bytes_); }), "cuMemAlloc", where,
               "the GPU has no room for it: make it smaller, or end what else is there (nvidia-smi)");
    check_cuda(twice([&] { return cu.cuMemHostAlloc(&host_, bytes_, CU_MEMHOSTALLOC_PORTABLE); }), "cuMemHostAlloc",
               where, "so much memory cannot be pinned: make it smaller");
  }

  void clear() {
    const InContext in(context_);
    std::memset(host_, 0, bytes_);
    check_cuda(driver().cuMemsetD8Async(device_, 0, bytes_, own_), "cuMemsetD8Async", kUse);
    record_use(own_, true);
  }

  void free() noexcept {
    const ipcq::detail::BesideCaptures beside;
    const ipcq::detail::ContextScope scope(context_);
    if (!scope) return;  // with which it went
    const auto& cu = driver();
    if (host_ != nullptr) (void)cu.cuMemFreeHost(host_);
    if (device_ != 0) (void)cu.cuMemFree(device_);
    for (const Use& use : uses_) spare_.push_back(use.event);
    if (copied_ != nullptr) spare_.push_back(copied_);
    for (const CUevent event : spare_) (void)cu.cuEventDestroy(event);
    if (own_ != nullptr) (void)cu.cuStreamDestroy(own_);
  }

  const std::size_t bytes_;
  const int gpu_;
  Context context_;
  void* host_ = nullptr;
  CUdeviceptr device_ = 0;
  CUstream own_ = nullptr;
  CUevent copied_ = nullptr;  // behind the last copy between the sides
  bool to_host_ = false;      // it was one to the host
  bool is_lost_ = false;      // a use or copy has no event
  std::vector<Use> uses_;
  std::vector<CUevent> spare_;
};

CUstream not_of_each_thread(CUstream stream) {
  if (stream == CU_STREAM_PER_THREAD)
    throw nb::value_error("stream: the default stream of each thread (2) is another one in another thread: make one");
  return stream;
}

}  // namespace

SideMemory::Stream parse_gpu_stream(nb::handle stream) {
  if (stream.is_none())
    throw nb::type_error(
        "stream: pass the stream that uses the buffer, of PyTorch, CuPy, Numba or cuda.core, or its handle: None would "
        "be the legacy default stream, whose handle is 1");
  return not_of_each_thread(parse_stream(stream));
}

SideMemory::Stream parse_gpu_dlpack_stream(nb::handle stream, bool& no_order) {
  return not_of_each_thread(parse_dlpack_stream(stream, no_order));
}

std::unique_ptr<SideMemory> make_gpu_memory(std::size_t bytes, int gpu, bool zeroed, const std::string& where) {
  return std::make_unique<GpuMemory>(bytes, gpu, zeroed, where);
}

bool has_gpu(int gpu) noexcept {
  try {
    int count = 0;
    return driver().cuDeviceGetCount(&count) == CUDA_SUCCESS && gpu < count;
  } catch (const Error&) {
    return false;
  }
}
#else
std::unique_ptr<SideMemory> make_gpu_memory(std::size_t, int, bool, const std::string& where) {
  throw BackendError(where + ": this package was built without CUDA: install a wheel with it, or use device=None");
}
bool has_gpu(int) noexcept { return false; }
SideMemory::Stream parse_gpu_stream(nb::handle) { return nullptr; }
SideMemory::Stream parse_gpu_dlpack_stream(nb::handle, bool&) { return nullptr; }
#endif

}  // namespace ipcq::python
