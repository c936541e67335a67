// Files that the build makes for a test: they lie beside its program, also where both were copied to another machine.
#pragma once

#include <filesystem>
#include <string>

namespace ipcq_test {

inline std::string beside_this_test(const std::string& name) {
  return std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
}

}  // namespace ipcq_test
