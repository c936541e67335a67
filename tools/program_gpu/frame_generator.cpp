#include "program_gpu/frame_generator.hpp"

#include <driver.hpp>

namespace ipcq::program {

FrameGenerator::FrameGenerator(const GpuDevice& device)
    : device_(device), picture_(device.kernel("ipcq_make_picture")), noise_(device.kernel("ipcq_make_noise")) {}

void FrameGenerator::picture(std::uint64_t frame, std::byte* data) const {
  void* arguments[] = {&data, &frame};
  device_.launch(picture_, arguments);
}

void FrameGenerator::zeros(std::byte* data, std::uint64_t length) const {
  detail::check_cuda(detail::driver().cuMemsetD8Async(reinterpret_cast<CUdeviceptr>(data), 0, length, device_.stream()),
                     "cuMemsetD8Async", "a slot");
}

void FrameGenerator::noise(std::uint64_t seed, std::byte* data, std::uint64_t length) const {
  void* arguments[] = {&data, &length, &seed};
  device_.launch(noise_, arguments);
}

}  // namespace ipcq::program
