#include "program_gpu/frame_checker.hpp"

#include <algorithm>
#include <bit>
#include <driver.hpp>
#include <ipcq/builtin_handlers.hpp>
#include <new>
#include <string>

#include <fmt/format.h>

#include "program/pattern.hpp"

namespace ipcq::program {

using detail::check_cuda;
using detail::driver;

namespace {

std::string kernel_for(std::string_view handler) {
  if (handler.empty()) handler = "identity";
  const auto known = handler_names();
  if (std::find(known.begin(), known.end(), handler) != known.end()) return fmt::format("ipcq_check_{}", handler);
  throw UsageError(fmt::format("handler '{}' is not built in: what it makes of a frame is not known here", handler));
}

CUdeviceptr address(const void* data) { return std::bit_cast<CUdeviceptr>(data); }

}  // namespace

FrameChecker::FrameChecker(const GpuDevice& device, std::string_view handler)
    : device_(device), kernel_(device.kernel(kernel_for(handler).c_str())) {
  ++kernel_.blocks;  // block 0 only checks the message's status
  const auto& cu = driver();
  const auto object = fmt::format("sums of the check on GPU {}", device.ordinal());
  try {
    CUdeviceptr sums = 0;
    check_cuda(cu.cuMemAlloc(&sums, sizeof *sums_), "cuMemAlloc", object);
    sums_ = std::bit_cast<FrameCheckResult*>(sums);
    void* seen = nullptr;
    check_cuda(cu.cuMemHostAlloc(&seen, sizeof *seen_, 0), "cuMemHostAlloc", object);
    seen_ = new (seen) FrameCheckResult{};
    check_cuda(cu.cuMemsetD8Async(sums, 0, sizeof *sums_, device.stream()), "cuMemsetD8Async", object);
  } catch (...) {
    release();
    throw;
  }
}

FrameChecker::~FrameChecker() { release(); }

void FrameChecker::release() noexcept {
  if (sums_ != nullptr) driver().cuMemFree(address(sums_));
  if (seen_ != nullptr) driver().cuMemFreeHost(seen_);
}

void FrameChecker::check(const std::byte* data, std::uint64_t length, std::uint64_t frame,
                         const cuda::Payload& message) const {
  const std::uint64_t common = std::min<std::uint64_t>(length, Pattern4k::kFrameBytes);
  FrameCheck what{.data = data,
                  .length = common,
                  .frame = frame,
                  .bad_length = std::max<std::uint64_t>(length, Pattern4k::kFrameBytes) - common,
                  .message = message,
                  .result = sums_};
  void* arguments[] = {&what};
  device_.launch(kernel_, arguments);
}

void FrameChecker::copy_sums() const {
  check_cuda(driver().cuMemcpyDtoHAsync(seen_, address(sums_), sizeof *seen_, device_.stream()), "cuMemcpyDtoHAsync",
             "sums of the check");
}

}  // namespace ipcq::program
