// The state of one queue in the host runner: memory of this process, so that what a handler leaves half written ends
// with it.
//
// For the main thread, but for data(), which the handler changes. save() and load() are called between two messages.
#pragma once

#include <cstdint>
#include <string>

#include "base/os.hpp"
#include "ipcq/handler.hpp"

namespace ipcq::runner {

class StateMemory {
 public:
  // With the content of a file of as many bytes. Throws SystemError with `object`.
  StateMemory(std::uint64_t bytes, const detail::Fd& content, const std::string& object);
  ~StateMemory();
  StateMemory(const StateMemory&) = delete;
  StateMemory& operator=(const StateMemory&) = delete;

  State get() const noexcept { return {data_, bytes_}; }
  // Copy all of it to and from a file. Throw SystemError with `object`.
  void save(const detail::Fd& file, const std::string& object) const;
  void load(const detail::Fd& file, const std::string& object);

 private:
  std::byte* data_ = nullptr;
  std::uint64_t bytes_;
};

}  // namespace ipcq::runner
