// NVIDIA's run-time compiler.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cuda_library.hpp"

namespace ipcq::compiler {

// One source text with the headers that it may include by name, and the compiler's options.
struct Program {
  std::string name;  // what messages about the text call it
  std::string text;
  std::vector<std::pair<std::string, std::string>> headers;  // name, text
  std::vector<std::string> options;
  bool to_ltoir = false;  // by NVRTC, as its options say too; else to a cubin
  bool wants_ptx = false;
  std::string object;  // for the host: what the text is linked with
};

struct Compiled {
  bool ok = false;
  std::string log;    // whole, as the compiler wrote it; warnings and ptxas' report where it went well
  std::string image;  // a cubin, or LTO-IR
  std::string ptx;    // where it was wanted
};

struct CudaVersion {
  int major = 0;
  int minor = 0;
  std::string text() const { return std::to_string(major) + "." + std::to_string(minor); }
  bool is_older_than(const CudaVersion& other) const {
    return major != other.major ? major < other.major : minor < other.minor;
  }
};

class Nvrtc {
 public:
  // $IPCQ_NVRTC names another. Throws program::Failure as CudaLibrary does.
  Nvrtc();

  const CudaVersion& version() const noexcept { return version_; }
  const std::string& path() const noexcept { return library_.path(); }

  // Takes about a second. Throws program::Failure where the compiler itself fails, so for reasons that are not in the
  // text.
  Compiled compile(const Program& program) const;

 private:
  CudaLibrary library_;
  CudaVersion version_;
};

}  // namespace ipcq::compiler
