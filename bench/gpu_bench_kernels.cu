// Bare loops that gpu_bench compares with: tagged units from one ring in pinned memory to another, and nothing else.
#include "device/memory.cuh"
#include "ipcq/cuda.hpp"

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

// Words that differ from `value`: sixteen bytes a thread and step.
__device__ void check_words(const std::byte* data, std::uint64_t length, unsigned value, unsigned long long* wrong) {
  const std::uint64_t step = std::uint64_t{gridDim.x} * blockDim.x;
  for (std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < length / sizeof(uint4); i += step) {
    const uint4 v = reinterpret_cast<const uint4*>(data)[i];
    if (v.x != value || v.y != value || v.z != value || v.w != value) atomicAdd(wrong, 1ull);
  }
}

}  // namespace

extern "C" {

__global__ void fill_words(uint4* data, std::uint64_t length, unsigned value) {
  const std::uint64_t step = std::uint64_t{gridDim.x} * blockDim.x;
  for (std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < length / sizeof(uint4); i += step) {
    data[i] = make_uint4(value, value, value, value);
  }
}

// As the README has it: every thread asks for all that it needs.
__global__ void use_payload(ipcq::cuda::Payload message, unsigned value, unsigned long long* wrong) {
  if (message.status() != ipcq::Status::ok) return;
  const std::uint64_t step = std::uint64_t{gridDim.x} * blockDim.x;
  for (std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < message.length / sizeof(uint4);
       i += step) {
    const uint4 v = reinterpret_cast<const uint4*>(message.data)[i];
    if (v.x != value || v.y != value || v.z != value || v.w != value) atomicAdd(wrong, 1ull);
  }
}
// The same behind a pointer.
__global__ void use_header(const ipcq::cuda::Header* message, unsigned value, unsigned long long* wrong) {
  if (message->status() != ipcq::Status::ok) return;
  const std::uint64_t step = std::uint64_t{gridDim.x} * blockDim.x;
  for (std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < message->length / sizeof(uint4);
       i += step) {
    const uint4 v = reinterpret_cast<const uint4*>(message->data)[i];
    if (v.x != value || v.y != value || v.z != value || v.w != value) atomicAdd(wrong, 1ull);
  }
}
// Pointer and length by value; one thread asks for the status.
__global__ void use_values(const std::byte* data, std::uint64_t length, ipcq::cuda::Payload message, unsigned value,
                           unsigned long long* wrong) {
  const bool first = blockIdx.x == 0 && threadIdx.x == 0;
  if (first && message.status() != ipcq::Status::ok) atomicAdd(wrong, 1ull);
  check_words(data, length, value, wrong);
}

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
