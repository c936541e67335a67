// The CUDA driver API, looked up at run time: nothing links libcuda, so that a program starts without a driver and can
// say what is missing. Errors name the call, the object and a remedy.
//
// The functions are thread-safe. A CurrentContext belongs to the thread that makes it.
#pragma once

#include <cuda.h>

#include <cstdint>
#include <string>

#include "ipcq/error.hpp"

namespace ipcq::detail {

// X(name as in cuda.h). cuGetProcAddress gives the version that had these parameters in CUDA 12.4.
#define IPCQ_DRIVER_FUNCTIONS(X)                 \
  X(cuCtxGetCurrent)                             \
  X(cuCtxGetDevice)                              \
  X(cuCtxGetId)                                  \
  X(cuCtxPopCurrent)                             \
  X(cuCtxPushCurrent)                            \
  X(cuCtxSetCurrent)                             \
  X(cuDeviceCanAccessPeer)                       \
  X(cuDeviceGet)                                 \
  X(cuDeviceGetAttribute)                        \
  X(cuDeviceGetCount)                            \
  X(cuDeviceGetName)                             \
  X(cuDeviceGetUuid)                             \
  X(cuDevicePrimaryCtxRelease)                   \
  X(cuDevicePrimaryCtxRetain)                    \
  X(cuDevicePrimaryCtxSetFlags)                  \
  X(cuDeviceTotalMem)                            \
  X(cuDriverGetVersion)                          \
  X(cuEventCreate)                               \
  X(cuEventDestroy)                              \
  X(cuEventElapsedTime)                          \
  X(cuEventQuery)                                \
  X(cuEventRecord)                               \
  X(cuGetErrorName)                              \
  X(cuGetErrorString)                            \
  X(cuInit)                                      \
  X(cuIpcCloseMemHandle)                         \
  X(cuIpcGetMemHandle)                           \
  X(cuIpcOpenMemHandle)                          \
  X(cuLaunchKernel)                              \
  X(cuMemAlloc)                                  \
  X(cuMemFree)                                   \
  X(cuMemFreeHost)                               \
  X(cuMemGetAddressRange)                        \
  X(cuMemGetInfo)                                \
  X(cuMemHostAlloc)                              \
  X(cuMemHostGetDevicePointer)                   \
  X(cuMemHostRegister)                           \
  X(cuMemHostUnregister)                         \
  X(cuMemcpyDtoDAsync)                           \
  X(cuMemcpyDtoHAsync)                           \
  X(cuMemcpyHtoDAsync)                           \
  X(cuMemsetD8Async)                             \
  X(cuModuleGetFunction)                         \
  X(cuModuleGetGlobal)                           \
  X(cuModuleLoadData)                            \
  X(cuModuleUnload)                              \
  X(cuOccupancyMaxActiveBlocksPerMultiprocessor) \
  X(cuStreamCreateWithPriority)                  \
  X(cuStreamDestroy)                             \
  X(cuStreamGetCtx)                              \
  X(cuStreamIsCapturing)                         \
  X(cuStreamQuery)                               \
  X(cuStreamSynchronize)                         \
  X(cuStreamWaitEvent)                           \
  X(cuStreamWaitValue32)                         \
  X(cuStreamWaitValue64)                         \
  X(cuStreamWriteValue64)                        \
  X(cuThreadExchangeStreamCaptureMode)

// More than 25 members: one for each function of the driver that is called.
struct Driver {
#define IPCQ_DECLARE(name) decltype(&::name) name = nullptr;  // NOLINT(bugprone-macro-parentheses): it declares
  IPCQ_DRIVER_FUNCTIONS(IPCQ_DECLARE)
#undef IPCQ_DECLARE
  int version = 0;  // as cuDriverGetVersion gives it: 13000 is CUDA 13.0
};

// The driver of this machine, loaded and initialised by the first call. Throws BackendError: no driver, no GPU, driver
// too old; the next call then tries again.
const Driver& driver();

// "cuMemAlloc of pool 'frames' failed: CUDA_ERROR_OUT_OF_MEMORY (out of memory)".
std::string describe(const Driver& cu, CUresult result, const char* call, const std::string& object);
// Throws BackendError unless `result` is success. `remedy` may be empty.
void check_cuda(CUresult result, const char* call, const std::string& object, const std::string& remedy = {});

// A context by handle and number. The handle is not enough: after cudaDeviceReset() the next context has the same one,
// and the driver crashes on streams of the former (seen with driver 580). So code that kept a context checks is_alive()
// before it passes anything of it to the driver.
class Context {
 public:
  Context() noexcept = default;
  // Throws BackendError.
  Context(CUcontext handle, const std::string& object);
  CUcontext handle() const noexcept { return handle_; }
  // False after a reset of its device, and once the driver unloads at the process' end.
  bool is_alive() const noexcept;
  friend bool operator==(const Context&, const Context&) noexcept = default;

 private:
  CUcontext handle_ = nullptr;
  unsigned long long number_ = 0;  // unique in the process
};

// Makes a context current in this thread while it lives.
class CurrentContext {
 public:
  explicit CurrentContext(CUcontext context) {
    check_cuda(driver().cuCtxPushCurrent(context), "cuCtxPushCurrent", "GPU");
  }
  ~CurrentContext() {
    CUcontext ignored = nullptr;
    driver().cuCtxPopCurrent(&ignored);
  }
  CurrentContext(const CurrentContext&) = delete;
  CurrentContext& operator=(const CurrentContext&) = delete;
};

// Pins existing memory, for the GPU of every context of this process, while it lives.
class RegisteredMemory {
 public:
  RegisteredMemory() noexcept = default;
  // Pins whole pages around [data, data + bytes). Memory that other code of this process has pinned is left to that
  // code.
  RegisteredMemory(CUcontext context, void* data, std::uint64_t bytes, const std::string& object);
  RegisteredMemory(RegisteredMemory&& other) noexcept { swap(other); }
  RegisteredMemory& operator=(RegisteredMemory&& other) noexcept {
    swap(other);
    return *this;
  }
  ~RegisteredMemory();

 private:
  void swap(RegisteredMemory& other) noexcept {
    std::swap(context_, other.context_);
    std::swap(data_, other.data_);
  }
  Context context_;
  void* data_ = nullptr;
};

}  // namespace ipcq::detail
