#include "delivered.hpp"

#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

#include "protocol/doorbell.hpp"

extern "C" const unsigned char ipcq_deliver_kernels[];  // NOLINT(readability-identifier-naming): CMakeLists.txt

namespace ipcq::detail {
namespace {

// What contexts of this process have. Never destroyed: at exit the driver unloads before it could be.
struct Contexts {
  struct Kernel {
    Context context;
    CUfunction function;
  };
  struct Spare {
    Context context;
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

DeliveredEntries::DeliveredEntries(const Context& context, std::size_t count, const std::string& object)
    : context_(context), count_(count), bytes_(count * (sizeof(Delivered) + sizeof(unsigned long long))) {
  const BesideCaptures beside;
  const CurrentContext current(context.handle());
  auto& c = contexts();
  const std::scoped_lock lock(c.mutex);
  for (const auto& k : c.kernels) {
    if (k.context == context_) kernel_ = k.function;
  }
  if (kernel_ == nullptr) {
    kernel_ = load_kernel(object);
    c.kernels.push_back({context_, kernel_});
  }
  const auto spare = std::find_if(c.spares.begin(), c.spares.end(),
                                  [this](const auto& s) { return s.context == context_ && s.bytes == bytes_; });
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
  c.spares.push_back({context_, bytes_, memory_});
}

std::uint64_t DeliveredEntries::next_use() noexcept {
  static std::atomic<std::uint64_t> last{now_ns() * 0x9e3779b97f4a7c15};
  return last.fetch_add(1, std::memory_order_relaxed) & ~std::uint64_t{0} >> 2;
}

CUresult DeliveredEntries::enqueue(cuda::Stream stream, const Delivered& from, const Word* tomb, std::uint64_t lease,
                                   Delivered* to) const noexcept {
  const ContextScope scope(context_);
  if (!scope) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  const Delivered* source = &from;
  const std::uint64_t* asked = tomb != nullptr ? &tomb->raw : nullptr;
  void* arguments[] = {&source, &asked, &lease, &to};
  return driver().cuLaunchKernel(kernel_, 1, 1, 1, kDeliveredUnits, 1, 1, 0, stream, arguments, nullptr);
}

}  // namespace ipcq::detail
