// What a stream finds of a received message: a header, and the payload of an inline message, in device memory.
//
// The CPU fills in a copy in pinned memory. A kernel of one warp (device/deliver.cu) brings it to the device behind the
// stream's wait and asks there whether the payload came. So the user's kernels read device memory alone: a word in host
// memory costs each warp that reads it a trip across PCIe, and these queue up (2 200 messages/s instead of 90 000, 32
// blocks of 256 threads each asking for the status; H200, CUDA 13.0, gpu_bench consume/*).
//
// One owner: the consumer's thread launches; who owns a message owns its entry until the stream has released it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "ipcq/cuda.hpp"
#include "pool_mapping.hpp"

namespace ipcq::detail {

// As it lies in both memories; device/deliver.cu copies it in whole units of 16 bytes.
struct alignas(128) Delivered {
  cuda::Header header;
  std::byte inlined[96];  // payload of an inline message
};
static_assert(sizeof(Delivered) == 128 && sizeof(cuda::Header) == 32 && offsetof(cuda::Header, lost) == 28);

// The entries of one consumer in one context. What is made here stays with the process and is used again: to free it
// would wait for kernels of the user's.
class DeliveredEntries {
 public:
  // Loads the kernel and takes memory where the context has neither yet. Throws BackendError.
  DeliveredEntries(const Context& context, std::size_t count, const std::string& object);
  ~DeliveredEntries();
  DeliveredEntries(const DeliveredEntries&) = delete;
  DeliveredEntries& operator=(const DeliveredEntries&) = delete;

  // Address on the device.
  Delivered* entry(std::size_t index) const noexcept { return reinterpret_cast<Delivered*>(memory_) + index; }

  // Enqueues the copy. `tomb`, if any, is asked then: the message is lost where it has come to `lease`.
  CUresult enqueue(cuda::Stream stream, const Delivered& from, const Word* tomb, std::uint64_t lease,
                   Delivered* to) const noexcept;

 private:
  Context context_;
  std::size_t bytes_;
  CUfunction kernel_ = nullptr;
  CUdeviceptr memory_ = 0;
};

}  // namespace ipcq::detail
