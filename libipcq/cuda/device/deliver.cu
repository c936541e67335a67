// Brings what is known of a message to device memory, behind the stream's wait for it. One warp.
#include "device/memory.cuh"
#include "layout/delivered.hpp"

namespace {

constexpr unsigned kLostAt = offsetof(ipcq::detail::Delivered, header) + offsetof(ipcq::cuda::Header, lost);
constexpr unsigned kLostUnit = kLostAt / sizeof(uint4);
static_assert(kLostAt % sizeof(uint4) == offsetof(uint4, w));

}  // namespace

// Both ends are Delivered, a unit each lane. `tomb` may be null: then the entry says already whether the message is
// lost.
extern "C" __global__ void ipcq_deliver(const uint4* from, const std::uint64_t* tomb, std::uint64_t lease, uint4* to) {
  const unsigned lane = threadIdx.x;
  uint4 unit = ipcq::device::load_mirror(from + lane);
  if (lane == kLostUnit && tomb != nullptr) unit.w = ipcq::device::load_acquire_system(tomb) >= lease ? 1 : 0;
  to[lane] = unit;
}
