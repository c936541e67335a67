#include "nvrtc.hpp"

#include <dlfcn.h>
#include <link.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>

#include <fmt/format.h>

#include "program/exit_code.hpp"

namespace ipcq::compiler {
namespace {

// As nvrtc.h of CUDA 12 and 13 declares them; the header is not needed to build.
using Handle = struct HandleOfNvrtc*;
using Result = int;
constexpr Result kSuccess = 0;
constexpr Result kCompilation = 6;
using VersionFunction = Result(int*, int*);
using CreateFunction = Result(Handle*, const char*, const char*, int, const char* const*, const char* const*);
using CompileFunction = Result(Handle, int, const char* const*);
using SizeFunction = Result(Handle, std::size_t*);
using GetFunction = Result(Handle, char*);
using DestroyFunction = Result(Handle*);
using TextFunction = const char*(Result);

// Newest first: a newer one knows newer GPUs.
constexpr const char* kNames[] = {"libnvrtc.so.13", "libnvrtc.so.12"};

// Empty: the variable is not set, or empty.
std::string environment(const char* variable) {
  const char* const value = std::getenv(variable);
  return value != nullptr ? value : "";
}

std::vector<std::string> places() {
  std::vector<std::string> all;
  const auto add = [&](const std::filesystem::path& folder) {
    for (const char* name : kNames) all.push_back(folder / name);
  };
  if (const auto given = environment("IPCQ_NVRTC"); !given.empty()) return {given};
  for (const char* name : kNames) all.emplace_back(name);
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const std::filesystem::path root = environment(variable); !root.empty()) add(root / "lib64");
  }
  add("/usr/local/cuda/lib64");
  if (const std::filesystem::path root = environment("VIRTUAL_ENV"); !root.empty()) {
    std::error_code ignored;
    for (const auto& python : std::filesystem::directory_iterator(root / "lib", ignored)) {
      for (const char* wheel : {"cu13", "cuda_nvrtc"}) {
        add(python.path() / "site-packages" / "nvidia" / wheel / "lib");
      }
    }
  }
  return all;
}

// Of a library that was found by its name alone.
std::string real_path(const std::string& name, void* library) {
  link_map* map = nullptr;
  return ::dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map != nullptr && *map->l_name != '\0' ? map->l_name : name;
}

std::vector<const char*> pointers(const std::vector<std::string>& texts) {
  std::vector<const char*> all;
  all.reserve(texts.size());
  for (const auto& t : texts) all.push_back(t.c_str());
  return all;
}

}  // namespace

template <class Function>
Function* Nvrtc::look_up(const char* name) const {
  void* const found = ::dlsym(library_, name);
  if (found == nullptr)
    throw program::Failure(
        program::kBackend,
        fmt::format("{} has no {}: it is no NVRTC of CUDA 12 or 13; set IPCQ_NVRTC to one", path_, name));
  return reinterpret_cast<Function*>(found);
}

Nvrtc::Nvrtc() {
  // From 12.9 on NVRTC keeps results in the driver's cache, and has nothing to say of the registers then. There is a
  // cache of our own (image_cache.hpp).
  ::setenv("CUDA_CACHE_DISABLE", "1", 1);
  std::string tried;
  const bool given = !environment("IPCQ_NVRTC").empty();
  for (const std::string& place : places()) {
    library_ = ::dlopen(place.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (library_ != nullptr) {
      path_ = real_path(place, library_);
      break;
    }
    const char* const why = ::dlerror();
    tried += (tried.empty() ? "" : ", ") + (given && why != nullptr ? std::string(why) : place);
  }
  if (library_ == nullptr) {
    throw program::Failure(
        program::kBackend,
        fmt::format(
            "NVRTC, which compiles handlers, was not found (tried {}); install it (a CUDA toolkit, or `pip "
            "install nvidia-cuda-nvrtc` in an active virtual environment), or set IPCQ_NVRTC to the library's path",
            tried));
  }
  int major = 0, minor = 0;
  if (look_up<VersionFunction>("nvrtcVersion")(&major, &minor) != kSuccess) {
    throw program::Failure(program::kBackend,
                           fmt::format("{} does not say its version: it is damaged, or not whole", path_));
  }
  version_ = fmt::format("{}.{}", major, minor);
}

Compiled Nvrtc::compile(const Program& program) const {
  const auto text = look_up<TextFunction>("nvrtcGetErrorString");
  const auto check = [&](Result r, const char* call) {
    if (r != kSuccess) throw program::Failure(program::kBackend, fmt::format("{}: {} says: {}", path_, call, text(r)));
  };
  std::vector<const char*> names, texts;
  for (const auto& [name, content] : program.headers) {
    names.push_back(name.c_str());
    texts.push_back(content.c_str());
  }
  Handle handle = nullptr;
  check(look_up<CreateFunction>("nvrtcCreateProgram")(&handle, program.text.c_str(), program.name.c_str(),
                                                      static_cast<int>(names.size()), texts.data(), names.data()),
        "nvrtcCreateProgram");
  const auto fetch = [&](const char* size_call, const char* call) {
    std::size_t size = 0;
    check(look_up<SizeFunction>(size_call)(handle, &size), size_call);
    std::string all(size, '\0');
    check(look_up<GetFunction>(call)(handle, all.data()), call);
    return all;
  };
  const auto options = pointers(program.options);
  const Result result =
      look_up<CompileFunction>("nvrtcCompileProgram")(handle, static_cast<int>(options.size()), options.data());
  Compiled out;
  out.log = fetch("nvrtcGetProgramLogSize", "nvrtcGetProgramLog");
  while (!out.log.empty() && (out.log.back() == '\0' || out.log.back() == '\n')) out.log.pop_back();
  out.ok = result == kSuccess;
  if (!out.ok && (result != kCompilation || out.log.empty())) {
    throw program::Failure(program::kBackend,
                           fmt::format("{}: {}{}{}", path_, text(result), out.log.empty() ? "" : ": ", out.log));
  }
  if (out.ok) out.image = fetch("nvrtcGetCUBINSize", "nvrtcGetCUBIN");
  look_up<DestroyFunction>("nvrtcDestroyProgram")(&handle);
  return out;
}

}  // namespace ipcq::compiler
