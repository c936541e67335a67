// ipcq-compiler: makes an image of a handler's file, for a GPU or for the host, in a process of its own: compiler and
// file are neither the broker's nor a runner's matter if they crash.
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
#include <string>

#include <fmt/format.h>

#include "device_linker.hpp"
#include "handler_source.hpp"
#include "host_compiler.hpp"
#include "image_file.hpp"
#include "image_maker.hpp"
#include "layout/handler_text.hpp"
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
  MakingOptions making;
  bool json = false;
  bool show_compiler = false;
  bool show_linker = false;
};

void print_result(const Options& o, const MadeImage& made, double seconds) {
  const HandlerImage& image = *made.image;
  const std::string target = o.host ? "host" : o.source.architecture;
  if (o.json) {
    Json object{{"file", o.source.path},
                {"target", target},
                {"compiler", image.compiler},
                {"cached", made.cached},
                {"image_bytes", image.bytes.size()},
                {"seconds", seconds}};
    if (!made.quick_key.empty()) object.set("quick_key", made.quick_key);
    if (!made.not_quick.empty()) object.set("not_quick", made.not_quick);
    if (!made.not_kept.empty()) object.set("not_kept", made.not_kept);
    if (image.registers != 0) {
      object.set("registers", image.registers);
      object.set("spilled_bytes", image.spilled);
    }
    program::print_json(object);
    return;
  }
  const std::string name = o.host ? "the host" : target;
  if (o.source.kind == HandlerKind::library) {
    program::print(fmt::format("{}: was built for {} ({})\n", o.source.path, name, image.compiler));
    return;
  }
  std::string line =
      fmt::format("{}: compiles for {} ({}, {}{})", o.source.path, name, image.compiler,
                  made.cached ? "cached" : fmt::format("{:.{}f} s", seconds, made.quick_key.empty() ? 1 : 2),
                  made.not_kept.empty() ? "" : ", not kept: " + made.not_kept);
  if (!made.not_quick.empty()) line += "; not linked quickly: " + made.not_quick;
  if (image.registers != 0) {
    line += fmt::format(": {} registers, {}", image.registers,
                        image.spilled == 0 ? "none spilled" : fmt::format("{} bytes spilled", image.spilled));
  }
  if (!made.quick_key.empty()) line += std::string(detail::kLinkedOnly) + made.quick_key;
  program::print(line + "\n");
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
  o.source.read();
  std::error_code ignored;
  if (!o.output.empty() && std::filesystem::equivalent(o.source.path, o.output, ignored)) {
    throw Failure(program::kUsage, fmt::format("--output is '{}' itself; name another file", o.source.path));
  }
  if (o.source.kind == HandlerKind::object && !o.host) o.source.take_device_code();
  const auto begin = std::chrono::steady_clock::now();
  const MadeImage made = make_image(o.source, o.making);
  if (!made.image) return program::kFailure;
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (!made.image->messages.empty()) program::print(made.image->messages, STDERR_FILENO);
  write_image(o, made.image->bytes);
  print_result(o, made, seconds);
  return program::kOk;
}

// To standard output in any case: `ipcq doctor` reads it.
int show_compiler(const Options& o) {
  try {
    if (o.show_linker) {
      const DeviceLinker linker;
      program::print(fmt::format("nvJitLink {}, {}\n", linker.version().text(), linker.path()));
    } else if (o.host) {
      program::print(fmt::format("{}\n", HostCompiler().path()));
    } else {
      const Nvrtc nvrtc;
      program::print(fmt::format("NVRTC {}, {}\n", nvrtc.version().text(), nvrtc.path()));
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
  for (const auto& folder : o.source.include_dirs) {
    std::error_code ignored;
    if (std::filesystem::is_directory(folder, ignored)) continue;
    throw Failure(program::kUsage, fmt::format("include: '{}' is no folder; name one with headers", folder));
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
      "system's C++ compiler. Of a library that ipcq_add_handler() has built it takes what is in it.");
  line.add_common_options("ipcq-compiler");
  line.add_option("FILE", o.source.path,
                  "CUDA C++ source with IPCQ_HANDLER(Type) or ipcq_handle(); a handler built ahead (.so); code "
                  "with ipcq_handle(), for a GPU (.ptx, .ltoir) or for the host (.o)")
      .check(program::not_empty());
  line.add_option("--arch", o.source.architecture, "Architecture of the GPU, as sm_90").check(program::not_empty());
  line.add_flag("--host", o.host, "A shared object for the host, by $IPCQ_CXX, c++, g++, clang++ or zig");
  line.add_option("--define,-D", o.source.definitions, "Macro, NAME or NAME=VALUE")
      .one_value_each()
      .check(program::not_empty());
  line.add_option("--include,-I", o.source.include_dirs, "Folder of headers, beside the file's own")
      .one_value_each()
      .check(program::not_empty());
  line.add_flag("--state", o.source.has_state, "For a queue with state: ipcq_handle() is told where that is");
  line.add_option("--output", o.output, "Write the image there").check(program::not_empty());
  line.add_option("--image-fd", o.image_fd, "Write the image to this inherited descriptor of a file")
      .transform(program::whole_number(0, INT_MAX));
  line.add_flag("--cache", o.making.use_cache, "Take the image from, and keep it in, $XDG_CACHE_HOME/ipcq/handlers");
  line.add_flag(
      "--quick", o.making.quick,
      "For a GPU: where the image of a source is not in the cache, link the handler to kernels that were compiled "
      "before, if possible; its calls are not inlined then, and the image is not kept");
  line.add_option("--only-of", o.making.only_of,
                  "Only where file, headers and compiler are what they were when --quick named this key")
      .check(program::not_empty());
  line.add_flag("--json", o.json, "JSON on stdout");
  line.add_flag("--show-compiler", o.show_compiler, "Only say which compiler is used");
  line.add_flag("--show-linker", o.show_linker, "Only say which linker of device code is used");
  if (const auto code = line.parse(argc, argv)) return *code;
  if (o.show_compiler || o.show_linker) return show_compiler(o);
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
