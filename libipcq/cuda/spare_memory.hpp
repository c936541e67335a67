// Memory of contexts that nobody uses at the moment. It stays with the process and is used again: to give it back to
// the driver would wait for kernels of the user's. Thread-safe.
//
// Never destroyed by its owners: at exit the driver unloads before it could be.
#pragma once

#include <algorithm>
#include <cstddef>
#include <mutex>
#include <optional>
#include <vector>

#include "driver.hpp"

namespace ipcq::detail {

// Memory: how it is addressed, void* or CUdeviceptr.
template <class Memory>
class SpareMemory {
 public:
  // Memory of just that size. Where there is none: makes sure that keep() finds room for one more.
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
  // What take() gave, or what was made after it had given nothing.
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
