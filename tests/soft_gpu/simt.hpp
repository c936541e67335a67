// CUDA's model of threads, on a CPU: enough of it to run this project's kernels. A block is a thread of the system, its
// threads are fibers of that, and blocks run side by side. Warp intrinsics and barriers wait for all whom they concern,
// so that a kernel that diverges where it must not is found. No claim to speed.
#pragma once

#include <cstdint>
#include <functional>

namespace soft_gpu {

struct Dim {
  unsigned x = 1, y = 1, z = 1;
};

// What a fiber sees of itself.
struct Place {
  Dim thread, block, block_size, grid_size;
};
extern thread_local const Place* place;

// Runs the grid to its end. A block waits until the device has room for it.
void run_grid(unsigned blocks, unsigned threads, const std::function<void()>& kernel);

// ---- for fibers ----

// Lets the block's other fibers run.
void yield();
// Likewise; the block may sleep when all its fibers nap.
void nap();
// Waits for the whole warp; everybody's value.
const std::uint64_t* exchange(std::uint64_t mine);
// Waits for `threads` fibers of the block at barrier `id`.
void barrier(unsigned id, unsigned threads);

}  // namespace soft_gpu
