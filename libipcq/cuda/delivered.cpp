#include "delivered.hpp"

#include <atomic>
#include <mutex>
#include <vector>

#include "context_scope.hpp"
#include "protocol/doorbell.hpp"
#include "spare_memory.hpp"

extern "C" const unsigned char ipcq_deliver_kernels[];  // NOLINT(readability-identifier-naming): CMakeLists.txt

namespace ipcq::detail {
namespace {

// The kernel's handle in each context of this process. Never destroyed: a static destructor would run after the driver
// has unloaded.
struct Kernels {
  struct Kernel {
    Context context;
    CUfunction function;
  };
  std::mutex mutex;
  std::vector<Kernel> all;
};
Kernels& kernels() {
  static auto* const k = new Kernels;
  return *k;
}

SpareMemory<CUdeviceptr>& spares() {
  static auto* const s = new SpareMemory<CUdeviceptr>;
  return *s;
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

// The kernel in `context`, which is current. Loads it at the first call.
CUfunction kernel_of(const Context& context, const std::string& object) {
  auto& k = kernels();
  const std::scoped_lock lock(k.mutex);
  for (const auto& known : k.all) {
    if (known.context == context) return known.function;
  }
  k.all.push_back({context, load_kernel(object)});
  return k.all.back().function;
}

}  // namespace

DeliveredEntries::DeliveredEntries(const Context& context, std::size_t count, const std::string& object)
    : context_(context), count_(count), bytes_(count * (sizeof(Delivered) + sizeof(unsigned long long))) {
  const BesideCaptures beside;
  const CurrentContext current(context.handle());
  kernel_ = kernel_of(context_, object);
  if (const auto spare = spares().take(context_, bytes_)) {
    memory_ = *spare;
    return;
  }
  check_cuda(driver().cuMemAlloc(&memory_, bytes_), "cuMemAlloc", object, "free device memory");
}

DeliveredEntries::~DeliveredEntries() { spares().keep(context_, bytes_, memory_); }

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
