// ipcq-compiler: compiles a handler's source file for a GPU, in a process of its own: compiler and source are neither
// the broker's nor the runner's matter if they crash.
//
// Messages of the compiler go to stderr, whole; a line about what was made to stdout. Exit codes as all
// programs; 1 where the source does not compile.
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <ipcq/version.hpp>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "handler_source.hpp"
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
  std::string output;
  bool json = false;
  bool show_nvrtc = false;
};

// The user's file, which may be a pipe. Refuses what cannot be a source text.
std::string read_source(const std::string& path) {
  constexpr std::size_t kMost = 64 << 20;
  if (std::any_of(path.begin(), path.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; })) {
    throw Failure(program::kUsage, "the file's name has control characters; rename it");
  }
  const auto refuse = [&](const std::string& why) {
    throw Failure(program::kFailure, fmt::format("'{}' {}", path, why));
  };
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) refuse("is a directory; name the source file in it");
  std::ifstream file(path, std::ios::binary);
  std::string text;
  std::array<char, 65536> chunk;
  while (text.size() <= kMost && (file.read(chunk.data(), chunk.size()), file.gcount() != 0)) {
    text.append(chunk.data(), static_cast<std::size_t>(file.gcount()));
  }
  if (!file.is_open() || file.bad()) {
    throw Failure(program::kNotFound,
                  fmt::format("cannot read '{}': is there such a file, and may this user read it?", path));
  }
  if (text.size() > kMost) refuse("has more than 64 MiB: is it a source file?");
  if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);  // a mark of UTF-8
  // NVRTC would take it for the end.
  if (const auto zero = text.find('\0'); zero != std::string::npos) {
    refuse(fmt::format("has a zero byte at offset {}: is it a text, in UTF-8?", zero));
  }
  return text;
}

// All or nothing, where the path is a file or there is none.
void write_file(const std::string& path, const std::string& bytes) {
  std::error_code ignored;
  const auto status = std::filesystem::status(path, ignored);
  const bool whole = !std::filesystem::exists(status) || std::filesystem::is_regular_file(status);
  const std::string target = whole ? fmt::format("{}.{}", path, ::getpid()) : path;
  std::ofstream file(target, std::ios::binary | std::ios::trunc);
  file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  file.close();
  std::error_code error;
  if (file && whole) std::filesystem::rename(target, path, error);
  if (file && !error) return;
  if (whole) std::filesystem::remove(target, ignored);
  throw Failure(program::kFailure,
                fmt::format("cannot write '{}': is there such a folder, and room and permission to write?", path));
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

int compile(Options& o) {
  o.source.text = read_source(o.source.path);
  std::error_code ignored;
  if (!o.output.empty() && std::filesystem::equivalent(o.source.path, o.output, ignored)) {
    throw Failure(program::kUsage, fmt::format("--output is '{}' itself; name another file", o.source.path));
  }
  const Nvrtc nvrtc;
  const auto begin = std::chrono::steady_clock::now();
  const Compiled made = nvrtc.compile(program_of(o.source));
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  const Report report = report_of(made.log);
  if (!made.ok) {
    program::print(report.rest.empty() ? made.log + "\n" : report.rest, STDERR_FILENO);
    return program::kFailure;
  }
  if (report.registers == 0 || made.image.empty()) {
    throw Failure(program::kFailure, fmt::format("'{}': NVRTC made no kernel for {} of it, and does not say why",
                                                 o.source.path, o.source.architecture));
  }
  if (!report.rest.empty()) program::print(report.rest, STDERR_FILENO);
  if (!o.output.empty()) write_file(o.output, made.image);
  if (o.json) {
    program::print_json(Json{{"file", o.source.path},
                             {"architecture", o.source.architecture},
                             {"nvrtc", nvrtc.version()},
                             {"registers", report.registers},
                             {"spilled_bytes", report.spilled},
                             {"image_bytes", made.image.size()},
                             {"seconds", took.count()}});
  } else {
    program::print(fmt::format(
        "{}: compiles for {} (NVRTC {}, {:.1f} s): {} registers, {}\n", o.source.path, o.source.architecture,
        nvrtc.version(), took.count(), report.registers,
        report.spilled == 0 ? std::string("none spilled") : fmt::format("{} bytes spilled", report.spilled)));
  }
  return program::kOk;
}

// To standard output in any case: `ipcq doctor` reads it.
int show_nvrtc() {
  try {
    const Nvrtc nvrtc;
    program::print(fmt::format("NVRTC {}, {}\n", nvrtc.version(), nvrtc.path()));
    return program::kOk;
  } catch (const Failure& error) {
    program::print(fmt::format("{}\n", error.what()));
    return error.code();
  }
}

int run(int argc, char** argv) {
  Options o;
  program::CommandLine line("Compiles a handler's source file with the executors' device code, by NVRTC.");
  line.add_common_options("ipcq-compiler");
  line.add_option("FILE", o.source.path, "CUDA C++ source with IPCQ_HANDLER(Type)").check(program::not_empty());
  line.add_option("--arch", o.source.architecture, "Architecture of the GPU, as sm_90").check(program::not_empty());
  line.add_option("--define,-D", o.source.definitions, "Macro, NAME or NAME=VALUE").one_value_each();
  line.add_option("--include,-I", o.source.include_dirs, "Folder of headers, beside the file's own").one_value_each();
  line.add_option("--output", o.output, "Write the cubin there").check(program::not_empty());
  line.add_flag("--json", o.json, "JSON on stdout");
  line.add_flag("--show-nvrtc", o.show_nvrtc, "Only say which NVRTC is used");
  if (const auto code = line.parse(argc, argv)) return *code;
  if (o.show_nvrtc) return show_nvrtc();
  if (o.source.path.empty() || o.source.architecture.empty()) {
    throw Failure(program::kUsage,
                  "FILE and --arch are needed; `ipcq handler check FILE` finds the architecture itself");
  }
  static const std::regex architecture("sm_[0-9]+[a-z]?");
  if (!std::regex_match(o.source.architecture, architecture)) {
    throw Failure(program::kUsage,
                  fmt::format("--arch: '{}' is no architecture of a GPU, as sm_90", o.source.architecture));
  }
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
