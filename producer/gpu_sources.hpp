// Publishes generated messages, which kernels write straight into the slots, in the order of one stream. The CPU waits
// for free slots, and for the GPU only at the end. For the device's thread.
#pragma once

#include <cstdint>
#include <string>

#include "program_gpu/gpu_device.hpp"
#include "publisher.hpp"

namespace ipcq::program {

// `what`: 4k, zero or random; `size` as in sources.hpp. Returns when the publisher wants no more and the GPU has
// written all that was published. Throws UsageError when a message does not fit, BackendError.
void publish_on_gpu(Publisher& publisher, const GpuDevice& device, const std::string& what, std::uint64_t size);

}  // namespace ipcq::program
