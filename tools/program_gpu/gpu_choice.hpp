// Decides whether a client works on a GPU, and on which one: --device and --cpu-only.
#pragma once

#include <ipcq/stats.hpp>
#include <memory>
#include <optional>

#include "program/command_line.hpp"
#include "program_gpu/gpu_device.hpp"

namespace ipcq::program {

struct GpuOptions {
  std::optional<int> device;
  bool cpu_only = false;
};

void add_gpu_options(CommandLine& line, GpuOptions& options);

// A GPU if the queue's payloads are on one and this build and machine can use it; else null, and the log says why.
// Throws BackendError when --device was given and cannot be used.
std::unique_ptr<GpuDevice> choose_gpu(const GpuOptions& options, const QueueStats& queue);

}  // namespace ipcq::program
