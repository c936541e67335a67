// Words that kernels and streams of this process share with its CPU.
//
// Pinned host memory has the same address on the CPU and on every GPU (checked at set-up), so nothing translates
// addresses.
#pragma once

#include <cstddef>
#include <string>

#include "driver.hpp"

namespace ipcq::detail {

// Zeroed pinned memory of this process, for GPUs of any context. Reused by later owners, never unpinned or unmapped.
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
