#include "driver.hpp"

#include <dlfcn.h>

#include <cstdint>
#include <utility>

#include "layout/limits.hpp"

namespace ipcq::detail {
namespace {

// The version of the interface that is looked up: that of the oldest toolkit that builds this file. With CUDA_VERSION a
// build by a later toolkit would get successors of the same name and other parameters (cuStreamGetCtx of 12.5,
// cuCtxGetDevice of 13.0).
constexpr int kInterface = 12040;

using GetProcAddress = CUresult (*)(const char*, void**, int, cuuint64_t, CUdriverProcAddressQueryResult*);

Driver load() {
  void* const library = ::dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);  // never closed: the user uses it too
  if (library == nullptr) {
    throw BackendError(
        "GPU: no CUDA driver on this machine (libcuda.so.1 does not load); install the NVIDIA driver, or "
        "do without a GPU (backend=host, --cpu-only)");
  }
  const auto get = reinterpret_cast<GetProcAddress>(::dlsym(library, "cuGetProcAddress_v2"));
  if (get == nullptr) throw BackendError("GPU: the CUDA driver is older than 12.0; update the NVIDIA driver");
  Driver cu;
  const auto find = [&](const char* name, auto& function) {
    void* address = nullptr;
    const CUresult result = get(name, &address, kInterface, CU_GET_PROC_ADDRESS_DEFAULT, nullptr);
    if (result != CUDA_SUCCESS || address == nullptr) {
      throw BackendError(std::string("GPU: the CUDA driver lacks ") + name + "; update the NVIDIA driver");
    }
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(address);
  };
#define IPCQ_FIND(name) find(#name, cu.name);
  IPCQ_DRIVER_FUNCTIONS(IPCQ_FIND)
#undef IPCQ_FIND
  cu.cuDriverGetVersion(&cu.version);
  if (const CUresult result = cu.cuInit(0); result != CUDA_SUCCESS) {
    throw BackendError(
        describe(cu, result, "cuInit", "GPU") +
        "; is a GPU there and visible (CUDA_VISIBLE_DEVICES, nvidia-smi)? else do without (backend=host, "
        "--cpu-only)");
  }
  return cu;
}

}  // namespace

const Driver& driver() {
  static const Driver loaded = load();
  return loaded;
}

std::string describe(const Driver& cu, CUresult result, const char* call, const std::string& object) {
  const char* name = nullptr;
  const char* text = nullptr;
  if (cu.cuGetErrorName(result, &name) != CUDA_SUCCESS) name = "unknown CUDA error";
  if (cu.cuGetErrorString(result, &text) != CUDA_SUCCESS) text = "";
  return object + ": " + call + " failed: " + name + " (" + text + ")";
}

void check_cuda(CUresult result, const char* call, const std::string& object, const std::string& remedy) {
  if (result == CUDA_SUCCESS) return;
  throw BackendError(describe(driver(), result, call, object) + (remedy.empty() ? "" : "; " + remedy));
}

Context::Context(CUcontext handle, const std::string& object) : handle_(handle) {
  check_cuda(driver().cuCtxGetId(handle, &number_), "cuCtxGetId", object);
}

bool Context::is_alive() const noexcept {
  unsigned long long number = 0;
  return driver().cuCtxGetId(handle_, &number) == CUDA_SUCCESS && number == number_;
}

RegisteredMemory::RegisteredMemory(CUcontext context, void* data, std::uint64_t bytes, const std::string& object) {
  if (bytes == 0) return;
  const auto begin = reinterpret_cast<std::uintptr_t>(data) / kPageBytes * kPageBytes;
  const auto end = (reinterpret_cast<std::uintptr_t>(data) + bytes + kPageBytes - 1) / kPageBytes * kPageBytes;
  const CurrentContext current(context);
  const CUresult result = driver().cuMemHostRegister(reinterpret_cast<void*>(begin), end - begin,
                                                     CU_MEMHOSTREGISTER_PORTABLE | CU_MEMHOSTREGISTER_DEVICEMAP);
  if (result == CUDA_ERROR_HOST_MEMORY_ALREADY_REGISTERED) return;
  check_cuda(result, "cuMemHostRegister", object, "raise the limit of locked memory (ulimit -l unlimited)");
  context_ = Context(context, object);
  data_ = reinterpret_cast<void*>(begin);
}

RegisteredMemory::~RegisteredMemory() {
  if (data_ == nullptr || !context_.is_alive()) return;  // a reset of the device has unpinned it
  try {
    const CurrentContext current(context_.handle());
    driver().cuMemHostUnregister(data_);
  } catch (const Error&) {  // the driver unloads, which unpins all
  }
}

}  // namespace ipcq::detail
