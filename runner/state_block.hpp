// The state of one queue in VRAM.
//
// For the runner's main thread; handlers change the memory itself. Constructed and destroyed while no persistent kernel
// is on the GPU; save() and load() are called then too, and while the queue is held between two messages.
#pragma once

#include <cstdint>
#include <string>

#include "base/os.hpp"
#include "gpu.hpp"
#include "ipcq/handler.hpp"

namespace ipcq::runner {

class StateBlock {
 public:
  // With the content of a file of as many bytes. Throws BackendError (no room), SystemError.
  StateBlock(const Gpu& gpu, std::uint64_t bytes, const detail::Fd& content);

  // Its address is one of the GPU's.
  State get() const noexcept { return {reinterpret_cast<std::byte*>(memory_.address()), memory_.bytes()}; }
  // Copy all of it to and from a file. Throw BackendError, SystemError; both with `object`.
  void save(const detail::Fd& file, const std::string& object) const;
  void load(const detail::Fd& file, const std::string& object);

 private:
  const Gpu& gpu_;
  DeviceAllocation memory_;
  Stream stream_;
};

}  // namespace ipcq::runner
