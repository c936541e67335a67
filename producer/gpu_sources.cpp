#include "gpu_sources.hpp"

#include <ipcq/cuda.hpp>
#include <ipcq/error.hpp>

#include "program/pattern.hpp"
#include "program_gpu/frame_generator.hpp"
#include "sources.hpp"

namespace ipcq::program {
namespace {

// Fills each slot with fill(number, data) and publishes it.
template <class Fill>
void publish_filled(Publisher& publisher, const GpuDevice& device, std::uint64_t size, const Fill& fill) {
  const auto take = [&](Producer& producer) { return cuda::loan(producer, device.stream()); };
  for (;;) {
    cuda::Loan loan = publisher.loan_by(take);
    if (loan.device() == nullptr) break;
    fill(publisher.messages(), loan.device());
    if (!publisher.publish(loan, size)) break;
  }
  device.finish();  // payloads that are not written when this process ends are lost
}

}  // namespace

void publish_on_gpu(Publisher& publisher, const GpuDevice& device, const std::string& what, std::uint64_t size) {
  const FrameGenerator generator(device);
  if (what == "4k") {
    require_frame_fits(publisher);
    publish_filled(publisher, device, Pattern4k::kFrameBytes,
                   [&](std::uint64_t frame, std::byte* data) { generator.picture(frame, data); });
    return;
  }
  size = generated_size(publisher, size);
  if (size > publisher.slot_bytes()) {
    throw UsageError("queue '" + publisher.queue() + "': a GPU writes into slots, which have " +
                     std::to_string(publisher.slot_bytes()) + " bytes here; lower --size, or use --cpu-only");
  }
  publish_filled(publisher, device, size, [&](std::uint64_t number, std::byte* data) {
    if (what == "zero") {
      generator.zeros(data, size);
    } else {
      generator.noise(number, data, size);
    }
  });
}

}  // namespace ipcq::program
