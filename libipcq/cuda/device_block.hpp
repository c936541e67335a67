// The VRAM of a device pool, which the runner allocated, mapped into a context of this process. Immutable, so
// thread-safe.
//
// The destructor may wait until no stream of the context stands in a wait: only the deferred unpin runs it.
#pragma once

#include <cstddef>
#include <string>

#include "driver.hpp"
#include "layout/layout.hpp"

namespace ipcq::detail {

// CUDA lets a process map an exported block in one context of a device at a time.
class DeviceBlock {
 public:
  // Throws BackendError.
  DeviceBlock(const Context& context, const PoolHeader& pool, const std::string& object);
  ~DeviceBlock();
  DeviceBlock(const DeviceBlock&) = delete;
  DeviceBlock& operator=(const DeviceBlock&) = delete;
  std::byte* payloads() const noexcept { return payloads_; }

 private:
  Context context_;
  CUdeviceptr base_ = 0;
  std::byte* payloads_ = nullptr;
};

}  // namespace ipcq::detail
