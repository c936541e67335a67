#include "device_linker.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdlib>

#include <fmt/format.h>

#include "program/exit_code.hpp"

namespace ipcq::compiler {
namespace {

// As nvJitLink.h of CUDA 12 and 13 declares them; the header is not needed to build. The functions have plain names in
// all of these libraries, beside those of the header, which name a version.
using Handle = struct HandleOfNvJitLink*;
using Result = int;
constexpr Result kSuccess = 0;
using VersionFunction = Result(unsigned*, unsigned*);
using CreateFunction = Result(Handle*, std::uint32_t, const char**);
using AddFunction = Result(Handle, int, const void*, std::size_t, const char*);
using CompleteFunction = Result(Handle);
using SizeFunction = Result(Handle, std::size_t*);
using GetFunction = Result(Handle, void*);
using DestroyFunction = Result(Handle*);

}  // namespace

DeviceLinker::DeviceLinker()
    : library_({"nvJitLink",
                "links device code of other compilers",
                "IPCQ_NVJITLINK",
                {"libnvJitLink.so.13", "libnvJitLink.so.12"},
                {"cu13", "nvjitlink"},
                "nvidia-nvjitlink"}) {
  // Where a driver is, it would take the image from that one's cache, and then has nothing to say of the registers.
  ::setenv("CUDA_CACHE_DISABLE", "1", 1);
  unsigned major = 0, minor = 0;
  if (library_.look_up<VersionFunction>("nvJitLinkVersion")(&major, &minor) != kSuccess) {
    throw program::Failure(program::kBackend,
                           fmt::format("{} does not say its version: it is damaged, or not whole", path()));
  }
  version_ = {static_cast<int>(major), static_cast<int>(minor)};
}

Compiled DeviceLinker::link(const std::string& architecture, const std::vector<Input>& inputs) const {
  const std::string arch = "-arch=" + architecture;
  // The bound of the kernels, which a function that is compiled by itself does not know.
  std::vector<const char*> options = {arch.c_str(), "-maxrregcount=64", "-Xptxas=-v"};
  const auto is_ltoir = [](const Input& input) { return input.kind == Kind::ltoir; };
  if (std::any_of(inputs.begin(), inputs.end(), is_ltoir)) options.push_back("-lto");
  Handle handle = nullptr;
  const Result created = library_.look_up<CreateFunction>("nvJitLinkCreate")(
      &handle, static_cast<std::uint32_t>(options.size()), options.data());
  if (created != kSuccess) {
    throw program::Failure(program::kBackend, fmt::format("{}: nvJitLinkCreate for {} says {}: does nvJitLink {} know "
                                                          "this GPU? Install a newer one, or set IPCQ_NVJITLINK to it",
                                                          path(), architecture, created, version_.text()));
  }
  const auto fetch = [&](const char* size_call, const char* call) {
    std::size_t size = 0;
    if (library_.look_up<SizeFunction>(size_call)(handle, &size) != kSuccess) return std::string();
    std::string all(size, '\0');
    if (library_.look_up<GetFunction>(call)(handle, all.data()) != kSuccess) return std::string();
    return all;
  };
  const auto add = library_.look_up<AddFunction>("nvJitLinkAddData");
  Result result = kSuccess;
  for (const Input& input : inputs) {
    if (result != kSuccess) break;
    result = add(handle, static_cast<int>(input.kind), input.code.data(), input.code.size(), input.name.c_str());
  }
  if (result == kSuccess) result = library_.look_up<CompleteFunction>("nvJitLinkComplete")(handle);
  Compiled out;
  out.ok = result == kSuccess;
  out.log = out.ok ? fetch("nvJitLinkGetInfoLogSize", "nvJitLinkGetInfoLog")
                   : fetch("nvJitLinkGetErrorLogSize", "nvJitLinkGetErrorLog");
  while (!out.log.empty() && (out.log.back() == '\0' || out.log.back() == '\n')) out.log.pop_back();
  if (out.ok) out.image = fetch("nvJitLinkGetLinkedCubinSize", "nvJitLinkGetLinkedCubin");
  if (!out.ok && out.log.empty()) out.log = fmt::format("nvJitLink {} says {}", version_.text(), result);
  library_.look_up<DestroyFunction>("nvJitLinkDestroy")(&handle);
  return out;
}

}  // namespace ipcq::compiler
