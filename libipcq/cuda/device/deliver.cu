// Brings what is known of a message to device memory, behind the stream's wait for it. One warp's lanes, a unit each.
#include "device/memory.cuh"

namespace {

// The unit whose last word is cuda::Header::lost (delivered.hpp).
constexpr unsigned kLostUnit = 1;

}  // namespace

// Both ends are 128-byte entries. `tomb` may be null: then the entry says already whether the message is lost.
extern "C" __global__ void ipcq_deliver(const uint4* from, const std::uint64_t* tomb, std::uint64_t lease, uint4* to) {
  const unsigned lane = threadIdx.x;
  uint4 unit = ipcq::device::load_mirror(from + lane);
  if (lane == kLostUnit && tomb != nullptr) unit.w = ipcq::device::load_acquire_system(tomb) >= lease ? 1 : 0;
  to[lane] = unit;
}
