#include "handler_library.hpp"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <ipcq/version.hpp>
#include <sstream>
#include <string_view>

#include <fmt/format.h>

#include "elf_file.hpp"
#include "layout/handler_stamp.hpp"
#include "program/exit_code.hpp"

namespace ipcq::compiler {
namespace {

using detail::HandlerStamp;

[[noreturn]] void refuse(const HandlerSource& source, const std::string& why) {
  throw program::Failure(program::kFailure, fmt::format("'{}' {}", source.path, why));
}

template <std::size_t N>
std::string text_of(const char (&field)[N]) {
  return {field, ::strnlen(field, N)};
}

HandlerStamp stamp_of(const HandlerSource& source, const ElfFile& file) {
  const std::string_view bytes = file.section(detail::kHandlerStampSection);
  HandlerStamp stamp{};
  if (bytes.size() >= sizeof stamp) std::memcpy(&stamp, bytes.data(), sizeof stamp);
  if (stamp.magic != detail::kHandlerStampMagic) {
    refuse(source, "has no handler in it that ipcq_add_handler() of ipcq's CMake package has built; build it by that");
  }
  return stamp;
}

// Whether what was compiled for `image` ("sm_80", "compute_80") runs on `gpu` ("sm_86"). Names with a letter at the end
// are for that GPU alone ('a') or for its generation ('f').
bool runs_on(const std::string& image, const std::string& gpu) {
  const auto number = [](const std::string& name) {
    const std::size_t at = name.find('_') + 1;
    unsigned value = 0;
    std::from_chars(name.data() + at, name.data() + name.size(), value);
    return value;
  };
  const bool is_exact = image.ends_with('a');
  if (is_exact) return number(image) == number(gpu);
  const bool same_generation = number(image) / 10 == number(gpu) / 10;
  return number(image) <= number(gpu) && (same_generation || (image.starts_with("compute_") && !image.ends_with('f')));
}

void check_architecture(const HandlerSource& source, const HandlerStamp& stamp) {
  const std::string all = text_of(stamp.architectures);
  if (all.empty()) {
    refuse(source,
           "has code for the host alone; for a queue on a GPU build it where a CUDA toolkit is, and without "
           "HOST_ONLY, or say backend=host");
  }
  std::istringstream images(all);
  for (std::string image; images >> image;) {
    if (runs_on(image, source.architecture)) return;
  }
  refuse(source, fmt::format("has no code for {}, but for {}; add {} to the CUDA_ARCHITECTURES of its "
                             "ipcq_add_handler()",
                             source.architecture, all, source.architecture.substr(source.architecture.find('_') + 1)));
}

}  // namespace

HandlerImage image_of_library(const HandlerSource& source) {
  const ElfFile file(source.path, source.text);
  const HandlerStamp stamp = stamp_of(source, file);
  const std::string made_with = source.for_host() ? text_of(stamp.host_code) : text_of(stamp.device_code);
  if (stamp.abi != kAbiVersion || made_with != (source.for_host() ? IPCQ_HOST_CODE : IPCQ_DEVICE_CODE)) {
    refuse(source, fmt::format("was built with another ipcq ({}, ABI {}) than this one ({}, ABI {}); build it again "
                               "with this one's CMake package",
                               text_of(stamp.version), stamp.abi, IPCQ_VERSION, kAbiVersion));
  }
  HandlerImage image;
  if (source.for_host()) {
    image.compiler = text_of(stamp.host_compiler);
    image.bytes = source.text;
    return image;
  }
  check_architecture(source, stamp);
  image.compiler = text_of(stamp.device_compiler);
  image.bytes = file.section(detail::kHandlerFatbinSection);
  if (image.bytes.empty()) refuse(source, "is damaged: its kernels are not in it; build it again");
  return image;
}

}  // namespace ipcq::compiler
