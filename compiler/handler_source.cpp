#include "handler_source.hpp"

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "elf_file.hpp"
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

// Of an object: LTO-IR for a GPU, with ipcq_handle(); or with ipcq_element(), a function of one element whose type the
// other section names.
constexpr std::string_view kDeviceSection = ".ipcq_ltoir";
constexpr std::string_view kElementSection = ".ipcq_element";

struct ElementType {
  std::string_view name;    // as NumPy calls it
  std::string_view type;    // here
  std::string_view passed;  // what the function takes and returns: no compiler passes small integers as another does
};
constexpr std::array<ElementType, 10> kElementTypes = {{{"int8", "signed char", "int"},
                                                        {"uint8", "unsigned char", "int"},
                                                        {"int16", "short", "int"},
                                                        {"uint16", "unsigned short", "int"},
                                                        {"int32", "int", "int"},
                                                        {"uint32", "unsigned", "long long"},
                                                        {"int64", "long long", "long long"},
                                                        {"uint64", "unsigned long long", "long long"},
                                                        {"float32", "float", "float"},
                                                        {"float64", "double", "double"}}};
const ElementType* element_type_of(std::string_view name) {
  const auto* const found = std::find_if(kElementTypes.begin(), kElementTypes.end(),
                                         [&](const ElementType& type) { return type.name == name; });
  return found == kElementTypes.end() ? nullptr : found;
}

// Instead of the user's file, where that is linked and has a function of one element.
std::string element_declaration(const std::string& element) {
  const ElementType& type = *element_type_of(element);
  return fmt::format(
      "#include \"device/element_handler.hpp\"\n"
      "extern \"C\" __device__ {1} ipcq_element({1});\n"
      "using IpcqElementHandler = ipcq_compiler::ElementHandler<{0}, {1}, ipcq_element>;\n"
      "IPCQ_HANDLER(IpcqElementHandler)\n",
      type.type, type.passed);
}

std::string declaration_of(const HandlerSource& source) {
  return source.element.empty() ? std::string(kDeclaration) : element_declaration(source.element);
}

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
  p.headers.emplace_back(included, source.is_linked() ? declaration_of(source) : source.text);
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
         : path.ends_with(".o")     ? HandlerKind::object
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

bool HandlerSource::has_device_code() const {
  return kind == HandlerKind::object && !ElfFile(path, text, ElfFile::Kind::object).section(kDeviceSection).empty();
}

void HandlerSource::take_device_code() {
  const ElfFile file(path, text, ElfFile::Kind::object);
  const std::string code(file.section(kDeviceSection));
  if (code.empty()) {
    throw Failure(program::kFailure, fmt::format("'{}' has code for the host alone, and the queue is on a GPU; compile "
                                                 "its handler for a GPU, too, or say backend=host",
                                                 path));
  }
  element = file.section(kElementSection);
  element.resize(std::min(element.size(), element.find('\0')));
  if (!element.empty() && element_type_of(element) == nullptr) {
    throw Failure(program::kFailure, fmt::format("'{}' has a function of an element of another type than this release "
                                                 "of ipcq knows; make it again with this one's package",
                                                 path));
  }
  kind = HandlerKind::ltoir;
  text = code;
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
  const bool is_object = source.kind == HandlerKind::object;
  p.headers.emplace_back("user/handler.cu",
                         is_object ? std::string(kDeclaration) : first_line_of(source.path) + source.text);
  if (is_object) p.object = source.text;
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
