#include "program_gpu/completion_timer.hpp"

#include <chrono>
#include <driver.hpp>

namespace ipcq::program {

using detail::check_cuda;
using detail::driver;

CompletionTimer::CompletionTimer(const GpuDevice& device) : device_(device) {
  check_cuda(driver().cuEventCreate(&event_, CU_EVENT_DISABLE_TIMING), "cuEventCreate", "completion timer");
}

CompletionTimer::~CompletionTimer() { driver().cuEventDestroy(event_); }

void CompletionTimer::mark(std::uint64_t begun_ns) {
  check_cuda(driver().cuEventRecord(event_, device_.stream()), "cuEventRecord", "completion timer");
  begun_ns_ = begun_ns;
  pending_ = true;
}

bool CompletionTimer::poll(LatencyHistogram& into) {
  if (!pending_) return false;
  const CUresult result = driver().cuEventQuery(event_);
  if (result == CUDA_ERROR_NOT_READY) return false;
  check_cuda(result, "cuEventQuery", "completion timer");
  pending_ = false;
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  const auto now_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(now).count());
  if (begun_ns_ != 0) into.record(now_ns > begun_ns_ ? now_ns - begun_ns_ : 0);
  return true;
}

}  // namespace ipcq::program
