// Pinned memory that streams and kernels of this process share with its CPU.
//
// Invariant: pinned host memory has the same address on the CPU and on every GPU (checked at set-up), so no code
// translates addresses. A block is for one owner; different threads may make and destroy blocks.
#pragma once

#include <cstddef>
#include <string>

#include "driver.hpp"

namespace ipcq::detail {

// Zeroed pinned memory, for GPUs of any context. Never unpinned, but reused by later owners (spare_memory.hpp). The
// owner ends it only when no stream will write it any more. Throws BackendError, SystemError.
class HostBlock {
 public:
  HostBlock(const Context& context, std::size_t bytes, const std::string& object);
  ~HostBlock();
  HostBlock(const HostBlock&) = delete;
  HostBlock& operator=(const HostBlock&) = delete;
  void* data() const noexcept { return data_; }

 private:
  Context context_;
  std::size_t bytes_;
  void* data_ = nullptr;
};

// Throws BackendError where the GPU of the current context reaches `data`, which is pinned, at another address.
void check_same_address(void* data, const std::string& object);

}  // namespace ipcq::detail
