// Closes the GPU side of endpoints that are still open when the process exits. A global Producer is destroyed after
// CUDA has unloaded, when its streams can no longer complete what they had still to write.
//
// Thread-safe. Only endpoints that the exiting thread registered are closed: others may be in use by their threads.
#pragma once

#include <memory>

#include "queue/device_side.hpp"

namespace ipcq::detail {

// Registers an endpoint of the calling thread. Called after a CUDA call of the process: static destructors run in
// reverse order of construction, so those set up here run before the driver unloads.
void close_at_exit(std::weak_ptr<DeviceSide> side);
// Whether exit() has begun to run static destructors, so that CUDA may have unloaded.
bool is_exiting() noexcept;

}  // namespace ipcq::detail
