#include "context_scope.hpp"

namespace ipcq::detail {

ContextScope::ContextScope(const Context& context) noexcept {
  if (!context.is_alive()) return;
  CUcontext current = nullptr;
  const Driver& cu = driver();
  usable_ = cu.cuCtxGetCurrent(&current) == CUDA_SUCCESS && current == context.handle();
  if (usable_) return;
  // A call that names a special stream (null, per thread) means that of the current context, so this one is made
  // current.
  usable_ = pushed_ = cu.cuCtxPushCurrent(context.handle()) == CUDA_SUCCESS;
}

ContextScope::~ContextScope() {
  CUcontext ignored = nullptr;
  if (pushed_) driver().cuCtxPopCurrent(&ignored);
}

void BesideCaptures::exchange() noexcept { driver().cuThreadExchangeStreamCaptureMode(&mode_); }

ProbeStream::ProbeStream(const Context& context, const std::string& object) : context_(context) {
  const CurrentContext current(context.handle());
  check_cuda(driver().cuStreamCreateWithPriority(&stream_, CU_STREAM_NON_BLOCKING, 0), "cuStreamCreateWithPriority",
             object, "if this process' CUDA context has failed, start the process anew (cudaGetLastError() tells)");
}

ProbeStream::~ProbeStream() {
  const ContextScope scope(context_);
  if (scope) driver().cuStreamDestroy(stream_);
}

CUresult ProbeStream::query() const noexcept {
  const BesideCaptures beside;
  const ContextScope scope(context_);
  return scope ? driver().cuStreamQuery(stream_) : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

bool is_of_a_capture(CUresult result) noexcept {
  return result >= CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED && result <= CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD;
}

}  // namespace ipcq::detail
