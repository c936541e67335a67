#include "cuda_library.hpp"

#include <dlfcn.h>
#include <link.h>

#include <filesystem>
#include <utility>

#include <fmt/format.h>

#include "environment.hpp"
#include "program/exit_code.hpp"
#include "python_packages.hpp"

namespace ipcq::compiler {
namespace {

// Of a library that was found by its name alone.
std::string real_path(const std::string& name, void* library) {
  link_map* map = nullptr;
  return ::dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr && *map->l_name != '\0' ? map->l_name : name;
}

}  // namespace

std::vector<std::string> CudaLibrary::places() const {
  if (const auto given = environment(names_.variable); !given.empty()) return {given};
  std::vector<std::string> all;
  const auto add = [&](const std::filesystem::path& folder) {
    for (const char* file : names_.files) all.push_back(folder / file);
  };
  const auto add_wheels = [&](const std::filesystem::path& packages) {
    for (const char* wheel : names_.wheels) add(packages / "nvidia" / wheel / "lib");
  };
  // First, as the compilers of that Python (Numba's, for one) are of the same release.
  if (const auto packages = packages_beside_this_program(); !packages.empty()) add_wheels(packages);
  all.insert(all.end(), names_.files.begin(), names_.files.end());
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const std::filesystem::path root = environment(variable); !root.empty()) add(root / "lib64");
  }
  add("/usr/local/cuda/lib64");
  for (const auto& packages : packages_of_active_environment()) add_wheels(packages);
  return all;
}

CudaLibrary::CudaLibrary(Names names) : names_(std::move(names)) {
  std::string tried;
  const bool given = !environment(names_.variable).empty();
  for (const std::string& place : places()) {
    library_ = ::dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library_ != nullptr) {
      path_ = real_path(place, library_);
      return;
    }
    const char* const why = ::dlerror();
    tried += (tried.empty() ? "" : ", ") + (given && why != nullptr ? std::string(why) : place);
  }
  throw program::Failure(
      program::kBackend,
      fmt::format("{}, which {}, was not found (tried {}); install it (a CUDA toolkit, or `pip install {}` beside "
                  "ipcq or in an active virtual environment), or set {} to the library's path",
                  names_.title, names_.purpose, tried, names_.package, names_.variable));
}

void* CudaLibrary::find(const char* name) const {
  void* const found = ::dlsym(library_, name);
  if (found != nullptr) return found;
  throw program::Failure(program::kBackend, fmt::format("{} has no {}: it is no {} of CUDA 12 or 13; set {} to one",
                                                        path_, name, names_.title, names_.variable));
}

}  // namespace ipcq::compiler
