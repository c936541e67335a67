// Endpoints that are still open when the process exits: a producer that is a global is destroyed after CUDA has
// unloaded, and what its streams had still to write would never come. So the GPU's part of such endpoints is closed
// before that. exit() runs in one thread; endpoints of others, which may be in use, are left alone.
#pragma once

#include <memory>

#include "queue/device_side.hpp"

namespace ipcq::detail {

// Of this thread, after it has made its first CUDA call: what is registered later ends earlier.
void close_at_exit(std::weak_ptr<DeviceSide> side);
// Whether the process exits, and CUDA may be gone.
bool is_exiting() noexcept;

}  // namespace ipcq::detail
