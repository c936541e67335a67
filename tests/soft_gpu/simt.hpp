// CUDA's model of threads on a CPU, as far as this project's kernels need it. A block is a thread of the system, the
// block's threads are fibers of it, and blocks run concurrently. Warp intrinsics and barriers wait for all threads that
// take part, so that a kernel that diverges where it must not hangs. Not made for speed.
#pragma once

#include <cstdint>
#include <functional>

// Called by images of handlers too, which are shared objects of their own (image.cpp).
#pragma GCC visibility push(default)

namespace soft_gpu {

struct Dim {
  unsigned x = 1, y = 1, z = 1;
};

// A fiber's place in the grid.
struct Place {
  Dim thread, block, block_size, grid_size;
};
extern thread_local const Place* place;

// Runs the grid to its end. A block waits until the device has room for it.
void run_grid(unsigned blocks, unsigned threads, const std::function<void()>& kernel);

// ---- called by fibers ----

// Lets the block's other fibers run.
void yield();
// The same; the block may sleep when all its fibers nap.
void nap();
// Waits for the whole warp, and returns the values of all its threads.
const std::uint64_t* exchange(std::uint64_t mine);
// Waits for `threads` fibers of the block at barrier `id`.
void barrier(unsigned id, unsigned threads);

}  // namespace soft_gpu

#pragma GCC visibility pop
