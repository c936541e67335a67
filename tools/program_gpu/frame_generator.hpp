// FrameGenerator: fills slots by kernels of a device's stream. No call waits for the GPU. For the device's thread.
#pragma once

#include <cstddef>
#include <cstdint>

#include "program_gpu/gpu_device.hpp"

namespace ipcq::program {

class FrameGenerator {
 public:
  explicit FrameGenerator(const GpuDevice& device);

  // Picture `frame` of Pattern4k, of Pattern4k::kFrameBytes bytes.
  void picture(std::uint64_t frame, std::byte* data) const;
  void zeros(std::byte* data, std::uint64_t length) const;
  // Bytes that do not compress, different for each seed. `data` has the alignment of a slot.
  void noise(std::uint64_t seed, std::byte* data, std::uint64_t length) const;

 private:
  const GpuDevice& device_;
  GpuDevice::Kernel picture_;
  GpuDevice::Kernel noise_;
};

}  // namespace ipcq::program
