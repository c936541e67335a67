#include "nvrtc.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <optional>
#include <sstream>

#include <fmt/format.h>

#include "image_file.hpp"
#include "program/exit_code.hpp"
#include "program/file_descriptor.hpp"
#include "program/print.hpp"

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

std::vector<const char*> pointers(const std::vector<std::string>& texts) {
  std::vector<const char*> all;
  all.reserve(texts.size());
  for (const auto& t : texts) all.push_back(t.c_str());
  return all;
}

// While it lives, what is written to standard error is held back; lines of information are left out then. NVRTC 13.5
// writes one for each LTO-IR that it makes, and a broker takes what stands there for warnings about the user's file.
class WithoutInformation {
 public:
  WithoutInformation()
      : held_(::memfd_create("ipcq-nvrtc-stderr", MFD_CLOEXEC)),
        before_(::fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1)) {
    if (held_.valid() && before_.valid()) ::dup2(held_.get(), STDERR_FILENO);
  }
  WithoutInformation(const WithoutInformation&) = delete;
  WithoutInformation& operator=(const WithoutInformation&) = delete;
  ~WithoutInformation() {
    if (!held_.valid() || !before_.valid()) return;
    ::dup2(before_.get(), STDERR_FILENO);
    std::istringstream lines(read_descriptor(held_.get()).value_or(""));
    for (std::string line; std::getline(lines, line);) {
      if (!line.starts_with("INFO:")) program::print(line + "\n", STDERR_FILENO);
    }
  }

 private:
  const program::FileDescriptor held_, before_;
};

}  // namespace

Nvrtc::Nvrtc()
    : library_({"NVRTC",
                "compiles handlers",
                "IPCQ_NVRTC",
                {"libnvrtc.so.13", "libnvrtc.so.12"},
                {"cu13", "cuda_nvrtc"},
                "nvidia-cuda-nvrtc"}) {
  if (library_.look_up<VersionFunction>("nvrtcVersion")(&version_.major, &version_.minor) != kSuccess) {
    throw program::Failure(program::kBackend,
                           fmt::format("{} does not say its version: it is damaged, or not whole", path()));
  }
}

Compiled Nvrtc::compile(const Program& program) const {
  const auto text = library_.look_up<TextFunction>("nvrtcGetErrorString");
  const auto check = [&](Result r, const char* call) {
    if (r != kSuccess) throw program::Failure(program::kBackend, fmt::format("{}: {} says: {}", path(), call, text(r)));
  };
  std::vector<const char*> names, texts;
  for (const auto& [name, content] : program.headers) {
    names.push_back(name.c_str());
    texts.push_back(content.c_str());
  }
  Handle handle = nullptr;
  check(library_.look_up<CreateFunction>("nvrtcCreateProgram")(&handle, program.text.c_str(), program.name.c_str(),
                                                               static_cast<int>(names.size()), texts.data(),
                                                               names.data()),
        "nvrtcCreateProgram");
  const auto fetch = [&](const char* size_call, const char* call) {
    std::size_t size = 0;
    check(library_.look_up<SizeFunction>(size_call)(handle, &size), size_call);
    std::string all(size, '\0');
    check(library_.look_up<GetFunction>(call)(handle, all.data()), call);
    return all;
  };
  auto options = pointers(program.options);
  // From 12.9 on it has a cache, and starts CUDA for it where there is a driver: 0.2 s (H200, driver 580). There is a
  // cache of our own (image_cache.hpp), and of what it finds in its own it has no registers to report.
  if (!version_.is_older_than({12, 9})) options.push_back("--no-cache");
  std::optional<WithoutInformation> quiet;
  if (program.to_ltoir) quiet.emplace();
  const Result result = library_.look_up<CompileFunction>("nvrtcCompileProgram")(
      handle, static_cast<int>(options.size()), options.data());
  quiet.reset();
  Compiled out;
  out.log = fetch("nvrtcGetProgramLogSize", "nvrtcGetProgramLog");
  while (!out.log.empty() && (out.log.back() == '\0' || out.log.back() == '\n')) out.log.pop_back();
  out.ok = result == kSuccess;
  if (!out.ok && (result != kCompilation || out.log.empty())) {
    throw program::Failure(program::kBackend,
                           fmt::format("{}: {}{}{}", path(), text(result), out.log.empty() ? "" : ": ", out.log));
  }
  if (out.ok && program.to_ltoir) out.image = fetch("nvrtcGetLTOIRSize", "nvrtcGetLTOIR");
  if (out.ok && !program.to_ltoir) out.image = fetch("nvrtcGetCUBINSize", "nvrtcGetCUBIN");
  if (out.ok && program.wants_ptx) out.ptx = fetch("nvrtcGetPTXSize", "nvrtcGetPTX");
  library_.look_up<DestroyFunction>("nvrtcDestroyProgram")(&handle);
  return out;
}

}  // namespace ipcq::compiler
