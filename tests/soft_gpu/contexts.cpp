#include "contexts.hpp"

#include <cstdio>
#include <cstdlib>
#include <vector>

namespace soft_gpu {
namespace {

CUctx_st primary;
std::atomic<unsigned long long> last_number{0};
thread_local std::vector<CUcontext> current{nullptr};

void come_alive(CUctx_st& context) {
  unsigned long long gone = 0;
  if (context.number.compare_exchange_strong(gone, last_number + 1)) ++last_number;
}

}  // namespace

CUresult retain_primary(CUcontext* context, CUdevice) {
  come_alive(primary);
  *context = &primary;
  return CUDA_SUCCESS;
}

CUresult reset_primary(CUdevice) {
  primary.number = 0;
  primary.failed = false;
  return CUDA_SUCCESS;
}

CUresult create_context(CUcontext* context, unsigned, CUdevice) {
  *context = new CUctx_st;  // never destroyed
  come_alive(**context);
  return push_context(*context);
}

CUresult current_context(CUcontext* context) { return *context = current.back(), CUDA_SUCCESS; }
CUresult set_context(CUcontext context) { return current.back() = context, CUDA_SUCCESS; }
CUresult push_context(CUcontext context) { return current.push_back(context), CUDA_SUCCESS; }
CUresult pop_context(CUcontext* context) {
  *context = current.back();
  if (current.size() > 1) current.pop_back();
  return CUDA_SUCCESS;
}

CUresult number_of_context(CUcontext context, unsigned long long* number) {
  if (context == nullptr) context = current.back();
  if (context == nullptr) return CUDA_ERROR_INVALID_CONTEXT;
  *number = context->number;
  return *number != 0 ? CUDA_SUCCESS : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

Belonging::Belonging() : context_(current.back() != nullptr ? current.back() : &primary) {
  come_alive(*context_);
  number_ = context_->number;
}

void Belonging::crash_if_gone(const char* call) const {
  if (!is_gone()) return;
  std::fprintf(stderr, "soft GPU: %s on a stream that went with its context\n", call);
  std::abort();
}

}  // namespace soft_gpu
