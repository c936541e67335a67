// The one place for raw memory accesses of device code. Each names its order and scope. tests/soft_gpu has its twin.
#pragma once

#include <cstdint>

#include "layout/queue_view.hpp"

namespace ipcq::device {

// A whole unit in one access, so that who sees the tag sees the data. Relaxed, system scope.
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

// Words that the CPU, or another process' stream, writes or reads.
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

// Words in VRAM that blocks of one kernel share.
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

// A slot's payload lies in memory that other SMs, copy engines and other processes write: never through L1.
__device__ inline uint4 load_payload(const uint4* from) {
  uint4 v;
  asm volatile("ld.relaxed.gpu.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

// A mirror's bytes, which the CPU writes.
__device__ inline uint4 load_mirror(const uint4* from) {
  uint4 v;
  asm volatile("ld.relaxed.sys.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(v.x), "=r"(v.y), "=r"(v.z), "=r"(v.w)
               : "l"(from));
  return v;
}

// A barrier of a block's threads, not of one place in the code.
template <unsigned kThreads>
__device__ inline void block_barrier() {
  asm volatile("barrier.sync 1, %0;" ::"n"(kThreads) : "memory");
}

__device__ inline std::uint64_t global_time_ns() {
  std::uint64_t t;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(t));
  return t;
}

// Everything that this block has written and seen, before the stores that follow; for readers anywhere.
__device__ inline void fence_system() { __threadfence_system(); }
__device__ inline void fence_device() { __threadfence(); }

}  // namespace ipcq::device
