// The VRAM of a device pool, opened in a context of this process.
#pragma once

#include <cstddef>
#include <string>

#include "driver.hpp"
#include "layout/layout.hpp"

namespace ipcq::detail {

// The exported block of a device pool, as a context has it. One context of a process may open it.
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
