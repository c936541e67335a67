// FrameChecker: compares received pictures byte by byte, by kernels of a device's stream which add up the differences
// in device memory. No call but construction and destruction waits for the GPU. For the device's thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "program_gpu/frames.hpp"
#include "program_gpu/gpu_device.hpp"

namespace ipcq::program {

class FrameChecker {
 public:
  // `handler`: the queue's handler, whose result is expected. Throws UsageError when it is not built in.
  FrameChecker(const GpuDevice& device, std::string_view handler);
  ~FrameChecker();
  FrameChecker(const FrameChecker&) = delete;
  FrameChecker& operator=(const FrameChecker&) = delete;

  // Compares the message with picture message.sequence(), as Pattern4k::bad_bytes() does. The message may end after the
  // call.
  void check(const cuda::Message& message) const {
    check(message.device(), message.length(), message.sequence(), message.payload());
  }
  // The same for a payload at `data` that should be picture `frame`. It counts only if `message` is not lost.
  void check(const std::byte* data, std::uint64_t length, std::uint64_t frame, const cuda::Payload& message) const;

  // Enqueues a copy of the sums so far to host memory: seen() returns them once the stream has passed this point.
  void copy_sums() const;
  const FrameCheckResult& seen() const noexcept { return *seen_; }

 private:
  void release() noexcept;

  const GpuDevice& device_;
  GpuDevice::Kernel kernel_;
  FrameCheckResult* sums_ = nullptr;  // device memory
  FrameCheckResult* seen_ = nullptr;  // pinned memory
};

}  // namespace ipcq::program
