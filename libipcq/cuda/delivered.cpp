#include "delivered.hpp"

#include <algorithm>
#include <mutex>
#include <vector>

extern "C" const unsigned char ipcq_deliver_kernels[];  // NOLINT(readability-identifier-naming): CMakeLists.txt

namespace ipcq::detail {
namespace {

// What contexts of this process have; by their numbers, since after a reset of the device another context may have the
// same handle. Never destroyed: at exit the driver unloads before it could be.
struct Contexts {
  struct Kernel {
    unsigned long long context;
    CUfunction function;
  };
  struct Spare {
    unsigned long long context;
    std::size_t bytes;
    CUdeviceptr memory;
  };
  std::mutex mutex;
  std::vector<Kernel> kernels;
  std::vector<Spare> spares;
};
Contexts& contexts() {
  static auto* const c = new Contexts;
  return *c;
}

// In the current context.
CUfunction load_kernel(const std::string& object) {
  CUmodule module = nullptr;
  CUfunction function = nullptr;
  check_cuda(driver().cuModuleLoadData(&module, ipcq_deliver_kernels), "cuModuleLoadData", object,
             "build libipcq with IPCQ_CUDA_ARCHITECTURES for this GPU");
  check_cuda(driver().cuModuleGetFunction(&function, module, "ipcq_deliver"), "cuModuleGetFunction", object);
  return function;
}

}  // namespace

DeliveredEntries::DeliveredEntries(CUcontext context, std::size_t count, const std::string& object)
    : context_(context), number_(number_of(context, object)), bytes_(count * sizeof(Delivered)) {
  const BesideCaptures beside;
  const CurrentContext current(context);
  auto& c = contexts();
  const std::scoped_lock lock(c.mutex);
  for (const auto& k : c.kernels) {
    if (k.context == number_) kernel_ = k.function;
  }
  if (kernel_ == nullptr) {
    kernel_ = load_kernel(object);
    c.kernels.push_back({number_, kernel_});
  }
  const auto spare = std::find_if(c.spares.begin(), c.spares.end(),
                                  [this](const auto& s) { return s.context == number_ && s.bytes == bytes_; });
  if (spare != c.spares.end()) {
    memory_ = spare->memory;
    c.spares.erase(spare);
    return;
  }
  c.spares.reserve(c.spares.capacity() + 1);  // the destructor finds room
  check_cuda(driver().cuMemAlloc(&memory_, bytes_), "cuMemAlloc", object, "free device memory");
}

DeliveredEntries::~DeliveredEntries() {
  auto& c = contexts();
  const std::scoped_lock lock(c.mutex);
  c.spares.push_back({number_, bytes_, memory_});
}

CUresult DeliveredEntries::enqueue(cuda::Stream stream, const Delivered& from, const Word* tomb, std::uint64_t lease,
                                   Delivered* to) const noexcept {
  const ContextScope scope(context_);
  const Delivered* source = &from;
  const std::uint64_t* asked = tomb != nullptr ? &tomb->raw : nullptr;
  void* arguments[] = {&source, &asked, &lease, &to};
  return driver().cuLaunchKernel(kernel_, 1, 1, 1, sizeof(Delivered) / 16, 1, 1, 0, stream, arguments, nullptr);
}

}  // namespace ipcq::detail
