// Replaces libipcq/cuda/device/memory.cuh where kernels run on a CPU: the same names, by the compiler's atomics.
// Each access may let other threads of its block run first.
#pragma once

#include <emmintrin.h>
#include <time.h>

#include <atomic>
#include <cstdint>

#include "language.hpp"
#include "layout/queue_view.hpp"

#define IPCQ_NOINLINE [[gnu::noinline]]

namespace ipcq::device {

// Vector moves of 16 bytes are atomic on processors with AVX.
inline DeviceUnit load_unit(const DeviceUnit* from) {
  soft_gpu::yield();
  DeviceUnit unit;
  const __m128i v = _mm_load_si128(reinterpret_cast<const __m128i*>(from));
  std::atomic_thread_fence(std::memory_order_acquire);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(&unit), v);
  return unit;
}
inline void store_unit(DeviceUnit* to, const DeviceUnit& unit) {
  soft_gpu::yield();
  std::atomic_thread_fence(std::memory_order_release);
  _mm_store_si128(reinterpret_cast<__m128i*>(to), _mm_loadu_si128(reinterpret_cast<const __m128i*>(&unit)));
}

template <class T>
T load_acquire(const T* from) {
  soft_gpu::yield();
  return __atomic_load_n(from, __ATOMIC_ACQUIRE);
}
inline std::uint64_t load_acquire_system(const std::uint64_t* from) { return load_acquire(from); }
inline std::uint32_t load_relaxed_system(const std::uint32_t* from) { return load_acquire(from); }
inline std::uint64_t load_acquire_device(const std::uint64_t* from) { return load_acquire(from); }
inline std::uint32_t load_acquire_device(const std::uint32_t* from) { return load_acquire(from); }

inline void store_relaxed_system(std::uint64_t* to, std::uint64_t v) { __atomic_store_n(to, v, __ATOMIC_RELAXED); }
inline void store_relaxed_system(std::uint32_t* to, std::uint32_t v) { __atomic_store_n(to, v, __ATOMIC_RELAXED); }
inline void store_release_device(std::uint64_t* to, std::uint64_t v) {
  soft_gpu::yield();
  __atomic_store_n(to, v, __ATOMIC_RELEASE);
}
inline std::uint32_t add_device(std::uint32_t* to, std::uint32_t v) {
  soft_gpu::yield();
  return __atomic_fetch_add(to, v, __ATOMIC_ACQ_REL);
}
inline void add_device(std::uint64_t* to, std::uint64_t v) {
  soft_gpu::yield();
  __atomic_fetch_add(to, v, __ATOMIC_RELEASE);
}

inline uint4 load_payload(const uint4* from) { return *from; }
inline uint4 load_mirror(const uint4* from) { return *from; }

inline std::uint64_t global_time_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

inline void fence_system() { std::atomic_thread_fence(std::memory_order_seq_cst); }
inline void fence_device() { std::atomic_thread_fence(std::memory_order_seq_cst); }
template <unsigned kThreads>
void block_barrier() {
  soft_gpu::barrier(1, kThreads);
}

}  // namespace ipcq::device
