// A C++ compiler, the system's or one that came as a package of Python, which makes a shared object of a handler for
// the host.
#pragma once

#include <string>

#include "handler_source.hpp"
#include "nvrtc.hpp"

namespace ipcq::compiler {

class HostCompiler {
 public:
  // Finds it: $IPCQ_CXX, a path or the name of a program; else the first of c++, g++, clang++ in PATH; else zig, which
  // has clang in it, of the package ziglang or in PATH. Throws program::Failure, which says what to install or set.
  HostCompiler();

  const std::string& path() const noexcept { return path_; }
  // Changes when the compiler does, as far as its program shows it: file, size, time of the last change, and what the
  // environment tells it.
  std::string identity() const;

  // Takes half a second. Throws program::Failure where the compiler itself fails, so for reasons that are not in the
  // text; what it has said is on standard error then. Call it while this process has one thread.
  Compiled compile(const HandlerSource& source) const;

 private:
  bool is_zig() const;

  std::string path_;
};

// Of an image: "g++ 12.2.0".
std::string host_compiler_of(const std::string& image);

}  // namespace ipcq::compiler
