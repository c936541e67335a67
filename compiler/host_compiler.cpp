#include "host_compiler.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include <fmt/format.h>

#include "environment.hpp"
#include "guarded_process.hpp"
#include "image_file.hpp"
#include "image_key.hpp"
#include "program/exit_code.hpp"
#include "program/file_descriptor.hpp"
#include "program/print.hpp"
#include "python_packages.hpp"

namespace ipcq::compiler {
namespace {

using program::Failure;
using program::FileDescriptor;

bool is_program(const std::filesystem::path& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored) && ::access(path.c_str(), X_OK) == 0;
}

// As a shell finds it; empty if there is none.
std::string find_in_path(const std::string& name) {
  if (name.find('/') != std::string::npos) return is_program(name) ? name : "";
  std::istringstream folders(environment("PATH"));
  for (std::string folder; std::getline(folders, folder, ':');) {
    const auto candidate = std::filesystem::path(folder.empty() ? "." : folder) / name;
    if (is_program(candidate)) return candidate;
  }
  return {};
}

// Of the package ziglang; empty: it is nowhere.
std::string find_zig() {
  std::vector<std::filesystem::path> folders = packages_of_active_environment();
  if (const auto beside = packages_beside_this_program(); !beside.empty()) folders.insert(folders.begin(), beside);
  for (const auto& packages : folders) {
    if (const auto zig = packages / "ziglang" / "zig"; is_program(zig)) return zig;
  }
  return find_in_path("zig");
}

// Zig's compiler brings a C library of its own; the image is for the oldest that ipcq's wheel takes. Its checks of
// undefined behaviour, which would end the process, are for debugging.
const std::vector<std::string> kZigOptions = {"c++", "-target", "x86_64-linux-gnu.2.28", "-fno-sanitize=undefined",
                                              "-s"};

FileDescriptor make_file(const char* name) {
  FileDescriptor file(::memfd_create(name, MFD_CLOEXEC));
  if (!file.valid()) throw Failure(program::kBackend, fmt::format("memfd_create: {}", std::strerror(errno)));
  return file;
}

void write_headers(const Program& program, const std::filesystem::path& folder) {
  for (const auto& [name, text] : program.headers) {
    std::filesystem::create_directories((folder / name).parent_path());
    write_file(folder / name, text);
  }
}

// In the guard: makes an image of the program's text. There is none where the compiler refuses it.
void compile_in(const Guard& guard, const std::string& compiler, const std::vector<std::string>& first,
                const Program& program, int image, int log) {
  const std::filesystem::path folder = guard.folder();
  write_headers(program, folder);
  write_file(folder / "text.cpp", program.text);
  auto arguments = program.options;
  // Its folder comes first: the headers are those of this release.
  arguments.insert(arguments.begin(), "-I" + folder.string());
  arguments.insert(arguments.begin(), first.begin(), first.end());
  arguments.insert(arguments.end(), {"-o", folder / "image.so", "-"});
  if (!program.object.empty()) {
    write_file(folder / "handler.o", program.object);
    arguments.insert(arguments.end(), {"-x", "none", folder / "handler.o", "-lm"});
  }
  if (guard.run(compiler, arguments, folder / "text.cpp", log) != 0) return;
  std::ifstream made(folder / "image.so", std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(made), {}};
  if (bytes.empty())
    throw Failure(program::kBackend, fmt::format("'{}' made no image, and does not say why", compiler));
  if (!write_descriptor(image, bytes)) {
    throw Failure(program::kFailure, fmt::format("cannot keep {} bytes: {}", bytes.size(), std::strerror(errno)));
  }
}

}  // namespace

HostCompiler::HostCompiler() {
  if (const std::string given = environment("IPCQ_CXX"); !given.empty()) {
    path_ = find_in_path(given);
    if (path_.empty()) {
      throw Failure(program::kBackend,
                    fmt::format("IPCQ_CXX: '{}' is no program{}; set it to a C++ compiler's path or name", given,
                                given.find('/') == std::string::npos ? " in PATH" : ""));
    }
    return;
  }
  for (const char* name : {"c++", "g++", "clang++"}) {
    path_ = find_in_path(name);
    if (!path_.empty()) return;
  }
  path_ = find_zig();
  if (!path_.empty()) return;
  throw Failure(program::kBackend,
                "there is no C++ compiler, which handlers for the host need: none of c++, g++, clang++ and zig is in "
                "PATH; install g++ or clang, or `pip install ziglang` beside ipcq or in an active virtual environment, "
                "or set IPCQ_CXX to a compiler");
}

bool HostCompiler::is_zig() const { return std::filesystem::path(path_).filename() == "zig"; }

std::string HostCompiler::identity() const {
  std::string text = file_identity(path_);
  for (const char* variable : {"CPATH", "CPLUS_INCLUDE_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX", "LIBRARY_PATH"}) {
    text += fmt::format("\n{}={}", variable, environment(variable));
  }
  return text;
}

Compiled HostCompiler::compile(const HandlerSource& source) const {
  const Program program = host_program(source);
  const FileDescriptor image = make_file("ipcq-handler-image"), log = make_file("ipcq-handler-log");
  const auto why_not = run_guarded_step([&](const Guard& guard) {
    compile_in(guard, path_, is_zig() ? kZigOptions : std::vector<std::string>(), program, image.get(), log.get());
  });
  Compiled out;
  out.log = read_descriptor(log.get()).value_or("");
  if (why_not) {
    program::print(out.log, STDERR_FILENO);
    throw Failure(program::kBackend, *why_not);
  }
  while (!out.log.empty() && out.log.back() == '\n') out.log.pop_back();
  out.image = read_descriptor(image.get()).value_or("");
  out.ok = !out.image.empty();
  return out;
}

std::string host_compiler_of(const std::string& image) {
  const std::string mark = "ipcq handler compiled by:";
  const auto found = image.find(mark);
  if (found == std::string::npos) return "a C++ compiler";
  return image.c_str() + found + mark.size();  // up to the zero behind it
}

}  // namespace ipcq::compiler
