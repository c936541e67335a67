// NVIDIA's linker of device code, which also optimises over what it links (LTO).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nvrtc.hpp"

namespace ipcq::compiler {

class DeviceLinker {
 public:
  // $IPCQ_NVJITLINK names another. Throws program::Failure as CudaLibrary does.
  DeviceLinker();

  const CudaVersion& version() const noexcept { return version_; }
  const std::string& path() const noexcept { return library_.path(); }

  // As nvJitLink numbers them.
  enum class Kind { cubin = 1, ptx = 2, ltoir = 3, fatbin = 4 };
  struct Input {
    std::string name;  // in messages
    Kind kind;
    std::string_view code;
  };
  // Takes about a second where one is LTO-IR, else some milliseconds. Not ok, with the linker's messages: they do not
  // fit together, or are of a newer compiler.
  Compiled link(const std::string& architecture, const std::vector<Input>& inputs) const;

 private:
  CudaLibrary library_;
  CudaVersion version_;
};

}  // namespace ipcq::compiler
