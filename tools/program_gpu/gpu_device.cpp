#include "program_gpu/gpu_device.hpp"

#include <cstdlib>
#include <driver.hpp>

#include <fmt/format.h>

#include "program_gpu/frames.hpp"

extern "C" const unsigned char
    ipcq_frames_kernels[];  // NOLINT(readability-identifier-naming): tools/program_gpu/CMakeLists.txt

namespace ipcq::program {

using detail::check_cuda;
using detail::driver;

GpuDevice::GpuDevice(int ordinal) : ordinal_(ordinal) {
  // By default the driver loads a kernel at its first launch, and waits there for streams that wait for a message.
  ::setenv("CUDA_MODULE_LOADING", "EAGER", 0);
  const auto& cu = driver();
  const auto object = fmt::format("GPU {}", ordinal);
  int count = 0;
  check_cuda(cu.cuDeviceGetCount(&count), "cuDeviceGetCount", object);
  if (ordinal >= count) {
    throw BackendError(
        fmt::format("{}: there are {} (numbers from 0); see nvidia-smi and CUDA_VISIBLE_DEVICES", object, count));
  }
  try {
    CUdevice device = 0;
    check_cuda(cu.cuDeviceGet(&device, ordinal), "cuDeviceGet", object);
    check_cuda(cu.cuDevicePrimaryCtxRetain(&context_, device), "cuDevicePrimaryCtxRetain", object,
               "see `ipcq doctor`: compute mode, memory and other users of the GPU");
    device_ = device;
    check_cuda(cu.cuCtxSetCurrent(context_), "cuCtxSetCurrent", object);
    check_cuda(cu.cuStreamCreateWithPriority(&stream_, CU_STREAM_NON_BLOCKING, 0), "cuStreamCreate", object);
    check_cuda(cu.cuModuleLoadData(&module_, ipcq_frames_kernels), "cuModuleLoadData", object,
               "build with IPCQ_CUDA_ARCHITECTURES for this GPU");
  } catch (...) {
    release();
    throw;
  }
}

GpuDevice::~GpuDevice() { release(); }

// Ignores errors: they mean that the driver unloads or the context has failed, and nothing is left to release.
void GpuDevice::release() noexcept {
  if (device_ < 0) return;
  const auto& cu = driver();
  if (module_ != nullptr) cu.cuModuleUnload(module_);
  if (stream_ != nullptr) cu.cuStreamDestroy(stream_);
  cu.cuCtxSetCurrent(nullptr);
  cu.cuDevicePrimaryCtxRelease(device_);
}

GpuDevice::Kernel GpuDevice::kernel(const char* name) const {
  const auto& cu = driver();
  const auto object = fmt::format("kernel {} on GPU {}", name, ordinal_);
  Kernel kernel;
  int blocks = 0, processors = 0;
  check_cuda(cu.cuModuleGetFunction(&kernel.function, module_, name), "cuModuleGetFunction", object);
  check_cuda(cu.cuOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, kernel.function, kFrameThreads, 0),
             "cuOccupancyMaxActiveBlocksPerMultiprocessor", object);
  check_cuda(cu.cuDeviceGetAttribute(&processors, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, device_),
             "cuDeviceGetAttribute", object);
  kernel.blocks = static_cast<unsigned>(blocks * processors);
  return kernel;
}

void GpuDevice::launch(const Kernel& kernel, void** arguments) const {
  check_cuda(driver().cuLaunchKernel(kernel.function, kernel.blocks, 1, 1, kFrameThreads, 1, 1, 0, stream_, arguments,
                                     nullptr),
             "cuLaunchKernel", fmt::format("GPU {}", ordinal_));
}

void GpuDevice::finish() const {
  check_cuda(driver().cuStreamSynchronize(stream_), "cuStreamSynchronize", fmt::format("GPU {}", ordinal_));
}

}  // namespace ipcq::program
