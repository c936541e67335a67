#include "program_gpu/gpu_choice.hpp"

#include <ipcq/error.hpp>

#include <fmt/format.h>

#include "program/logging.hpp"

namespace ipcq::program {

void add_gpu_options(CommandLine& line, GpuOptions& options) {
  auto device = line.add_option("--device", options.device, "GPU to work on, when the queue lies on one [0]")
                    .transform(whole_number(0, 1023));
  line.add_flag("--cpu-only", options.cpu_only, "Never touch a GPU; a queue on one is used through its mirror")
      .excludes(device);
}

std::unique_ptr<GpuDevice> choose_gpu(const GpuOptions& options, const QueueStats& queue) {
  const bool on_device = queue.backend == "cuda" && queue.slots != 0;  // inline messages need no GPU
  if (options.cpu_only || (!on_device && !options.device)) return nullptr;
  try {
    auto gpu = std::make_unique<GpuDevice>(options.device.value_or(0));
    if (on_device) return gpu;
  } catch (const BackendError& error) {
    if (options.device) throw;
    log::info("queue '{}' is used through its mirror: {}", queue.name, error.what());
    return nullptr;
  }
  throw BackendError(fmt::format("--device {}: queue '{}' has no slots on a GPU (backend {}); leave out --device",
                                 *options.device, queue.name, queue.backend));
}

}  // namespace ipcq::program
