// Kernels of the GPU tests: write a pattern, check it, take their time.
#include "device/memory.cuh"
#include "ipcq/cuda.hpp"
#include "ipcq/flat.hpp"
#include "pattern.hpp"

namespace {

__device__ void check_bytes(const std::uint8_t* data, std::uint64_t length, std::uint64_t seed, unsigned mask,
                            ipcq_test::Findings* findings) {
  unsigned long long wrong = 0;
  const std::uint64_t stride = std::uint64_t{gridDim.x} * blockDim.x;
  for (std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < length; i += stride) {
    if (data[i] != (ipcq_test::pattern_byte(seed, i) ^ mask)) ++wrong;
  }
  if (wrong != 0) atomicAdd(&findings->wrong_bytes, wrong);
}

__device__ void spin_for(unsigned long long ns) {
  const std::uint64_t start = ipcq::device::global_time_ns();
  while (ipcq::device::global_time_ns() - start < ns) __nanosleep(100);
}

}  // namespace

extern "C" {

__global__ void fill(std::uint8_t* data, std::uint64_t length, std::uint64_t seed, unsigned long long spin_ns) {
  spin_for(spin_ns);
  const std::uint64_t stride = std::uint64_t{gridDim.x} * blockDim.x;
  for (std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < length; i += stride) {
    data[i] = ipcq_test::pattern_byte(seed, i);
  }
}

// Checks before and after spinning: what changes in between shows.
__global__ void check(const std::uint8_t* data, std::uint64_t length, std::uint64_t seed, unsigned mask,
                      unsigned long long spin_ns, ipcq_test::Findings* findings) {
  check_bytes(data, length, seed, mask, findings);
  if (spin_ns != 0) {
    spin_for(spin_ns);
    check_bytes(data, length, seed, mask, findings);
  }
  if (blockIdx.x == 0 && threadIdx.x == 0) atomicAdd(&findings->messages, 1ull);
}

// The same for what a receive_ahead() brings; the seed is the sequence number plus `seed`.
__global__ void check_header(const ipcq::cuda::Header* header, std::uint64_t seed, unsigned mask, unsigned number,
                             ipcq_test::Findings* findings) {
  const ipcq::Status status = header->status();
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    findings->status[number] = static_cast<unsigned>(status);
    if (status == ipcq::Status::ok) atomicAdd(&findings->messages, 1ull);
  }
  if (status != ipcq::Status::ok) return;
  check_bytes(reinterpret_cast<const std::uint8_t*>(header->data), header->length, header->sequence + seed, mask,
              findings);
}

// The same for what a receive() brings, by value.
__global__ void check_payload(ipcq::cuda::Payload payload, std::uint64_t seed, unsigned mask, unsigned number,
                              ipcq_test::Findings* findings) {
  const ipcq::Status status = payload.status();
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    findings->status[number] = static_cast<unsigned>(status);
    if (status == ipcq::Status::ok) atomicAdd(&findings->messages, 1ull);
  }
  if (status != ipcq::Status::ok) return;
  check_bytes(reinterpret_cast<const std::uint8_t*>(payload.data), payload.length, payload.sequence + seed, mask,
              findings);
}

// Writes a tensor of `count` bytes with its header in front of it, as a producer that builds it on the GPU.
__global__ void fill_tensor(std::byte* data, std::uint32_t count, std::uint64_t seed) {
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    ipcq::Tensor tensor;
    tensor.dtype = ipcq::kDTypeOf<std::uint8_t>;
    tensor.dimensions = 1;
    tensor.at = sizeof tensor;
    tensor.shape[0] = count;
    tensor.strides[0] = 1;
    *reinterpret_cast<ipcq::Tensor*>(data) = tensor;
  }
  const std::uint64_t stride = std::uint64_t{gridDim.x} * blockDim.x;
  for (std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += stride) {
    data[sizeof(ipcq::Tensor) + i] = static_cast<std::byte>(ipcq_test::pattern_byte(seed, i));
  }
}

// Checks the bytes of a tensor that is `beside` the payload, or with `beside.dimensions` of 0 at its beginning. A
// tensor that does not fit counts as one wrong byte.
__global__ void check_tensor(ipcq::cuda::Payload payload, ipcq::Tensor beside, std::uint64_t seed, unsigned mask,
                             ipcq_test::Findings* findings) {
  if (payload.status() != ipcq::Status::ok) return;
  const ipcq::FlatView<ipcq::Tensor> view = beside.dimensions != 0
                                                ? ipcq::FlatView<ipcq::Tensor>(beside, payload.data, payload.length)
                                                : ipcq::FlatView<ipcq::Tensor>(payload.data, payload.length);
  ipcq::Range<const std::uint8_t> bytes;
  if (view && view.is_sound()) bytes = view.get(*view).elements<std::uint8_t>();
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    atomicAdd(&findings->messages, 1ull);
    if (bytes.empty()) atomicAdd(&findings->wrong_bytes, 1ull);
  }
  check_bytes(bytes.data(), bytes.size(), seed, mask, findings);
}

__global__ void spin(unsigned long long ns) { spin_for(ns); }

// Fails the context that it runs in. (The soft GPU has its own of that name.)
__global__ void fault() { __trap(); }

// Writes to all of `data` again and again for `ns`; `begun` is set once it does.
__global__ void scribble(std::uint8_t* data, std::uint64_t length, unsigned long long ns, std::uint32_t* begun) {
  const std::uint64_t start = ipcq::device::global_time_ns();
  const std::uint64_t stride = std::uint64_t{gridDim.x} * blockDim.x;
  if (blockIdx.x == 0 && threadIdx.x == 0) ipcq::device::store_relaxed_system(begun, 1u);
  for (std::uint8_t value = 0; ipcq::device::global_time_ns() - start < ns; ++value) {
    for (std::uint64_t i = std::uint64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < length; i += stride) {
      static_cast<volatile std::uint8_t*>(data)[i] = value;
    }
  }
}
}
