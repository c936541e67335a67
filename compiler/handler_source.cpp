#include "handler_source.hpp"

#include <filesystem>

#include <fmt/format.h>

namespace ipcq::compiler {

Program program_of(const HandlerSource& source) {
  Program p;
  p.name = "the kernels of the handler";
  // The library's code first: macros of the user's file do not reach it. The file is a header of the text, so that
  // whatever it leaves open ends with it, and messages name it.
  const bool can_be_included = source.path.find_first_of("\"\\") == std::string::npos;
  const std::string included = can_be_included ? source.path : "handler.cu";
  p.text = fmt::format("#include \"device/executors.cuh\"\n#include \"{}\"\n#include \"device/named_handler.cuh\"\n",
                       included);
  p.headers.emplace_back(included, source.text);
  for (const DeviceHeader& h : device_headers()) p.headers.emplace_back(h.name, h.text);
  p.options = {"--gpu-architecture=" + source.architecture, "--std=c++20",
               "--device-as-default-execution-space",  // functions of the user's without an annotation
               "--ptxas-options=-v", "--extra-device-vectorization"};
  const auto folder = std::filesystem::path(source.path).parent_path();
  p.options.push_back("--include-path=" + (folder.empty() ? std::string(".") : folder.string()));
  for (const auto& d : source.definitions) p.options.push_back("--define-macro=" + d);
  for (const auto& i : source.include_dirs) p.options.push_back("--include-path=" + i);
  return p;
}

}  // namespace ipcq::compiler
