#include "program/printable.hpp"

#include <fmt/format.h>

namespace ipcq::program {

std::string printable(std::string_view text, std::string_view kept) {
  std::string shown;
  bool second = false;  // second byte of U+0080 to U+009F, control characters that are c2 and 80 to 9f in UTF-8
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = static_cast<unsigned char>(i + 1 < text.size() ? text[i + 1] : 0);
    const bool first = byte == 0xc2 && next >= 0x80 && next < 0xa0;
    const bool control = byte < 0x20 || byte == 0x7f || first || second;
    second = first;
    if (control && kept.find(text[i]) == std::string_view::npos) {
      shown += fmt::format("\\x{:02x}", byte);
    } else {
      shown += text[i];
    }
  }
  return shown;
}

std::string printable_message(std::string_view text) {
  constexpr std::string_view kContinues = "\n  ";
  std::string shown;
  for (std::size_t begin = 0;;) {
    const std::size_t end = text.find(kContinues, begin);
    shown += printable(text.substr(begin, end - begin));
    if (end == std::string_view::npos) return shown;
    shown += kContinues;
    begin = end + kContinues.size();
  }
}

}  // namespace ipcq::program
