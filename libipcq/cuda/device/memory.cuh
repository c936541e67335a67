// All accesses of device code to memory that others write meanwhile; each name or comment says order and scope. Any
// thread may call them. tests/soft_gpu/device/memory.cuh has the same names for kernels that run on a CPU: change both.
#pragma once

#include <cstdint>

#include "layout/queue_view.hpp"

#define IPCQ_NOINLINE __noinline__  // before __device__

namespace ipcq::device {

// A unit is loaded and stored in one access of 16 bytes, so that a reader that observes its tag has its data too.
// Relaxed, system scope.
__device__ inline DeviceUnit load_unit(const DeviceUnit* from) {
  std::uint64_t lo, hi;
  asm volatile("{\n .reg .b128 v;\n ld.relaxed.sys.global.b128 v, [%2];\n mov.b128 {%0, %1}, v;\n}"
               : "=l"(lo), "=l"(hi)
               : "l"(from)
               : "memory");
  return {{static_cast<std::uint32_t>(lo), static_cast<std::uint32_t>(lo >> 32), static_cast<std::uint32_t>(hi),
           static_cast<std::uint32_t>(hi >> 32)}};
}
__device__ inline void store_unit(DeviceUnit* to, const DeviceUnit& unit) {
  const std::uint64_t lo = unit.word[0] | (static_cast<std::uint64_t>(unit.word[1]) << 32);
  const std::uint64_t hi = unit.word[2] | (static_cast<std::uint64_t>(unit.word[3]) << 32);
  asm volatile("{\n .reg .b128 v;\n mov.b128 v, {%1, %2};\n st.relaxed.sys.global.b128 [%0], v;\n}" ::"l"(to), "l"(lo),
               "l"(hi)
               : "memory");
}

// Words that a CPU or a stream of another process writes or reads too.
__device__ inline std::uint64_t load_acquire_system(const std::uint64_t* from) {
  std::uint64_t v;
  asm volatile("ld.acquire.sys.global.u64 %0, [%1];" : "=l"(v) : "l"(from) : "memory");
  return v;
}
__device__ inline std::uint32_t load_relaxed_system(const std::uint32_t* from) {
  std::uint32_t v;
  asm volatile("ld.relaxed.sys.global.u32 %0, [%1];" : "=r"(v) : "l"(from) : "memory");
  return v;
}
__device__ inline void store_relaxed_system(std::uint64_t* to, std::uint64_t v) {
  asm volatile("st.relaxed.sys.global.u64 [%0], %1;" ::"l"(to), "l"(v) : "memory");
}

__device__ inline void store_relaxed_system(std::uint32_t* to, std::uint32_t v) {
  asm volatile("st.relaxed.sys.global.u32 [%0], %1;" ::"l"(to), "r"(v) : "memory");
}

// Words in VRAM that the blocks of one kernel share.
__device__ inline std::uint64_t load_acquire_device(const std::uint64_t* from) {
  std::uint64_t v;
  asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(v) : "l"(from) : "memory");
  return v;
}
__device__ inline std::uint32_t load_acquire_device(const std::uint32_t* from) {
  std::uint32_t v;
  asm volatile("ld.acquire.gpu.global.u32 %0, [%1];" : "=r"(v) : "l"(from) : "memory");
  return v;
}
__device__ inline void store_release_device(std::uint64_t* to, std::uint64_t v) {
  asm volatile("st.release.gpu.global.u64 [%0], %1;" ::"l"(to), "l"(v) : "memory");
}
__device__ inline std::uint32_t add_device(std::uint32_t* to, std::uint32_t v) {
  std::uint32_t before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(before) : "l"(to), "r"(v) : "memory");
  return before;
}
__device__ inline void add_device(std::uint64_t* to, std::uint64_t v) {
  asm volatile("red.release.gpu.global.add.u64 [%0], %1;" ::"l"(to), "l"(v) : "memory");
}

// Bytes of a payload in VRAM. Bypasses L1, because other multiprocessors, copy engines and other processes write them.
__device__ inline uint4 load_payload(const uint4* from) {
  uint4 v;
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

// Bytes in pinned host memory, which CPUs write.
__device__ inline uint4 load_mirror(const uint4* from) {
  uint4 v;
  asm volatile("ld.relaxed.sys.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

// Waits until `kThreads` threads of the block have called it; unlike __syncthreads(), each from any place in the code.
template <unsigned kThreads>
__device__ inline void block_barrier() {
  asm volatile("barrier.sync 1, %0;" ::"n"(kThreads) : "memory");
}

__device__ inline std::uint64_t global_time_ns() {
  std::uint64_t t;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t));
  return t;
}

// Orders what this thread has written and observed, also through a barrier of its block, before its later stores: for
// readers anywhere, or for those on this GPU.
__device__ inline void fence_system() { __threadfence_system(); }
__device__ inline void fence_device() { __threadfence(); }

}  // namespace ipcq::device
