#include "nvrtc.hpp"

#include <dlfcn.h>
#include <link.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <type_traits>

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

std::vector<std::string> places() {
  std::vector<std::string> all;
  const auto add = [&](const std::filesystem::path& folder) {
    for (const char* name : kNames) all.push_back(folder / name);
  };
  if (const char* given = std::getenv("IPCQ_NVRTC"); given != nullptr && *given != '\0') return {given};
  for (const char* name : kNames) all.emplace_back(name);
  for (const char* variable : {"CUDA_HOME", "CUDA_PATH"}) {
    if (const char* root = std::getenv(variable); root != nullptr && *root != '\0') {
      add(std::filesystem::path(root) / "lib64");
    }
  }
  add("/usr/local/cuda/lib64");
  if (const char* root = std::getenv("VIRTUAL_ENV"); root != nullptr && *root != '\0') {
    std::error_code ignored;
    for (const auto& python : std::filesystem::directory_iterator(std::filesystem::path(root) / "lib", ignored)) {
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

template <class Function>
Function* look_up(void* library, const std::string& path, const char* name) {
  void* const found = ::dlsym(library, name);
  if (found == nullptr)
    throw program::Failure(
        program::kBackend,
        fmt::format("{} has no {}: it is no NVRTC of CUDA 12 or 13; set IPCQ_NVRTC to one", path, name));
  return reinterpret_cast<Function*>(found);
}

std::vector<const char*> pointers(const std::vector<std::string>& texts) {
  std::vector<const char*> all;
  all.reserve(texts.size());
  for (const auto& t : texts) all.push_back(t.c_str());
  return all;
}

}  // namespace

Nvrtc::Nvrtc() {
  std::string tried;
  const char* const variable = std::getenv("IPCQ_NVRTC");
  const bool given = variable != nullptr && *variable != '\0';
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
  if (look_up<VersionFunction>(library_, path_, "nvrtcVersion")(&major, &minor) != kSuccess) {
    throw program::Failure(program::kBackend,
                           fmt::format("{} does not say its version: it is damaged, or not whole", path_));
  }
  version_ = fmt::format("{}.{}", major, minor);
}

Compiled Nvrtc::compile(const Program& program) const {
  const auto find = [&]<class F>(std::type_identity<F>, const char* name) { return look_up<F>(library_, path_, name); };
  const auto text = find(std::type_identity<TextFunction>(), "nvrtcGetErrorString");
  const auto check = [&](Result r, const char* call) {
    if (r != kSuccess) throw program::Failure(program::kBackend, fmt::format("{}: {} says: {}", path_, call, text(r)));
  };
  std::vector<const char*> names, texts;
  for (const auto& [name, content] : program.headers) {
    names.push_back(name.c_str());
    texts.push_back(content.c_str());
  }
  Handle handle = nullptr;
  check(find(std::type_identity<CreateFunction>(), "nvrtcCreateProgram")(
            &handle, program.text.c_str(), program.name.c_str(), static_cast<int>(names.size()), texts.data(),
            names.data()),
        "nvrtcCreateProgram");
  const auto fetch = [&](const char* size_call, const char* call) {
    std::size_t size = 0;
    check(find(std::type_identity<SizeFunction>(), size_call)(handle, &size), size_call);
    std::string all(size, '\0');
    check(find(std::type_identity<GetFunction>(), call)(handle, all.data()), call);
    return all;
  };
  const auto options = pointers(program.options);
  const Result result = find(std::type_identity<CompileFunction>(), "nvrtcCompileProgram")(
      handle, static_cast<int>(options.size()), options.data());
  Compiled out;
  out.log = fetch("nvrtcGetProgramLogSize", "nvrtcGetProgramLog");
  while (!out.log.empty() && (out.log.back() == '\0' || out.log.back() == '\n')) out.log.pop_back();
  out.ok = result == kSuccess;
  if (!out.ok && (result != kCompilation || out.log.empty())) {
    throw program::Failure(program::kBackend,
                           fmt::format("{}: {}{}{}", path_, text(result), out.log.empty() ? "" : ": ", out.log));
  }
  if (out.ok) out.image = fetch("nvrtcGetCUBINSize", "nvrtcGetCUBIN");
  find(std::type_identity<DestroyFunction>(), "nvrtcDestroyProgram")(&handle);
  return out;
}

}  // namespace ipcq::compiler
