// NVIDIA's linker of device code, which also optimises over what it links (LTO).
#pragma once

#include <string>
#include <string_view>

#include "nvrtc.hpp"

namespace ipcq::compiler {

class DeviceLinker {
 public:
  // $IPCQ_NVJITLINK names another. Throws program::Failure as CudaLibrary does.
  DeviceLinker();

  const CudaVersion& version() const noexcept { return version_; }
  const std::string& path() const noexcept { return library_.path(); }

  enum class Kind { ltoir, ptx };
  // The executors' kernels, LTO-IR, with a user's code, called `name` in messages. Takes about a second. Not ok, with
  // the linker's messages: the user's code does not fit, or is of a newer compiler.
  Compiled link(const std::string& architecture, std::string_view kernels, const std::string& name, Kind kind,
                std::string_view code) const;

 private:
  CudaLibrary library_;
  CudaVersion version_;
};

}  // namespace ipcq::compiler
