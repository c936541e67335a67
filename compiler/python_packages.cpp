#include "python_packages.hpp"

#include <system_error>

#include "environment.hpp"

namespace ipcq::compiler {

namespace fs = std::filesystem;

fs::path packages_beside_this_program() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return {};
  const fs::path bin = program.parent_path(), native = bin.parent_path(), package = native.parent_path();
  const bool is_wheel = bin.filename() == "bin" && native.filename() == "_native" && package.filename() == "ipcq";
  return is_wheel ? package.parent_path() : fs::path();
}

std::vector<fs::path> packages_of_active_environment() {
  std::vector<fs::path> all;
  const fs::path root = environment("VIRTUAL_ENV");
  if (root.empty()) return all;
  std::error_code ignored;
  for (const auto& python : fs::directory_iterator(root / "lib", ignored)) {
    all.push_back(python.path() / "site-packages");
  }
  return all;
}

}  // namespace ipcq::compiler
