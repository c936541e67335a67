// Keeps memory of former owners for the next owner in the same context. It is never given back to the driver: to free
// or unpin it would wait for kernels of the user.
//
// Thread-safe. Invariant: the list has room for every block that is in use, so keep() does not allocate. Instances are
// never destroyed: a static destructor would run after the driver has unloaded.
#pragma once

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <optional>
#include <vector>

#include "driver.hpp"

namespace ipcq::detail {

// Memory: void* or CUdeviceptr.
template <class Memory>
class SpareMemory {
 public:
  // Memory of exactly that size. None: the caller allocates it, and keep() has room for it from now on.
  std::optional<Memory> take(const Context& context, std::size_t bytes) {
    const std::scoped_lock lock(mutex_);
    const auto it = std::find_if(all_.begin(), all_.end(),
                                 [&](const Spare& s) { return s.context == context && s.bytes == bytes; });
    if (it == all_.end()) {
      all_.reserve(all_.capacity() + 1);
      return std::nullopt;
    }
    const Memory memory = it->memory;
    all_.erase(it);
    return memory;
  }
  // Takes back what take() returned, or what the caller allocated after take() had returned nothing.
  void keep(const Context& context, std::size_t bytes, Memory memory) noexcept {
    const std::scoped_lock lock(mutex_);
    all_.push_back({context, bytes, memory});
  }

 private:
  struct Spare {
    Context context;
    std::size_t bytes;
    Memory memory;
  };
  std::mutex mutex_;
  std::vector<Spare> all_;
};

}  // namespace ipcq::detail
