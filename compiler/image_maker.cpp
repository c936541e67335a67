#include "image_maker.hpp"

#include <unistd.h>

#include <regex>
#include <sstream>
#include <string>

#include <fmt/format.h>

#include "device_linker.hpp"
#include "handler_library.hpp"
#include "host_compiler.hpp"
#include "image_key.hpp"
#include "nvrtc.hpp"
#include "program/exit_code.hpp"
#include "program/print.hpp"

namespace ipcq::compiler {
namespace {

using program::Failure;

// What ptxas reports of the persistent kernel, and the log's other lines.
struct Report {
  int registers = 0;
  int spilled = 0;  // bytes that a thread stores, in the kernel and in what it calls
  std::string rest;
};
Report report_of(const std::string& log) {
  static const std::regex of_report("^ptxas +(info|\\.)"), entry("Compiling entry function '([^']*)'"),
      function("Function properties for"), used("Used ([0-9]+) registers"), spill("([0-9]+) bytes spill stores");
  Report r;
  bool persistent = false;   // the lines are of that kernel
  bool of_function = false;  // the next figures are of one function; ptxas repeats all at the end
  std::istringstream lines(log);
  for (std::string line; std::getline(lines, line);) {
    std::smatch found;
    if (!std::regex_search(line, of_report)) {
      r.rest += line + "\n";
    } else if (std::regex_search(line, found, entry)) {
      persistent = found[1] == "ipcq_persistent_user";
    } else if (std::regex_search(line, function)) {
      of_function = persistent;
    } else if (of_function && std::regex_search(line, found, spill)) {
      r.spilled += std::stoi(found[1]);
      of_function = false;
    } else if (persistent && std::regex_search(line, found, used)) {
      r.registers = std::stoi(found[1]);
    }
  }
  return r;
}

// None, after the compiler's messages, where it refuses the text.
std::optional<HandlerImage> take(const Compiled& made, const std::string& messages) {
  if (!made.ok) {
    program::print(messages.empty() ? made.log + "\n" : messages, STDERR_FILENO);
    return {};
  }
  HandlerImage image;
  image.messages = messages;
  image.bytes = made.image;
  return image;
}

// `by`: what made it.
std::optional<HandlerImage> take_kernels(const HandlerSource& source, const Compiled& made, const std::string& by) {
  const Report report = report_of(made.log);
  auto image = take(made, report.rest);
  if (!image) return {};
  if (report.registers == 0 || made.image.empty()) {
    throw Failure(program::kFailure, fmt::format("'{}': {} made no kernel for {} of it, and does not say why",
                                                 source.path, by, source.architecture));
  }
  image->compiler = by;
  image->registers = report.registers;
  image->spilled = report.spilled;
  return image;
}

std::optional<HandlerImage> compile_for_gpu(const Nvrtc& nvrtc, const HandlerSource& source) {
  return take_kernels(source, nvrtc.compile(device_program(source)), "NVRTC " + nvrtc.version().text());
}

// Kernels that call ipcq_handle(), and the user's code behind them.
std::optional<HandlerImage> link_for_gpu(const Nvrtc& nvrtc, const DeviceLinker& linker, const HandlerSource& source) {
  const Compiled kernels = nvrtc.compile(device_program(source));
  if (!kernels.ok) {
    throw Failure(program::kFailure, fmt::format("NVRTC {} does not compile the executors' kernels:\n{}",
                                                 nvrtc.version().text(), kernels.log));
  }
  const auto kind = source.kind == HandlerKind::ptx ? DeviceLinker::Kind::ptx : DeviceLinker::Kind::ltoir;
  Compiled linked = linker.link(source.architecture, kernels.image, source.path, kind, source.text);
  const std::string by = "nvJitLink " + linker.version().text();
  if (!linked.ok) {
    linked.log += fmt::format(
        "\n{}: {} does not link it for {}; it is to be of a compiler that is no newer than that linker, for this GPU "
        "or "
        "an older one, with: extern \"C\" int32_t ipcq_handle(void* data, uint64_t length, const struct ipcq_context* "
        "context)",
        source.path, by, source.architecture);
  }
  return take_kernels(source, linked, by);
}

std::optional<HandlerImage> compile_for_host(const HostCompiler& compiler, const HandlerSource& source) {
  const Compiled made = compiler.compile(source);
  auto image = take(made, made.log.empty() ? "" : made.log + "\n");
  if (image) image->compiler = host_compiler_of(made.image);
  return image;
}

// The image from the cache, or from the compiler and then kept there.
template <class Make>
MadeImage find_or_make(const HandlerSource& source, const std::string& compiler, bool use_cache, const Make& make) {
  MadeImage made;
  if (!use_cache) {
    made.image = make();
    return made;
  }
  const ImageCache cache;
  const ImageKey key = image_key(source, compiler);
  made.not_kept = cache.unusable().empty() ? key.unknown : cache.unusable();
  if (!made.not_kept.empty()) {
    made.image = make();
    return made;
  }
  made.image = cache.find(key.name);
  made.cached = made.image.has_value();
  if (made.cached) return made;
  made.image = make();
  // Of headers that have changed meanwhile nobody knows which the compiler has read.
  if (made.image && image_key(source, compiler).name != key.name) {
    made.not_kept = "a header has changed meanwhile";
  } else if (made.image) {
    cache.keep(key.name, *made.image);
  }
  return made;
}

}  // namespace

MadeImage make_image(const HandlerSource& source, bool use_cache) {
  if (source.kind != HandlerKind::source && (!source.definitions.empty() || !source.include_dirs.empty())) {
    throw Failure(
        program::kUsage,
        fmt::format("'{}' is compiled already: -D and -I say nothing to it; leave them out, or name its source file",
                    source.path));
  }
  if (source.kind == HandlerKind::library) {
    MadeImage made;
    made.image = image_of_library(source);
    return made;
  }
  if (source.for_host()) {
    if (source.is_linked()) {
      throw Failure(program::kFailure,
                    fmt::format("'{}' is code for a GPU, and the queue is on the host; say backend=cuda where there is "
                                "one, or name a source file",
                                source.path));
    }
    const HostCompiler compiler;
    return find_or_make(source, compiler.identity(), use_cache, [&] { return compile_for_host(compiler, source); });
  }
  const Nvrtc nvrtc;
  const std::string of_nvrtc = nvrtc.version().text() + "\n" + file_identity(nvrtc.path());
  if (!source.is_linked()) {
    return find_or_make(source, of_nvrtc, use_cache, [&] { return compile_for_gpu(nvrtc, source); });
  }
  const DeviceLinker linker;
  if (linker.version().is_older_than(nvrtc.version())) {
    throw Failure(
        program::kBackend,
        fmt::format("{} ({}) is older than NVRTC {} ({}), whose code it is to link; install "
                    "both of one CUDA release, or set IPCQ_NVRTC and IPCQ_NVJITLINK",
                    "nvJitLink " + linker.version().text(), linker.path(), nvrtc.version().text(), nvrtc.path()));
  }
  return find_or_make(source, of_nvrtc + "\n" + file_identity(linker.path()), use_cache,
                      [&] { return link_for_gpu(nvrtc, linker, source); });
}

}  // namespace ipcq::compiler
