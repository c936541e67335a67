// NVIDIA's run-time compiler, looked up at run time: nothing links it, so that a program starts without it and can say
// what is missing.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace ipcq::compiler {

// One source text with the headers that it may include by name, and the compiler's options.
struct Program {
  std::string name;  // what messages about the text call it
  std::string text;
  std::vector<std::pair<std::string, std::string>> headers;  // name, text
  std::vector<std::string> options;
};

struct Compiled {
  bool ok = false;
  std::string log;    // whole, as the compiler wrote it; warnings and ptxas' report where it went well
  std::string image;  // a cubin
};

class Nvrtc {
 public:
  // Finds the library: $IPCQ_NVRTC, the linker's places, a toolkit in $CUDA_HOME, $CUDA_PATH or /usr/local/cuda,
  // NVIDIA's wheels beside the Python in $VIRTUAL_ENV. Throws program::Failure, which says where it looked.
  Nvrtc();
  Nvrtc(const Nvrtc&) = delete;
  Nvrtc& operator=(const Nvrtc&) = delete;

  // "13.0", and the path of the library.
  const std::string& version() const noexcept { return version_; }
  const std::string& path() const noexcept { return path_; }

  // Takes about a second. Throws program::Failure where the compiler itself fails, so for reasons that are not in the
  // text.
  Compiled compile(const Program& program) const;

 private:
  // A function of the library. Throws program::Failure where there is none of that name.
  template <class Function>
  Function* look_up(const char* name) const;

  void* library_ = nullptr;  // stays open: the process ends soon
  std::string path_;
  std::string version_;
};

}  // namespace ipcq::compiler
