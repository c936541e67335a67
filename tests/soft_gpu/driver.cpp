// libcuda.so.1 without a GPU: the part of the driver API that this project looks up. Device memory is shared memory,
// streams are queues of work (streams.cpp), kernels run on the CPU (kernels.cpp). It keeps what on a GPU leads to
// hangs: streams share hardware queues, in which work waits for what stands before it, and calls that wait for kernels
// do.
#include <cuda.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <type_traits>
#include <vector>

#include "kernels.hpp"
#include "layout/limits.hpp"
#include "simt.hpp"
#include "streams.hpp"

struct CUfunc_st {
  const soft_gpu::Kernel* kernel;  // null: the one that faults
  soft_gpu::Belonging belonging;
};

namespace {

using namespace soft_gpu;

template <class T>
T* pointer(CUdeviceptr p) {
  return reinterpret_cast<T*>(p);
}

// ---- memory ----

struct Allocation {
  std::size_t bytes = 0;
  int fd = -1;
};
std::mutex memory_mutex;
std::map<CUdeviceptr, Allocation> memory;

struct Handle {  // in a CUipcMemHandle
  std::int32_t pid, fd;
  std::uint64_t bytes;
};

CUresult map(CUdeviceptr* p, int fd, std::size_t bytes) {
  void* const data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (data == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  *p = reinterpret_cast<CUdeviceptr>(data);
  const std::scoped_lock lock(memory_mutex);
  memory[*p] = {bytes, fd};
  return CUDA_SUCCESS;
}

// A driver that hangs, where $IPCQ_SOFT_GPU_HANGS names a file: that it has made when it does.
void hang_if_told() {
  const char* const file = std::getenv("IPCQ_SOFT_GPU_HANGS");
  if (file == nullptr) return;
  ::close(::open(file, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  for (;;) ::pause();
}

CUresult allocate(CUdeviceptr* p, std::size_t bytes) {
  hang_if_told();
  const int fd = ::memfd_create("soft-gpu", MFD_CLOEXEC);
  if (fd < 0 || ::ftruncate(fd, static_cast<off_t>(bytes)) != 0) return CUDA_ERROR_OUT_OF_MEMORY;
  return map(p, fd, bytes);
}

CUresult release(CUdeviceptr p) {
  await_streams();
  const std::scoped_lock lock(memory_mutex);
  const auto it = memory.find(p);
  if (it == memory.end()) return CUDA_ERROR_INVALID_VALUE;
  ::munmap(pointer<void>(p), it->second.bytes);
  ::close(it->second.fd);
  memory.erase(it);
  return CUDA_SUCCESS;
}

CUresult export_memory(CUipcMemHandle* handle, CUdeviceptr p) {
  const std::scoped_lock lock(memory_mutex);
  const auto it = memory.find(p);
  if (it == memory.end()) return CUDA_ERROR_INVALID_VALUE;
  const Handle h{static_cast<std::int32_t>(::getpid()), it->second.fd, it->second.bytes};
  std::memset(handle, 0, sizeof *handle);
  std::memcpy(handle, &h, sizeof h);
  return CUDA_SUCCESS;
}

CUresult import_memory(CUdeviceptr* p, CUipcMemHandle handle, unsigned) {
  Handle h;
  std::memcpy(&h, &handle, sizeof h);
  const std::string path = "/proc/" + std::to_string(h.pid) + "/fd/" + std::to_string(h.fd);
  const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC);
  return fd < 0 ? CUDA_ERROR_INVALID_VALUE : map(p, fd, h.bytes);
}

CUresult range_of(CUdeviceptr* base, std::size_t* bytes, CUdeviceptr p) {
  const std::scoped_lock lock(memory_mutex);
  auto it = memory.upper_bound(p);
  if (it == memory.begin()) return CUDA_ERROR_INVALID_VALUE;
  --it;
  if (p >= it->first + it->second.bytes) return CUDA_ERROR_INVALID_VALUE;
  if (base != nullptr) *base = it->first;
  if (bytes != nullptr) *bytes = it->second.bytes;
  return CUDA_SUCCESS;
}

std::map<std::uintptr_t, std::size_t> pinned;  // under memory_mutex

CUresult pin(void* p, std::size_t bytes, unsigned) {
  if (spoils_capture()) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  await_kernels();
  const std::scoped_lock lock(memory_mutex);
  return pinned.emplace(reinterpret_cast<std::uintptr_t>(p), bytes).second ? CUDA_SUCCESS
                                                                           : CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED;
}

CUresult unpin(void* p) {
  await_streams();
  const std::scoped_lock lock(memory_mutex);
  return pinned.erase(reinterpret_cast<std::uintptr_t>(p)) == 1 ? CUDA_SUCCESS : CUDA_ERROR_HOST_MEMORY_NOT_REGISTERED;
}

bool is_pinned(const void* p) {
  const std::scoped_lock lock(memory_mutex);
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  auto it = pinned.upper_bound(address);
  return it != pinned.begin() && address - std::prev(it)->first < std::prev(it)->second;
}

CUresult allocate_host(void** p, std::size_t bytes, unsigned flags) {
  using ipcq::detail::kPageBytes;
  *p = std::aligned_alloc(kPageBytes, (bytes + kPageBytes - 1) / kPageBytes * kPageBytes);
  return *p != nullptr ? pin(*p, bytes, flags) : CUDA_ERROR_OUT_OF_MEMORY;
}

CUresult free_host(void* p) {
  const CUresult r = unpin(p);
  std::free(p);
  return r;
}

// ---- streams ----

CUresult launch(CUfunction f, unsigned blocks, unsigned, unsigned, unsigned threads, unsigned, unsigned, unsigned,
                CUstream s, void** arguments, void**) {
  if (f->belonging.is_gone() || f->belonging.context() != s->belonging.context()) return CUDA_ERROR_INVALID_HANDLE;
  if (f->kernel == nullptr) return enqueue(s, [belonging = s->belonging] { belonging.fail(); });
  return enqueue(s, [=, kernel = (*f->kernel)(arguments)] {
    ++kernels_running;
    soft_gpu::run_grid(blocks, threads, kernel);
    --kernels_running;
  });
}

// What a real GPU would fault at.
void require_pinned(CUdeviceptr p) {
  if (is_pinned(pointer<void>(p))) return;
  std::fprintf(stderr, "soft GPU: a stream operation at %p, which is not pinned (any more)\n", pointer<void>(p));
  std::abort();
}

template <class T>
CUresult wait_value(CUstream s, CUdeviceptr p, T value, unsigned) {
  ++waits_pending;  // until it has waited, or never will
  const std::shared_ptr<void> counted(nullptr, [](void*) { --waits_pending; });
  return enqueue(s, [=, belonging = s->belonging] {
    require_pinned(p);
    using Signed = std::make_signed_t<T>;
    const auto is_over = [&] { return belonging.is_gone() || belonging.has_failed(); };
    while (!is_over() && static_cast<Signed>(__atomic_load_n(pointer<T>(p), __ATOMIC_ACQUIRE) - value) < 0) rest();
    (void)counted;
  });
}

CUresult write_value(CUstream s, CUdeviceptr p, cuuint64_t value, unsigned) {
  return enqueue(s, [=] {
    require_pinned(p);
    __atomic_store_n(pointer<cuuint64_t>(p), value, __ATOMIC_RELEASE);
  });
}

// Pinned memory is read when the copy's turn comes, other memory now.
CUresult copy_in(CUdeviceptr to, const void* from, std::size_t bytes, CUstream s) {
  if (is_pinned(from)) return enqueue(s, [=] { std::memcpy(pointer<void>(to), from, bytes); });
  const auto* const begin = static_cast<const char*>(from);
  return enqueue(s, [to, content = std::vector<char>(begin, begin + bytes)] {
    std::memcpy(pointer<void>(to), content.data(), content.size());
  });
}

// ---- the table ----

CUresult attribute(int* value, CUdevice_attribute which, CUdevice) {
  *value = which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR   ? 9
           : which == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR ? 0
           : which == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT     ? 8
                                                                   : 1;
  return CUDA_SUCCESS;
}

CUresult name_of(CUresult r, const char** text) {
  *text = r == CUDA_SUCCESS ? "CUDA_SUCCESS" : "an error of the soft GPU";
  return CUDA_SUCCESS;
}

soft_gpu::Image* image_of(CUmodule module) { return reinterpret_cast<soft_gpu::Image*>(module); }

template <class T>
void* entry(T function) {
  return reinterpret_cast<void*>(function);
}

const std::map<std::string, void*>& table() {  // NOLINT(readability-function-size): one line a driver's function
  static const std::map<std::string, void*> entries{
      {"cuInit", entry(+[](unsigned) { return CUDA_SUCCESS; })},
      {"cuDriverGetVersion", entry(+[](int* v) { return *v = 13000, CUDA_SUCCESS; })},
      {"cuGetErrorName", entry(name_of)},
      {"cuGetErrorString", entry(name_of)},
      {"cuDeviceGetCount", entry(+[](int* n) { return *n = 1, CUDA_SUCCESS; })},
      {"cuDeviceGet", entry(+[](CUdevice* d, int) { return *d = 0, CUDA_SUCCESS; })},
      {"cuDeviceGetName", entry(+[](char* text, int bytes, CUdevice) {
         return std::snprintf(text, static_cast<std::size_t>(bytes), "soft GPU"), CUDA_SUCCESS;
       })},
      {"cuDeviceGetUuid", entry(+[](CUuuid* id, CUdevice) { return std::memset(id, 7, sizeof *id), CUDA_SUCCESS; })},
      {"cuDeviceGetAttribute", entry(attribute)},
      {"cuDeviceTotalMem", entry(+[](std::size_t* n, CUdevice) { return *n = std::size_t{1} << 32, CUDA_SUCCESS; })},
      {"cuDevicePrimaryCtxSetFlags", entry(+[](CUdevice, unsigned) { return CUDA_SUCCESS; })},
      {"cuDevicePrimaryCtxRetain", entry(retain_primary)},
      {"cuDevicePrimaryCtxReset", entry(+[](CUdevice d) {
         {
           const std::scoped_lock lock(memory_mutex);
           pinned.clear();
         }
         return reset_primary(d);
       })},
      {"cuCtxCreate", entry(create_context)},
      {"cuDevicePrimaryCtxRelease", entry(+[](CUdevice) { return CUDA_SUCCESS; })},
      {"cuCtxGetCurrent", entry(current_context)},
      {"cuCtxSetCurrent", entry(set_context)},
      {"cuCtxPushCurrent", entry(push_context)},
      {"cuCtxPopCurrent", entry(pop_context)},
      {"cuCtxGetDevice", entry(+[](CUdevice* d) { return *d = 0, CUDA_SUCCESS; })},
      {"cuCtxGetId", entry(number_of_context)},
      {"cuCtxSynchronize", entry(+[] { return await_kernels(), CUDA_SUCCESS; })},
      {"cuStreamGetCtx", entry(+[](CUstream s, CUcontext* c) {
         if (s == nullptr) return current_context(c);
         s->belonging.crash_if_gone("cuStreamGetCtx");
         return *c = s->belonging.context(), CUDA_SUCCESS;
       })},
      {"cuMemAlloc", entry(allocate)},
      {"cuMemFree", entry(release)},
      {"cuMemGetInfo",
       entry(+[](std::size_t* f, std::size_t* t) { return *f = *t = std::size_t{1} << 32, CUDA_SUCCESS; })},
      {"cuMemGetAddressRange", entry(range_of)},
      {"cuMemHostAlloc", entry(allocate_host)},
      {"cuMemFreeHost", entry(free_host)},
      {"cuMemHostRegister", entry(pin)},
      {"cuMemHostUnregister", entry(unpin)},
      {"cuMemHostGetDevicePointer",
       entry(+[](CUdeviceptr* d, void* p, unsigned) { return *d = reinterpret_cast<CUdeviceptr>(p), CUDA_SUCCESS; })},
      {"cuIpcGetMemHandle", entry(export_memory)},
      {"cuIpcOpenMemHandle", entry(import_memory)},
      {"cuIpcCloseMemHandle", entry(release)},
      // A module is null for the project's own kernels.
      {"cuModuleLoadData", entry(+[](CUmodule* m, const void* image) {
         *m = reinterpret_cast<CUmodule>(soft_gpu::Image::load(image));
         return *m == nullptr && soft_gpu::Image::is_one(image) ? CUDA_ERROR_INVALID_IMAGE : CUDA_SUCCESS;
       })},
      {"cuModuleUnload", entry(+[](CUmodule m) { return delete image_of(m), CUDA_SUCCESS; })},
      {"cuModuleGetGlobal", entry(+[](CUdeviceptr* d, std::size_t* bytes, CUmodule m, const char* name) {
         *d = m != nullptr ? reinterpret_cast<CUdeviceptr>(image_of(m)->find_global(name, *bytes)) : 0;
         return *d != 0 ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND;
       })},
      {"cuModuleGetFunction", entry(+[](CUfunction* f, CUmodule m, const char* name) {
         const soft_gpu::Kernel* const kernel =
             m != nullptr ? image_of(m)->find_kernel(name) : soft_gpu::find_kernel(name);
         if (kernel == nullptr && std::string(name) != "fault") return CUDA_ERROR_NOT_FOUND;
         *f = new CUfunc_st{kernel, {}};
         return CUDA_SUCCESS;
       })},
      {"cuLaunchKernel", entry(launch)},
      {"cuMemcpyHtoDAsync", entry(copy_in)},
      {"cuMemcpyDtoDAsync", entry(+[](CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream s) {
         return enqueue(s, [=] { std::memcpy(pointer<void>(to), pointer<void>(from), bytes); });
       })},
      {"cuMemcpyDtoHAsync", entry(+[](void* to, CUdeviceptr from, std::size_t bytes, CUstream s) {
         return enqueue(s, [=] { std::memcpy(to, pointer<void>(from), bytes); });
       })},
      {"cuMemsetD8Async", entry(+[](CUdeviceptr p, unsigned char v, std::size_t bytes, CUstream s) {
         return enqueue(s, [=] { std::memset(pointer<void>(p), v, bytes); });
       })},
      {"cuStreamCreateWithPriority",
       entry(+[](CUstream* s, unsigned, int) { return *s = new CUstream_st, CUDA_SUCCESS; })},
      {"cuStreamDestroy", entry(+[](CUstream s) { return delete s, CUDA_SUCCESS; })},
      {"cuStreamBeginCapture", entry(begin_capture)},
      {"cuStreamEndCapture", entry(end_capture)},
      {"cuStreamIsCapturing", entry(+[](CUstream s, CUstreamCaptureStatus* status) {
         if (s != nullptr) s->belonging.crash_if_gone("cuStreamIsCapturing");
         return *status = s != nullptr ? s->capture.load() : CU_STREAM_CAPTURE_STATUS_NONE, CUDA_SUCCESS;
       })},
      {"cuThreadExchangeStreamCaptureMode", entry(exchange_capture_mode)},
      {"cuStreamQuery", entry(query)},
      {"cuStreamSynchronize", entry(synchronize)},
      {"cuEventCreate", entry(create_event)},
      {"cuEventDestroy", entry(destroy_event)},
      {"cuEventQuery", entry(query_event)},
      {"cuEventRecord", entry(record_event)},
      {"cuStreamWaitEvent", entry(wait_for_event)},
      {"cuStreamWaitValue32", entry(wait_value<cuuint32_t>)},
      {"cuStreamWaitValue64", entry(wait_value<cuuint64_t>)},
      {"cuStreamWriteValue64", entry(write_value)},
  };
  return entries;
}

CUresult not_supported() { return CUDA_ERROR_NOT_SUPPORTED; }

}  // namespace

extern "C" __attribute__((visibility("default"))) CUresult cuGetProcAddress_v2(const char* name, void** function, int,
                                                                               cuuint64_t,
                                                                               CUdriverProcAddressQueryResult*) {
  const auto it = table().find(name);
  *function = it != table().end() ? it->second : entry(not_supported);
  return CUDA_SUCCESS;
}
