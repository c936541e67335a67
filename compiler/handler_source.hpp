// The one text that a handler is compiled as: the executors' device code, the user's file, and the kernels of both.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nvrtc.hpp"

namespace ipcq::compiler {

// A header of the library's device code, or what stands for one of the standard library (device/).
struct DeviceHeader {
  std::string_view name;  // as it is included
  std::string_view text;
};
// Generated from the headers (CMakeLists.txt).
const std::vector<DeviceHeader>& device_headers();

struct HandlerSource {
  std::string path;  // of the user's file, as messages are to call it; without control characters
  std::string text;
  std::string architecture;               // "sm_90"
  std::vector<std::string> definitions;   // NAME or NAME=VALUE
  std::vector<std::string> include_dirs;  // beside the file's own
};

// The kernels are called ipcq_<what>_user.
Program program_of(const HandlerSource& source);

}  // namespace ipcq::compiler
