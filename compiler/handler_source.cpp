#include "handler_source.hpp"

#include <filesystem>

#include <fmt/format.h>

namespace ipcq::compiler {
Program program_of(const HandlerSource& source) {
  Program p;
  p.name = source.path;
  // The file's own lines keep their numbers.
  p.text = fmt::format("#include \"ipcq/handler.hpp\"\n#line 1 \"{}\"\n{}\n#include \"device/named_handler.cuh\"\n",
                       source.path, source.text);
  for (const DeviceHeader& h : device_headers()) p.headers.emplace_back(h.name, h.text);
  p.options = {"--gpu-architecture=" + source.architecture, "--std=" + source.standard,
               "--device-as-default-execution-space",  // functions of the user's without an annotation
               "--ptxas-options=-v", "--extra-device-vectorization"};
  const auto folder = std::filesystem::path(source.path).parent_path();
  p.options.push_back("--include-path=" + (folder.empty() ? std::string(".") : folder.string()));
  for (const auto& d : source.definitions) p.options.push_back("--define-macro=" + d);
  for (const auto& i : source.include_dirs) p.options.push_back("--include-path=" + i);
  return p;
}

}  // namespace ipcq::compiler
