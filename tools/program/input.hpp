// Input: a file or standard input, read in chunks. A stop request ends a wait for input. For one thread.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "program/file_descriptor.hpp"
#include "program/signals.hpp"

namespace ipcq::program {

class Input {
 public:
  // "-" is standard input. Throws Failure when the file cannot be opened for reading, or standard input is closed.
  Input(const std::string& path, const Signals& signals);

  const std::string& name() const noexcept { return name_; }

  // Reads the bytes that are available, up to the span's size; waits for the first one. 0: end of input, or a stop was
  // requested. Throws Failure on an error.
  std::size_t read(std::span<std::byte> into);
  // Reads until the span is full or the input ends.
  std::size_t read_fully(std::span<std::byte> into);

 private:
  std::string name_;
  FileDescriptor fd_;
  const Signals& signals_;
};

}  // namespace ipcq::program
