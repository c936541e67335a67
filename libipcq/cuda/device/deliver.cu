// Copies a message's header and inline bytes from pinned to device memory, behind the stream's wait for the message.
// One block of kDeliveredUnits threads, which is one warp. libipcq/cuda/delivered.hpp says what for.
#include "device/memory.cuh"
#include "layout/delivered.hpp"

namespace {

constexpr unsigned kLostAt = offsetof(ipcq::detail::Delivered, header) + offsetof(ipcq::cuda::Header, lost);
constexpr unsigned kLostUnit = kLostAt / sizeof(uint4);
static_assert(kLostAt % sizeof(uint4) == offsetof(uint4, w));

}  // namespace

// `from` and `to` are a Delivered each; a lane copies 16 bytes. With `tomb` the message is lost where that word has
// reached `lease`; without it `from` says so already.
extern "C" __global__ void ipcq_deliver(const uint4* from, const std::uint64_t* tomb, std::uint64_t lease, uint4* to) {
  const unsigned lane = threadIdx.x;
  uint4 unit = ipcq::device::load_mirror(from + lane);
  if (lane == kLostUnit && tomb != nullptr) unit.w = ipcq::device::load_acquire_system(tomb) >= lease ? 1 : 0;
  to[lane] = unit;
}
