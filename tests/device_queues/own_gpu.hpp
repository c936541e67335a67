// GPU 0 as a test's process uses it, with the kernels of kernels.cu. Throws BackendError where there is none.
#pragma once

#include <cstdint>

#include "driver.hpp"

extern "C" const unsigned char ipcq_gpu_test_kernels[];

namespace ipcq_test {

using ipcq::detail::check_cuda;
using ipcq::detail::driver;

class OwnGpu {
 public:
  OwnGpu() {
    const auto& cu = driver();
    check_cuda(cu.cuDeviceGet(&device_, 0), "cuDeviceGet", "GPU 0");
    check_cuda(cu.cuDevicePrimaryCtxRetain(&context_, device_), "cuDevicePrimaryCtxRetain", "GPU 0");
    check_cuda(cu.cuCtxSetCurrent(context_), "cuCtxSetCurrent", "GPU 0");
    check_cuda(cu.cuModuleLoadData(&module_, ipcq_gpu_test_kernels), "cuModuleLoadData", "test kernels");
    check_cuda(cu.cuStreamCreateWithPriority(&stream_, CU_STREAM_NON_BLOCKING, 0), "cuStreamCreate", "GPU 0");
  }
  ~OwnGpu() {
    driver().cuStreamDestroy(stream_);
    driver().cuDevicePrimaryCtxRelease(device_);
  }
  OwnGpu(const OwnGpu&) = delete;
  OwnGpu& operator=(const OwnGpu&) = delete;

  CUcontext context() const { return context_; }
  CUstream stream() const { return stream_; }
  CUfunction kernel(const char* name) const {
    CUfunction f = nullptr;
    check_cuda(driver().cuModuleGetFunction(&f, module_, name), "cuModuleGetFunction", name);
    return f;
  }
  template <class... Arguments>
  void launch(CUfunction f, unsigned blocks, unsigned threads, Arguments... arguments) const {
    void* pointers[] = {&arguments...};
    check_cuda(driver().cuLaunchKernel(f, blocks, 1, 1, threads, 1, 1, 0, stream_, pointers, nullptr), "cuLaunchKernel",
               "test");
  }
  void synchronize() const { check_cuda(driver().cuStreamSynchronize(stream_), "cuStreamSynchronize", "test"); }
  // Allocates zeroed device memory or pinned memory, which is freed with the context.
  template <class T>
  T* allocate() const {
    CUdeviceptr at = 0;
    check_cuda(driver().cuMemAlloc(&at, sizeof(T)), "cuMemAlloc", "test");
    check_cuda(driver().cuMemsetD8Async(at, 0, sizeof(T), stream_), "cuMemsetD8Async", "test");
    synchronize();
    return reinterpret_cast<T*>(at);
  }
  template <class T>
  T fetch(const T* from) const {
    T value{};
    check_cuda(driver().cuMemcpyDtoHAsync(&value, reinterpret_cast<CUdeviceptr>(from), sizeof value, stream_),
               "cuMemcpyDtoHAsync", "test");
    synchronize();
    return value;
  }

 private:
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  CUmodule module_ = nullptr;
  CUstream stream_ = nullptr;
};

}  // namespace ipcq_test
