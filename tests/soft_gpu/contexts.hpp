// The contexts of the soft GPU: the primary one, which a reset ends, and others. A kernel that faults fails its
// context. The use of a stream whose context is gone, at which a real driver crashes, aborts.
#pragma once

#include <cuda.h>

#include <atomic>

struct CUctx_st {
  std::atomic<unsigned long long> number{0};  // 0: gone; unique in the process
  std::atomic<bool> failed{false};
};

namespace soft_gpu {

CUresult retain_primary(CUcontext* context, CUdevice);
CUresult reset_primary(CUdevice);
CUresult create_context(CUcontext* context, unsigned, CUdevice);
CUresult current_context(CUcontext* context);
CUresult set_context(CUcontext context);
CUresult push_context(CUcontext context);
CUresult pop_context(CUcontext* context);
CUresult number_of_context(CUcontext context, unsigned long long* number);

// The context of a stream or a function, as it was when that was made.
class Belonging {
 public:
  Belonging();  // to the current context, else to the primary one
  CUcontext context() const noexcept { return context_; }
  bool is_gone() const noexcept { return context_->number != number_; }
  bool has_failed() const noexcept { return context_->failed; }
  void fail() const noexcept { context_->failed = true; }
  // Aborts if the context is gone, as a driver crashes.
  void crash_if_gone(const char* call) const;

 private:
  CUcontext context_;
  unsigned long long number_;
};

}  // namespace soft_gpu
