// Input: a file or standard input, read in chunks, where a stop request ends the waiting.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "common/file_descriptor.hpp"
#include "common/signals.hpp"

namespace ipcq::program {

class Input {
 public:
  // "-" is standard input. Throws Failure when there is nothing that can be read.
  Input(const std::string& path, const Signals& signals);

  const std::string& name() const noexcept { return name_; }

  // Reads what is there, up to the span's size, waiting for the first byte. 0: end of input or stop requested.
  // Throws Failure on an error.
  std::size_t read(std::span<std::byte> into);
  // Reads until the span is full or the input ends.
  std::size_t read_fully(std::span<std::byte> into);

 private:
  std::string name_;
  FileDescriptor fd_;
  const Signals& signals_;
};

}  // namespace ipcq::program
