#include "gpu.hpp"

#include <signal.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "control/runner_wire.hpp"

namespace ipcq::runner {

using detail::check_cuda;
using detail::CurrentContext;
using detail::driver;

Gpu::Gpu(int device) : object_("GPU " + std::to_string(device)) {
  const auto& cu = driver();
  int count = 0;
  check_cuda(cu.cuDeviceGetCount(&count), "cuDeviceGetCount", object_);
  if (device < 0 || device >= count) {
    throw BackendError(object_ + ": there is no such device; the driver shows " + std::to_string(count) +
                       " (nvidia-smi -L, CUDA_VISIBLE_DEVICES)");
  }
  check_cuda(cu.cuDeviceGet(&device_, device), "cuDeviceGet", object_);
  char text[128] = {};
  check_cuda(cu.cuDeviceGetName(text, sizeof text, device_), "cuDeviceGetName", object_);
  name_ = text;
  const auto attribute = [&](CUdevice_attribute which) {
    int value = 0;
    check_cuda(cu.cuDeviceGetAttribute(&value, which, device_), "cuDeviceGetAttribute", object_);
    return value;
  };
  capability_ = static_cast<unsigned>(10 * attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) +
                                      attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR));
  if (capability_ < 70) {
    throw BackendError(object_ + " (" + name_ +
                       "): compute capability 7.0 or later is needed; do without this GPU (backend=host)");
  }
  multiprocessors_ = static_cast<unsigned>(attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT));
  // Threads that wait for the GPU sleep.
  check_cuda(cu.cuDevicePrimaryCtxSetFlags(device_, CU_CTX_SCHED_BLOCKING_SYNC), "cuDevicePrimaryCtxSetFlags", object_);
  const CUresult retained = cu.cuDevicePrimaryCtxRetain(&context_, device_);
  if (retained == CUDA_ERROR_LAUNCH_FAILED && runs_under_mps()) {
    throw detail::NotYet(detail::describe(cu, retained, "cuDevicePrimaryCtxRetain", object_) +
                         "; a client of the MPS server has just died: try again");
  }
  check_cuda(retained, "cuDevicePrimaryCtxRetain", object_,
             "is the device in exclusive mode and in use (nvidia-smi -q -d COMPUTE)?");
}

Gpu::~Gpu() { driver().cuDevicePrimaryCtxRelease(device_); }

void Gpu::get_uuid(std::uint8_t (&uuid)[16]) const noexcept {
  CUuuid id{};
  if (driver().cuDeviceGetUuid(&id, device_) == CUDA_SUCCESS) std::memcpy(uuid, id.bytes, sizeof uuid);
}

void Gpu::check() const {
  const std::string object = object_ + ": the runner's context";
  const DeviceAllocation word(*this, sizeof(std::uint64_t), object);
  const Stream stream(*this, object);
  const CurrentContext current(context_);
  check_cuda(driver().cuMemsetD8Async(word.address(), 0, word.bytes(), stream.get()), "cuMemsetD8Async", object);
  check_cuda(driver().cuStreamSynchronize(stream.get()), "cuStreamSynchronize", object);
}

CUdeviceptr Gpu::device_address(const void* host) const {
  const CurrentContext current(context_);
  CUdeviceptr address = 0;
  check_cuda(driver().cuMemHostGetDevicePointer(&address, const_cast<void*>(host), 0), "cuMemHostGetDevicePointer",
             object_);
  return address;
}

DeviceAllocation::DeviceAllocation(const Gpu& gpu, std::uint64_t bytes, const std::string& object)
    : gpu_(gpu), bytes_(bytes) {
  const CurrentContext current(gpu.context());
  const CUresult result = driver().cuMemAlloc(&address_, bytes);
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    std::size_t free = 0, total = 0;
    driver().cuMemGetInfo(&free, &total);
    throw BackendError(gpu.object() + " (" + gpu.name() + "): " + object + " needs " + detail::format_bytes(bytes) +
                       " of device memory, " + detail::format_bytes(free) + " of " + detail::format_bytes(total) +
                       " are free; use fewer or smaller slots");
  }
  check_cuda(result, "cuMemAlloc", gpu.object());
}

DeviceAllocation::~DeviceAllocation() {
  try {
    const CurrentContext current(gpu_.context());
    driver().cuMemFree(address_);
  } catch (const Error&) {  // the context is lost, and its memory with it
  }
}

detail::DeviceMemory DeviceAllocation::exported() const {
  const CurrentContext current(gpu_.context());
  detail::DeviceMemory m;
  CUipcMemHandle handle;
  check_cuda(driver().cuIpcGetMemHandle(&handle, address_), "cuIpcGetMemHandle", gpu_.object(),
             "IPC needs a Linux host without memory virtualisation that forbids it");
  static_assert(sizeof handle == sizeof m.ipc_handle);
  std::memcpy(m.ipc_handle, &handle, sizeof handle);
  gpu_.get_uuid(m.device_uuid);
  CUdeviceptr base = 0;
  std::size_t size = 0;
  check_cuda(driver().cuMemGetAddressRange(&base, &size, address_), "cuMemGetAddressRange", gpu_.object());
  m.base_offset = address_ - base;
  m.bytes = bytes_;
  return m;
}

Stream::Stream(const Gpu& gpu, const std::string& object) : gpu_(gpu) {
  const CurrentContext current(gpu.context());
  check_cuda(driver().cuStreamCreateWithPriority(&stream_, CU_STREAM_NON_BLOCKING, 0), "cuStreamCreate", object);
}

Stream::~Stream() {
  try {
    const CurrentContext current(gpu_.context());
    driver().cuStreamDestroy(stream_);
  } catch (const Error&) {  // the context is lost
  }
}

PinnedBlock::PinnedBlock(const Gpu& gpu, std::size_t bytes, const std::string& object) : gpu_(gpu) {
  const CurrentContext current(gpu.context());
  check_cuda(driver().cuMemHostAlloc(&data_, bytes, CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP),
             "cuMemHostAlloc", object, "raise the limit of locked memory (ulimit -l unlimited)");
  std::memset(data_, 0, bytes);
}

PinnedBlock::~PinnedBlock() {
  try {
    const CurrentContext current(gpu_.context());
    driver().cuMemFreeHost(data_);
  } catch (const Error&) {  // the context is lost
  }
}

bool runs_under_mps() {
  const char* directory = std::getenv("CUDA_MPS_PIPE_DIRECTORY");
  const std::string path =
      std::string(directory != nullptr ? directory : "/tmp/nvidia-mps") + "/nvidia-cuda-mps-control.pid";
  std::FILE* const file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return false;
  int pid = 0;
  const bool read = std::fscanf(file, "%d", &pid) == 1;
  std::fclose(file);
  return read && pid > 0 && (::kill(pid, 0) == 0 || errno == EPERM);
}

}  // namespace ipcq::runner
