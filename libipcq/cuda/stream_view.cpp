#include "stream_view.hpp"

#include "exit_guard.hpp"

namespace ipcq::detail {

bool is_capturing(cuda::Stream stream) noexcept {
  CUstreamCaptureStatus status = CU_STREAM_CAPTURE_STATUS_NONE;
  const CUresult result = driver().cuStreamIsCapturing(stream, &status);
  return is_of_a_capture(result) || (result == CUDA_SUCCESS && status != CU_STREAM_CAPTURE_STATUS_NONE);
}

CUresult enqueue_write(const View& view, cuda::Stream stream, Word& word, std::uint64_t value) noexcept {
  const ContextScope scope(view.context);
  if (!scope) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  // SYNC gpub (release, system): the stream's earlier work before the word; the default flag fences.
  // Pairs with: reached.
  return driver().cuStreamWriteValue64(stream, reinterpret_cast<CUdeviceptr>(&word.raw), value,
                                       CU_STREAM_WRITE_VALUE_DEFAULT);
}

CUresult enqueue_wait(const View& view, cuda::Stream stream, const Word& word, std::uint64_t at_least) noexcept {
  const ContextScope scope(view.context);
  if (!scope) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  return driver().cuStreamWaitValue64(stream, reinterpret_cast<CUdeviceptr>(&word.raw), at_least,
                                      CU_STREAM_WAIT_VALUE_GEQ);
}

CUresult enqueue_wait(const View& view, cuda::Stream stream, const std::uint32_t* word,
                      std::uint32_t at_least) noexcept {
  const ContextScope scope(view.context);
  if (!scope) return CUDA_ERROR_CONTEXT_IS_DESTROYED;
  return driver().cuStreamWaitValue32(stream, reinterpret_cast<CUdeviceptr>(word), at_least, CU_STREAM_WAIT_VALUE_GEQ);
}

std::string why_broken(const View& view) {
  if (view.context.is_alive()) return "its GPU context has failed (a kernel faulted)";
  return is_exiting() ? "CUDA was unloaded, because the process exits" : "its device was reset (cudaDeviceReset)";
}

bool is_broken(const View& view) noexcept {
  const CUresult result = view.probe->query();
  return result != CUDA_SUCCESS && result != CUDA_ERROR_NOT_READY && !is_of_a_capture(result);
}

bool is_capturing(const View& view, cuda::Stream stream) noexcept {
  const ContextScope scope(view.context);
  return scope && is_capturing(stream);
}

CUresult query(const View& view, cuda::Stream stream) noexcept {
  const BesideCaptures beside;
  const ContextScope scope(view.context);
  return scope ? driver().cuStreamQuery(stream) : CUDA_ERROR_CONTEXT_IS_DESTROYED;
}

}  // namespace ipcq::detail
