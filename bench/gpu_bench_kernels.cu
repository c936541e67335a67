// Bare loops that gpu_bench compares with: tagged units from one ring in pinned memory to another, and nothing else.
#include "device/memory.cuh"

using ipcq::device::DeviceUnit;

namespace {

constexpr unsigned kUnits = 4;  // of a line: 48 bytes of data
constexpr unsigned kLooksPerCheck = 4096;

// Waits until every lane's unit carries its tag. False: told to stop.
__device__ bool await_units(const DeviceUnit* from, std::uint32_t tag, bool mine, const std::uint32_t* stop,
                            DeviceUnit& unit) {
  bool there = !mine;
  for (unsigned looks = 1;; ++looks) {
    if (!there) {
      unit = ipcq::device::load_unit(from);
      there = unit.word[3] == tag;
    }
    if (__all_sync(~0u, there)) return true;
    if (looks % kLooksPerCheck == 0 && ipcq::device::load_relaxed_system(stop) != 0) return false;
  }
}

}  // namespace

extern "C" {

// Warp w of W moves lines [g, g + at_once) for g = w * at_once, then W * at_once further on, up to `total`. One line at
// a time by one warp is the ping-pong; eight by each of 16 warps the stream.
__global__ void move_lines(const DeviceUnit* in, DeviceUnit* out, std::uint32_t lines_log2, std::uint32_t at_once,
                           std::uint64_t total, const std::uint32_t* stop) {
  const unsigned warps = gridDim.x * blockDim.x / 32;
  const unsigned warp = (blockIdx.x * blockDim.x + threadIdx.x) / 32;
  const unsigned line = threadIdx.x % 32 / kUnits;
  for (std::uint64_t first = std::uint64_t{warp} * at_once; first < total; first += std::uint64_t{warps} * at_once) {
    const std::uint64_t n = first + line;
    const bool mine = line < at_once && n < total;
    const std::uint64_t at = (n & ((std::uint64_t{1} << lines_log2) - 1)) * kUnits + threadIdx.x % kUnits;
    DeviceUnit unit;
    if (!await_units(&in[at], static_cast<std::uint32_t>(n >> lines_log2) + 1, mine, stop, unit)) return;
    if (mine) ipcq::device::store_unit(&out[at], unit);
  }
}
}
