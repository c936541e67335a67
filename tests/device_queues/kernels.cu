// Kernels of the GPU tests: one side of a shared area of tagged units each, and one that does next to nothing.
#include "device/memory.cuh"
#include "units.hpp"

using ipcq::device::DeviceUnit;
using ipcq_test::UnitCounts;
using ipcq_test::Units;

namespace {

constexpr unsigned kLooksPerCheck = 256;

__device__ bool is_over(const Units* shared, std::uint64_t until) {
  return ipcq::device::load_relaxed_system(&shared->stop) != 0 || ipcq::device::global_time_ns() > until;
}

}  // namespace

extern "C" {

// Each thread looks at its units as the scout looks at lines: a warp reads 32 in a row at once.
__global__ void read_units(const Units* shared, UnitCounts* counts, std::uint64_t limit_ns) {
  const std::uint64_t until = ipcq::device::global_time_ns() + limit_ns;
  const unsigned mine = blockIdx.x * blockDim.x + threadIdx.x;
  unsigned long long mixed = 0, seen = 0;
  std::uint32_t last = 0;
  for (unsigned looks = 1;; ++looks) {
    const DeviceUnit u = ipcq::device::load_unit(&shared->unit[mine % ipcq_test::kUnits]);
    mixed += !ipcq_test::is_whole(u);
    seen += u.word[3] != last;
    last = u.word[3];
    if (looks % kLooksPerCheck == 0 && is_over(shared, until)) break;
  }
  atomicAdd(&counts->mixed, mixed);
  atomicAdd(&counts->seen, seen);
}

__global__ void write_units(Units* shared, UnitCounts* counts, std::uint64_t limit_ns) {
  const std::uint64_t until = ipcq::device::global_time_ns() + limit_ns;
  const unsigned mine = blockIdx.x * blockDim.x + threadIdx.x;
  std::uint32_t tag = 1;
  for (;; ++tag) {
    ipcq::device::store_unit(&shared->unit[mine % ipcq_test::kUnits], ipcq_test::make_whole(tag));
    if (tag % kLooksPerCheck == 0 && is_over(shared, until)) break;
  }
  atomicAdd(&counts->seen, tag);
}

__global__ void tiny(std::uint32_t* word) {
  if (threadIdx.x == 0) *word += 1;
}
}
