// What kernels read of a received message in device memory: the word in which cuda::Payload decides its status, and,
// for an inline message or one whose header was asked for, a copy of the header and the inline bytes.
//
// The consumer fills in header and bytes in pinned memory. Behind the stream's wait a kernel of one warp
// (device/deliver.cu) copies them to the device and reads there, from `tomb`, whether the payload is lost. So of all
// threads of the user's kernels only one reads host memory, and only for a Payload: each warp that reads a word of host
// memory waits for PCIe, and such reads queue up (gpu_bench consume/*: 2 200 messages/s instead of 122 000 by payload
// and 74 000 by header; 32 blocks of 256 threads that all ask; H200, CUDA 13.0, MPS).
//
// For the consumer's thread; next_use() is thread-safe. Entry i belongs to one message until its stream has released
// it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "driver.hpp"
#include "ipcq/cuda.hpp"
#include "layout/atomic.hpp"
#include "layout/delivered.hpp"

namespace ipcq::detail {

// The entries of one consumer in one context. Their memory is never freed but reused (spare_memory.hpp).
class DeliveredEntries {
 public:
  // Loads the kernel, and allocates memory, where the context does not have them yet. Throws BackendError.
  DeliveredEntries(const Context& context, std::size_t count, const std::string& object);
  ~DeliveredEntries();
  DeliveredEntries(const DeliveredEntries&) = delete;
  DeliveredEntries& operator=(const DeliveredEntries&) = delete;

  // Address on the device.
  Delivered* entry(std::size_t index) const noexcept { return reinterpret_cast<Delivered*>(memory_) + index; }
  // Payload::decided of that entry. Not initialised: a stale value does not equal the number of a later use (next_use).
  unsigned long long* decided(std::size_t index) const noexcept {
    return reinterpret_cast<unsigned long long*>(memory_ + count_ * sizeof(Delivered)) + index;
  }
  // A number for Payload::use: 62 bits, different for each message of this process. The first one depends on the clock,
  // so that leftovers of other processes in device memory hardly match.
  static std::uint64_t next_use() noexcept;

  // Enqueues the copy. With `tomb`, the kernel sets `lost` where that word has reached `lease`; without, `from` has it.
  CUresult enqueue(cuda::Stream stream, const Delivered& from, const Word* tomb, std::uint64_t lease,
                   Delivered* to) const noexcept;

 private:
  Context context_;
  std::size_t count_;
  std::size_t bytes_;
  CUfunction kernel_ = nullptr;
  CUdeviceptr memory_ = 0;
};

}  // namespace ipcq::detail
