#include "image_maker.hpp"

#include <unistd.h>

#include <cstdint>
#include <regex>
#include <sstream>
#include <string>
#include <string_view>

#include <fmt/format.h>

#include "device_linker.hpp"
#include "elf_file.hpp"
#include "handler_library.hpp"
#include "host_compiler.hpp"
#include "image_key.hpp"
#include "kept_variables.hpp"
#include "nvrtc.hpp"
#include "program/exit_code.hpp"
#include "program/print.hpp"

#if defined(IPCQ_WITH_QUICK_KERNELS)
extern "C" const unsigned char ipcq_quick_kernels[];      // NOLINT(readability-identifier-naming): an assembler's name
extern "C" const std::uint64_t ipcq_quick_kernels_bytes;  // NOLINT(readability-identifier-naming): likewise
#endif

namespace ipcq::compiler {
namespace {

using program::Failure;

// Of device/quick_kernels.cu, for each architecture that ipcq was built for. Empty where it was built without CUDA.
std::string_view quick_kernels() {
#if defined(IPCQ_WITH_QUICK_KERNELS)
  return {reinterpret_cast<const char*>(ipcq_quick_kernels), ipcq_quick_kernels_bytes};
#else
  return {};
#endif
}

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

// With a remedy for what NVRTC alone does not have.
Compiled compile_source(const Nvrtc& nvrtc, const Program& program) {
  Compiled made = nvrtc.compile(program);
  if (!made.ok && made.log.find("cannot open source file") != std::string::npos) {
    made.log +=
        "\nNVRTC has <cstddef>, <cstdint>, <cstring> and <cmath> of the standard library, and finds what lies beside "
        "the file and in the folders that -I (include=) names; for other headers build the handler ahead, with "
        "ipcq_add_handler() of the CMake package";
  }
  return made;
}

std::optional<HandlerImage> compile_for_gpu(const Nvrtc& nvrtc, const HandlerSource& source) {
  return take_kernels(source, compile_source(nvrtc, device_program(source)), "NVRTC " + nvrtc.version().text());
}

// Kernels that call ipcq_handle(), and the user's code behind them.
std::optional<HandlerImage> link_for_gpu(const Nvrtc& nvrtc, const DeviceLinker& linker, const HandlerSource& source) {
  const Compiled kernels = nvrtc.compile(device_program(source));
  if (!kernels.ok) {
    throw Failure(program::kFailure, fmt::format("NVRTC {} does not compile the executors' kernels:\n{}",
                                                 nvrtc.version().text(), kernels.log));
  }
  const auto kind = source.kind == HandlerKind::ptx ? DeviceLinker::Kind::ptx : DeviceLinker::Kind::ltoir;
  Compiled linked = linker.link(
      source.architecture,
      {{"the executors' kernels", DeviceLinker::Kind::ltoir, kernels.image}, {source.path, kind, source.text}});
  const std::string by = "nvJitLink " + linker.version().text();
  if (!linked.ok) {
    linked.log += fmt::format(
        "\n{}: {} does not link it for {}; it is to be of a compiler that is no newer than that linker "
        "(IPCQ_NVJITLINK and IPCQ_NVRTC name others, both of one release), for this GPU or an older one, with: extern "
        "\"C\" int32_t ipcq_handle(void* data, uint64_t length, const struct ipcq_context* "
        "context)",
        source.path, by, source.architecture);
  }
  return take_kernels(source, linked, by);
}

struct QuickImage {
  std::optional<HandlerImage> image;  // none: the source does not compile, or:
  std::string why_not;                // it cannot be linked here, or should not
};
QuickImage link_quickly(const Nvrtc& nvrtc, const HandlerSource& source) {
  if (quick_kernels().empty()) return {{}, "ipcq-compiler was built without CUDA, and has no kernels to link it to"};
  try {
    const DeviceLinker linker;
    const std::string by = "nvJitLink " + linker.version().text();
    if (linker.version().is_older_than(nvrtc.version())) {
      return {{}, fmt::format("{} is older than NVRTC {}", by, nvrtc.version().text())};
    }
    const Compiled handler = compile_source(nvrtc, quick_program(source));
    auto image = take(handler, report_of(handler.log).rest);
    if (!image) return {};
    if (const std::string variable = kept_variable(handler.ptx); !variable.empty()) {
      return {{}, fmt::format("its variable '{}' would begin anew in the next image", variable)};
    }
    using enum DeviceLinker::Kind;
    const Compiled linked = linker.link(source.architecture, {{"the executors' kernels", fatbin, quick_kernels()},
                                                              {source.path, cubin, handler.image}});
    if (!linked.ok) return {{}, by + " does not link it: " + linked.log};
    image->compiler = fmt::format("NVRTC {}, {}", nvrtc.version().text(), by);
    image->bytes = linked.image;
    return {std::move(image), {}};
  } catch (const Failure& e) {
    return {{}, e.what()};
  }
}

std::optional<HandlerImage> compile_for_host(const HostCompiler& compiler, const HandlerSource& source) {
  if (source.kind == HandlerKind::object) (void)ElfFile(source.path, source.text, ElfFile::Kind::object);  // checks it
  Compiled made = compiler.compile(source);
  const bool lacks_it =
      !made.ok && source.kind == HandlerKind::object && made.log.find("ipcq_handle") != std::string::npos;
  if (lacks_it && source.has_device_code()) {
    throw Failure(program::kFailure,
                  fmt::format("'{}' has code for a GPU alone, and the queue is on the host; compile "
                              "its handler for the host, too, or say backend=cuda where there is one",
                              source.path));
  }
  if (lacks_it) {
    made.log += fmt::format(
        "\n{}: it is to have int32_t ipcq_handle(void* data, uint64_t length, const struct ipcq_context* context), "
        "compiled to position-independent code (-fPIC), and to need nothing but the C library and libm",
        source.path);
  }
  auto image = take(made, made.log.empty() ? "" : made.log + "\n");
  if (image) image->compiler = host_compiler_of(made.image);
  return image;
}

// Makes images of one file, and knows what they depend on.
class Maker {
 public:
  Maker(const HandlerSource& source, std::string compiler, const MakingOptions& options)
      : source_(source), compiler_(std::move(compiler)), options_(options) {
    if (options.use_cache || options.quick || !options.only_of.empty()) key_ = image_key(source, compiler_);
    if (!options.only_of.empty() && key_.name != options.only_of) {
      throw Failure(program::kFailure, fmt::format("'{}', or a header, has changed since it was linked: replace the "
                                                   "handler to have what it is now",
                                                   source.path));
    }
    if (!options.use_cache) return;
    cache_.emplace();
    made_.not_kept = cache_->unusable().empty() ? key_.unknown : cache_->unusable();
  }

