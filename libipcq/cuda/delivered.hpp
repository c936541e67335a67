// What kernels of a stream find of a received message in device memory: the word in which the status of a payload is
// decided (cuda::Payload), and where it is asked for, and for inline messages, a header with the inline bytes.
//
// The CPU fills in header and bytes in pinned memory. A kernel of one warp (device/deliver.cu) brings them to the
// device behind the stream's wait and asks there whether the payload came. So the user's kernels read device memory
// alone, but for one thread of all that ask a payload: a word in host memory costs each warp that reads it a trip
// across PCIe, and these queue up (gpu_bench consume/*: 2 200 messages/s instead of 122 000 by payload and 74 000 by
// header; 32 blocks of 256 threads that all ask; H200, CUDA 13.0, MPS).
//
// One owner: the consumer's thread launches; who owns a message owns its entry until the stream has released it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "driver.hpp"
#include "ipcq/cuda.hpp"
#include "layout/atomic.hpp"
#include "layout/delivered.hpp"

namespace ipcq::detail {

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
  // Payload::decided of that entry; holds whatever was there, which no use is.
  unsigned long long* decided(std::size_t index) const noexcept {
    return reinterpret_cast<unsigned long long*>(memory_ + count_ * sizeof(Delivered)) + index;
  }
  // A number for Payload::use: 62 bits, of no other message of this process, and begun at random.
  static std::uint64_t next_use() noexcept;

  // Enqueues the copy. `tomb`, if any, is asked then: the message is lost where it has come to `lease`.
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
