// ipcq-compiler: compiles a handler's source file for a GPU or for the host, in a process of its own: compiler and
// source are neither the broker's nor a runner's matter if they crash.
//
// Messages of the compiler go to stderr, whole; a line about what was made to stdout. Exit codes as all
// programs; 1 where the source does not compile.
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <climits>
#include <cstring>
#include <filesystem>
#include <optional>
#include <regex>
#include <sstream>
#include <string>

#include <fmt/format.h>

#include "handler_source.hpp"
#include "host_compiler.hpp"
#include "image_cache.hpp"
#include "image_file.hpp"
#include "image_key.hpp"
#include "nvrtc.hpp"
#include "program/command_line.hpp"
#include "program/exit_code.hpp"
#include "program/inherited_descriptors.hpp"
#include "program/logging.hpp"
#include "program/print.hpp"
#include "program/run_guarded.hpp"

namespace ipcq::compiler {
namespace {

using program::Failure;
using program::Json;

struct Options {
  HandlerSource source;
  bool host = false;
  std::string output;
  std::optional<int> image_fd;
  bool cache = false;
  bool json = false;
  bool show_compiler = false;
};

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

std::optional<HandlerImage> compile_for_gpu(const Nvrtc& nvrtc, const HandlerSource& source) {
  const Compiled made = nvrtc.compile(device_program(source));
  const Report report = report_of(made.log);
  auto image = take(made, report.rest);
  if (!image) return {};
  if (report.registers == 0 || made.image.empty()) {
    throw Failure(program::kFailure, fmt::format("'{}': NVRTC made no kernel for {} of it, and does not say why",
                                                 source.path, source.architecture));
  }
  image->compiler = "NVRTC " + nvrtc.version();
  image->registers = report.registers;
  image->spilled = report.spilled;
  return image;
}

std::optional<HandlerImage> compile_for_host(const HostCompiler& compiler, const HandlerSource& source) {
  const Compiled made = compiler.compile(source);
  auto image = take(made, made.log.empty() ? "" : made.log + "\n");
  if (image) image->compiler = host_compiler_of(made.image);
  return image;
}

// What the caller is told of an image beside the bytes.
struct Origin {
  bool cached = false;
  std::string not_kept;  // why it is not in the cache, where that was asked for
  double seconds = 0;
};

void print_result(const Options& o, const HandlerImage& image, const Origin& origin) {
  const std::string target = o.host ? "host" : o.source.architecture;
  if (o.json) {
    Json object{{"file", o.source.path},
                {"target", target},
                {"compiler", image.compiler},
                {"cached", origin.cached},
                {"image_bytes", image.bytes.size()},
                {"seconds", origin.seconds}};
    if (!origin.not_kept.empty()) object.set("not_kept", origin.not_kept);
    if (!o.host) {
      object.set("registers", image.registers);
      object.set("spilled_bytes", image.spilled);
    }
    program::print_json(object);
    return;
  }
  std::string line = fmt::format("{}: compiles for {} ({}, {}{})", o.source.path, o.host ? "the host" : target,
                                 image.compiler, origin.cached ? "cached" : fmt::format("{:.1f} s", origin.seconds),
                                 origin.not_kept.empty() ? "" : ", not kept: " + origin.not_kept);
  if (!o.host) {
    line += fmt::format(": {} registers, {}", image.registers,
                        image.spilled == 0 ? "none spilled" : fmt::format("{} bytes spilled", image.spilled));
  }
  program::print(line + "\n");
}

// The image from the cache, or from the compiler and then kept there.
template <class Make>
std::optional<HandlerImage> find_or_make(const Options& o, const std::string& compiler, Origin& origin,
                                         const Make& make) {
  if (!o.cache) return make();
  const ImageCache cache;
  const ImageKey key = image_key(o.source, compiler);
  origin.not_kept = cache.unusable().empty() ? key.unknown : cache.unusable();
  if (!origin.not_kept.empty()) return make();
  if (auto image = cache.find(key.name)) {
    origin.cached = true;
    return image;
  }
  auto image = make();
  // Of headers that have changed meanwhile nobody knows which the compiler has read.
  if (image && image_key(o.source, compiler).name != key.name) {
    origin.not_kept = "a header has changed meanwhile";
  } else if (image) {
    cache.keep(key.name, *image);
  }
  return image;
}

void write_image(const Options& o, const std::string& bytes) {
  if (!o.output.empty()) write_file(o.output, bytes);
  if (o.image_fd && !write_descriptor(*o.image_fd, bytes)) {
    throw Failure(program::kFailure, fmt::format("--image-fd: cannot write {} bytes to descriptor {}: {}; it is to be "
                                                 "one of a file or a memfd",
                                                 bytes.size(), *o.image_fd, std::strerror(errno)));
  }
}

int compile(Options& o) {
  o.source.text = read_source(o.source.path);
  std::error_code ignored;
  if (!o.output.empty() && std::filesystem::equivalent(o.source.path, o.output, ignored)) {
    throw Failure(program::kUsage, fmt::format("--output is '{}' itself; name another file", o.source.path));
  }
  Origin origin;
  std::optional<HandlerImage> image;
  const auto begin = std::chrono::steady_clock::now();
  if (o.host) {
    const HostCompiler compiler;
    image = find_or_make(o, compiler.identity(), origin, [&] { return compile_for_host(compiler, o.source); });
  } else {
    const Nvrtc nvrtc;
    image = find_or_make(o, nvrtc.version() + "\n" + file_identity(nvrtc.path()), origin,
                         [&] { return compile_for_gpu(nvrtc, o.source); });
  }
  if (!image) return program::kFailure;
  origin.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (!image->messages.empty()) program::print(image->messages, STDERR_FILENO);
  write_image(o, image->bytes);
  print_result(o, *image, origin);
  return program::kOk;
}

// To standard output in any case: `ipcq doctor` reads it.
int show_compiler(const Options& o) {
  try {
    if (o.host) {
      program::print(fmt::format("{}\n", HostCompiler().path()));
    } else {
      const Nvrtc nvrtc;
      program::print(fmt::format("NVRTC {}, {}\n", nvrtc.version(), nvrtc.path()));
    }
    return program::kOk;
  } catch (const Failure& error) {
    program::print(fmt::format("{}\n", error.what()));
    return error.code();
  }
}

void check(const Options& o) {
  if (o.source.path.empty() || o.host != o.source.for_host()) {
    throw Failure(
        program::kUsage,
        "FILE and one of --arch and --host are needed; `ipcq handler check FILE` finds the architecture itself");
  }
  static const std::regex architecture("sm_[0-9]+[a-z]?");
  if (!o.host && !std::regex_match(o.source.architecture, architecture)) {
    throw Failure(program::kUsage,
                  fmt::format("--arch: '{}' is no architecture of a GPU, as sm_90", o.source.architecture));
  }
  if (!o.image_fd) return;
  if (!program::can_write_inherited(*o.image_fd)) {
    throw Failure(
        program::kUsage,
        fmt::format("--image-fd: this program was not started with descriptor {} open for writing", *o.image_fd));
  }
  ::fcntl(*o.image_fd, F_SETFD, FD_CLOEXEC);  // not for the compiler
}

int run(int argc, char** argv) {
  Options o;
  program::CommandLine line(
      "Compiles a handler's source file: for a GPU with the executors' device code, by NVRTC; for the host by the "
      "system's C++ compiler.");
  line.add_common_options("ipcq-compiler");
  line.add_option("FILE", o.source.path, "CUDA C++ source with IPCQ_HANDLER(Type)").check(program::not_empty());
  line.add_option("--arch", o.source.architecture, "Architecture of the GPU, as sm_90").check(program::not_empty());
  line.add_flag("--host", o.host, "A shared object for the host, by $IPCQ_CXX, c++, g++ or clang++");
  line.add_option("--define,-D", o.source.definitions, "Macro, NAME or NAME=VALUE")
      .one_value_each()
      .check(program::not_empty());
  line.add_option("--include,-I", o.source.include_dirs, "Folder of headers, beside the file's own")
      .one_value_each()
      .check(program::not_empty());
  line.add_option("--output", o.output, "Write the image there").check(program::not_empty());
  line.add_option("--image-fd", o.image_fd, "Write the image to this inherited descriptor of a file")
      .transform(program::whole_number(0, INT_MAX));
  line.add_flag("--cache", o.cache, "Take the image from, and keep it in, $XDG_CACHE_HOME/ipcq/handlers");
  line.add_flag("--json", o.json, "JSON on stdout");
  line.add_flag("--show-compiler", o.show_compiler, "Only say which compiler is used");
  if (const auto code = line.parse(argc, argv)) return *code;
  if (o.show_compiler) return show_compiler(o);
  check(o);
  return compile(o);
}

}  // namespace
}  // namespace ipcq::compiler

int main(int argc, char** argv) {
  // Without the one that asked nobody waits for the answer.
  const pid_t parent = ::getppid();
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != parent) return ipcq::program::kFailure;
  ipcq::program::open_standard_descriptors();
  ipcq::program::set_up_logging("ipcq-compiler");
  return ipcq::program::run_guarded([&] { return ipcq::compiler::run(argc, argv); });
}
