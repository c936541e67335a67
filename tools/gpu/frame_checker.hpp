// FrameChecker: compares received pictures byte by byte in kernels of a device's stream, and adds up on the device what
// they find. check() does not wait for the GPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "gpu/frames.hpp"
#include "gpu/gpu_device.hpp"

namespace ipcq::program {

class FrameChecker {
 public:
  // `handler`: what the queue does to each frame. Throws UsageError when it is not built in.
  FrameChecker(const GpuDevice& device, std::string_view handler);
  ~FrameChecker();
  FrameChecker(const FrameChecker&) = delete;
  FrameChecker& operator=(const FrameChecker&) = delete;

  // Compares the message with picture message.sequence(); as Pattern4k::bad_bytes(). The message may go out of scope.
  void check(const cuda::Message& message) const {
    check(message.device(), message.length(), message.sequence(), message.payload());
  }
  // The same for a payload at `data` that is to be picture `frame`. `message` says whether it counts.
  void check(const std::byte* data, std::uint64_t length, std::uint64_t frame, const cuda::Payload& message) const;

  // Enqueues a copy of the sums so far; seen() has them once the stream has passed this point.
  void look() const;
  const FrameCheckResult& seen() const noexcept { return *seen_; }

 private:
  void release() noexcept;

  const GpuDevice& device_;
  GpuDevice::Kernel kernel_;
  FrameCheckResult* sums_ = nullptr;  // device memory
  FrameCheckResult* seen_ = nullptr;  // pinned memory
};

}  // namespace ipcq::program
