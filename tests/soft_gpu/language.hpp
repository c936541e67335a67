// The keywords and built-ins of CUDA C++ that this project's kernels use, for a C++ compiler. Included before the
// kernels.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>

#include "simt.hpp"

#define __device__
#define __forceinline__ inline
#define __global__
#define __constant__
#define __align__(n) alignas(n)
#define __shared__ static thread_local  // a block is a thread
#define __launch_bounds__(...)

#define threadIdx (soft_gpu::place->thread)
#define blockIdx (soft_gpu::place->block)
#define blockDim (soft_gpu::place->block_size)
#define gridDim (soft_gpu::place->grid_size)

struct alignas(16) uint4 {
  std::uint32_t x, y, z, w;
};

inline void __syncthreads() { soft_gpu::barrier(0, blockDim.x); }
inline void __syncwarp() { (void)soft_gpu::exchange(0); }
inline std::uint32_t __ballot_sync(std::uint32_t, bool mine) {
  const std::uint64_t* const all = soft_gpu::exchange(mine);
  std::uint32_t bits = 0;
  for (unsigned lane = 0; lane < 32; ++lane) bits |= static_cast<std::uint32_t>(all[lane]) << lane;
  return bits;
}
template <class T>
T __shfl_sync(std::uint32_t, T mine, unsigned lane) {
  return static_cast<T>(soft_gpu::exchange(static_cast<std::uint64_t>(mine))[lane % 32]);
}
template <class T>
T __shfl_xor_sync(std::uint32_t, T mine, unsigned mask) {
  const unsigned lane = threadIdx.x % 32;
  return static_cast<T>(soft_gpu::exchange(static_cast<std::uint64_t>(mine))[lane ^ mask]);
}
inline int __popc(std::uint32_t v) { return std::popcount(v); }
inline int __ffs(std::uint32_t v) { return v == 0 ? 0 : std::countr_zero(v) + 1; }
inline void __nanosleep(unsigned) { soft_gpu::nap(); }
[[noreturn]] inline void __trap() { __builtin_trap(); }
template <class T>
T atomicAdd(T* to, T v) {
  return __atomic_fetch_add(to, v, __ATOMIC_RELAXED);
}
using std::min;
