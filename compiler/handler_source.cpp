#include "handler_source.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "program/exit_code.hpp"

namespace ipcq::compiler {
namespace {

using program::Failure;

constexpr std::size_t kMostSourceBytes = 64 << 20;
constexpr std::size_t kMostLibraryBytes = 1 << 30;  // with what it links

// Instead of the user's file, where that is linked.
constexpr std::string_view kDeclaration =
    "#include \"ipcq/handler.h\"\n"
    "extern \"C\" __device__ int ipcq_handle(void*, unsigned long, const ipcq_context*);\n";

// Of the text, before all else.
std::string_view first_words(const HandlerSource& source) {
  return source.has_state ? "#define IPCQ_QUEUE_HAS_STATE 1\n" : "";
}

// The line behind it is the first of the file `name`: so messages call it.
std::string first_line_of(const std::string& name) {
  std::string quoted;
  for (const char c : name) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return fmt::format("#line 1 \"{}\"\n", quoted);
}

// The user's file between the library's code, before which no macro of that file is seen, and what uses the handler.
Program program_between(const char* before, const HandlerSource& source, const char* behind) {
  Program p;
  p.name = "the kernels of the handler";
  // The file is a header of the text, so that whatever it leaves open ends with it, and messages name it.
  const bool can_be_included = !source.is_linked() && source.path.find_first_of("\"\\") == std::string::npos;
  const std::string included = can_be_included ? source.path : "handler.cu";
  p.text = fmt::format(
      "{}#include \"{}\"\n#include \"layout/handler_arguments.hpp\"\n"
      "extern \"C\" __device__ unsigned char ipcq_device_code_" IPCQ_DEVICE_CODE
      " = 1;\n"
      "#include \"{}\"\n#include \"{}\"\n",
      first_words(source), before, included, behind);
  p.headers.emplace_back(included, source.is_linked() ? std::string(kDeclaration) : source.text);
  for (const EmbeddedHeader& h : device_headers()) p.headers.emplace_back(h.name, h.text);
  p.options = {"--gpu-architecture=" + source.architecture,
               "--std=c++20",
               "--device-as-default-execution-space",  // functions of the user's without an annotation
               "--ptxas-options=-v",
               "--extra-device-vectorization",
               "--include-path=" + source.folder()};
  for (const auto& d : source.definitions) p.options.push_back("--define-macro=" + d);
  for (const auto& i : source.include_dirs) p.options.push_back("--include-path=" + i);
  return p;
}

}  // namespace

std::string HandlerSource::folder() const {
  const auto parent = std::filesystem::path(path).parent_path();
  return parent.empty() ? std::string(".") : parent.string();
}

void HandlerSource::read() {
  if (std::any_of(path.begin(), path.end(), [](unsigned char c) { return c < ' ' || c == 0x7f; })) {
    throw Failure(program::kUsage, "the file's name has control characters; rename it");
  }
  kind = path.ends_with(".so")      ? HandlerKind::library
         : path.ends_with(".ptx")   ? HandlerKind::ptx
         : path.ends_with(".ltoir") ? HandlerKind::ltoir
                                    : HandlerKind::source;
  const auto refuse = [&](const std::string& why) {
    throw Failure(program::kFailure, fmt::format("'{}' {}", path, why));
  };
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) refuse("is a directory; name the source file in it");
  const auto most = kind == HandlerKind::library ? kMostLibraryBytes : kMostSourceBytes;
  std::ifstream file(path, std::ios::binary);
  std::array<char, 65536> chunk;
  text.clear();
  while (text.size() <= most && (file.read(chunk.data(), chunk.size()), file.gcount() != 0)) {
    text.append(chunk.data(), static_cast<std::size_t>(file.gcount()));
  }
  if (!file.is_open() || file.bad()) {
    const std::string before_colon = path.substr(0, path.find(':'));
    throw Failure(program::kNotFound,
                  before_colon != path && std::filesystem::exists(before_colon, ignored)
                      ? fmt::format("cannot read '{}': name the file alone, '{}'; a queue sets its parameters", path,
                                    before_colon)
                      : fmt::format("cannot read '{}': is there such a file, and may this user read it?", path));
  }
  if (text.size() > most) refuse(fmt::format("has more than {} MiB: is it a handler?", most >> 20));
  if (kind != HandlerKind::source) return;
  if (text.starts_with("\xef\xbb\xbf")) text.erase(0, 3);  // a mark of UTF-8
  // NVRTC would take it for the end.
  if (const auto zero = text.find('\0'); zero != std::string::npos) {
    refuse(fmt::format("has a zero byte at offset {}: is it a text, in UTF-8?", zero));
  }
}

Program device_program(const HandlerSource& source) {
  Program p = program_between("device/executors.cuh", source, "device/user_kernels.cuh");
  if (source.is_linked()) p.options.emplace_back("--dlink-time-opt");
  p.to_ltoir = source.is_linked();
  return p;
}

Program quick_program(const HandlerSource& source) {
  Program p = program_between("device/quick_call.cuh", source, "device/quick_handler.cuh");
  p.wants_ptx = true;  // to see its variables in
  // The bound of the kernels that call it.
  for (const char* option : {"--relocatable-device-code=true", "--maxrregcount=64"}) p.options.emplace_back(option);
  return p;
}

Program host_program(const HandlerSource& source) {
  Program p;
  p.text = first_words(source);
  p.text += "#include <host/run_handler.hpp>\n#include <user/handler.cu>\n#include <host/table.hpp>\n";
  p.headers.emplace_back("user/handler.cu", first_line_of(source.path) + source.text);
  for (const EmbeddedHeader& h : host_headers()) {
    p.headers.emplace_back(h.name, first_line_of(std::string(h.name)) + std::string(h.text));
  }
  // For any machine of this architecture: the image may be kept where several machines see it.
  p.options = {"-x",
               "c++",
               "-std=c++20",
               "-O3",
               "-fPIC",
               "-shared",
               "-Wl,-z,defs",
               "-fvisibility=hidden",
               "-iquote" + source.folder()};
  for (const auto& d : source.definitions) p.options.push_back("-D" + d);
  for (const auto& i : source.include_dirs) p.options.push_back("-I" + i);
  return p;
}

}  // namespace ipcq::compiler
