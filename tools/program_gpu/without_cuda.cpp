// Replaces gpu_device.cpp in a build without CUDA.
#include <ipcq/error.hpp>

#include "program_gpu/gpu_device.hpp"

namespace ipcq::program {

GpuDevice::GpuDevice(int ordinal) : ordinal_(ordinal) {
  throw BackendError("GPU: these programs were built without CUDA; build them where nvcc is, or work on the CPU");
}

GpuDevice::~GpuDevice() = default;

}  // namespace ipcq::program