  // The image from the cache, or else linked quickly where that is asked for and possible, or else from `make` and then
  // kept in the cache.
  template <class Make>
  MadeImage find_or_make(const Nvrtc* quickly_by, const Make& make) {
    if (cache_ && made_.not_kept.empty()) made_.image = cache_->find(key_.name);
    made_.cached = made_.image.has_value();
    if (made_.cached || (options_.quick && quickly_by != nullptr && is_made_quickly(*quickly_by))) return made_;
    made_.image = make();
    if (!made_.image) return made_;
    const bool keeps = cache_ && made_.not_kept.empty();
    if (!keeps && options_.only_of.empty()) return made_;
    if (!has_changed()) {
      if (keeps) cache_->keep(key_.name, *made_.image);
    } else if (options_.only_of.empty()) {
      made_.not_kept = kChanged;
    } else {
      throw Failure(program::kFailure, fmt::format("'{}': {}", source_.path, kChanged));
    }
    return made_;
  }

 private:
  // Of headers that have changed meanwhile nobody knows which the compiler has read.
  static constexpr const char* kChanged = "a header has changed meanwhile";
  bool has_changed() const { return image_key(source_, compiler_).name != key_.name; }

  // True also where the compiler refuses the source: it would refuse it in the other way.
  bool is_made_quickly(const Nvrtc& nvrtc) {
    made_.not_quick = key_.unknown;
    if (!made_.not_quick.empty()) return false;
    QuickImage quick = link_quickly(nvrtc, source_);
    made_.not_quick = std::move(quick.why_not);
    if (quick.image && has_changed()) made_.not_quick = kChanged;
    if (!made_.not_quick.empty()) return false;
    made_.image = std::move(quick.image);
    made_.quick_key = key_.name;
    made_.not_kept.clear();  // what is kept is the inlined one
    return true;
  }

  const HandlerSource& source_;
  const std::string compiler_;
  const MakingOptions& options_;
  ImageKey key_;  // where the options need one
  std::optional<ImageCache> cache_;
  MadeImage made_;
};

}  // namespace

MadeImage make_image(const HandlerSource& source, const MakingOptions& options) {
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
    if (source.is_linked() && source.kind != HandlerKind::object) {
      throw Failure(program::kFailure,
                    fmt::format("'{}' is code for a GPU, and the queue is on the host; say backend=cuda where there is "
                                "one, or name a source file",
                                source.path));
    }
    const HostCompiler compiler;
    return Maker(source, compiler.identity(), options).find_or_make(nullptr, [&] {
      return compile_for_host(compiler, source);
    });
  }
  const Nvrtc nvrtc;
  const std::string of_nvrtc = nvrtc.version().text() + "\n" + file_identity(nvrtc.path());
  if (!source.is_linked()) {
    return Maker(source, of_nvrtc, options).find_or_make(&nvrtc, [&] { return compile_for_gpu(nvrtc, source); });
  }
  const DeviceLinker linker;
  if (linker.version().is_older_than(nvrtc.version())) {
    throw Failure(
        program::kBackend,
        fmt::format("{} ({}) is older than NVRTC {} ({}), whose code it is to link; install "
                    "both of one CUDA release, or set IPCQ_NVRTC and IPCQ_NVJITLINK",
                    "nvJitLink " + linker.version().text(), linker.path(), nvrtc.version().text(), nvrtc.path()));
  }
  return Maker(source, of_nvrtc + "\n" + file_identity(linker.path()), options).find_or_make(nullptr, [&] {
    return link_for_gpu(nvrtc, linker, source);
  });
}

}  // namespace ipcq::compiler
