#include "streams/payload_template.hpp"

#include <array>
#include <charconv>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <ipcq/error.hpp>

#include <fmt/format.h>

namespace ipcq::bridge {
namespace {

constexpr std::array<std::string_view, 10> kTypes = {"u8",  "u16", "u32", "u64", "i8",
                                                     "i16", "i32", "i64", "f32", "f64"};

bool is_type(std::string_view text) {
  for (const auto type : kTypes) {
    if (type == text) return true;
  }
  return false;
}

// The letter of a type and digits.
bool looks_like_type(std::string_view text) {
  return text.size() > 1 && std::string_view("uif").find(text[0]) != std::string_view::npos &&
         text.find_first_not_of("0123456789", 1) == std::string_view::npos;
}

[[noreturn]] void refuse(std::string_view why) {
  throw UsageError(fmt::format("--template: {}; write text with {{NAME}} or {{NAME:TYPE}}, TYPE one of {}", why,
                               fmt::join(kTypes, " ")));
}

template <class T>
bool append_number(std::string_view text, std::string& payload) {
  T value{};
  if constexpr (std::is_floating_point_v<T>) {
    const std::string copy(text);  // from_chars of this library's age knows no float of every locale
    char* end = nullptr;
    const double number = std::strtod(copy.c_str(), &end);
    if (copy.empty() || end != copy.c_str() + copy.size()) return false;
    value = static_cast<T>(number);
  } else {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) return false;
  }
  std::array<char, sizeof value> bytes{};
  std::memcpy(bytes.data(), &value, sizeof value);
  payload.append(bytes.data(), bytes.size());
  return true;
}

bool append_number(std::string_view type, std::string_view text, std::string& payload) {
  if (type == "u8") return append_number<std::uint8_t>(text, payload);
  if (type == "u16") return append_number<std::uint16_t>(text, payload);
  if (type == "u32") return append_number<std::uint32_t>(text, payload);
  if (type == "u64") return append_number<std::uint64_t>(text, payload);
  if (type == "i8") return append_number<std::int8_t>(text, payload);
  if (type == "i16") return append_number<std::int16_t>(text, payload);
  if (type == "i32") return append_number<std::int32_t>(text, payload);
  if (type == "i64") return append_number<std::int64_t>(text, payload);
  if (type == "f32") return append_number<float>(text, payload);
  return append_number<double>(text, payload);
}

}  // namespace

PayloadTemplate::PayloadTemplate(std::string_view text) {
  bool has_field = false;
  while (!text.empty()) {
    std::size_t used = 1;
    if (text.starts_with("{{") || text.starts_with("}}")) {
      add_literal(text[0]);
      used = 2;
    } else if (text[0] == '{') {
      used = add_field(text);
      has_field = true;
    } else if (text[0] == '}') {
      refuse("a } stands alone; }} is one");
    } else if (text[0] == '\\') {
      used = add_escape(text);
    } else {
      add_literal(text[0]);
    }
    text.remove_prefix(used);
  }
  if (!has_field) refuse("it names no field");
}

void PayloadTemplate::add_literal(char c) {
  if (parts_.empty() || parts_.back().is_field) parts_.push_back({.text = {}, .is_field = false});
  parts_.back().text += c;
}

std::size_t PayloadTemplate::add_escape(std::string_view rest) {
  const char next = rest.size() > 1 ? rest[1] : '\0';
  switch (next) {
    case 'n':
      add_literal('\n');
      return 2;
    case 't':
      add_literal('\t');
      return 2;
    case '0':
      add_literal('\0');
      return 2;
    case '\\':
      add_literal('\\');
      return 2;
    case 'x': {
      std::uint8_t value = 0;
      const auto digits = rest.substr(2, 2);
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
      if (digits.size() == 2 && error == std::errc() && end == digits.data() + 2) {
        add_literal(static_cast<char>(value));
        return 4;
      }
      break;
    }
    default:
      break;
  }
  refuse("a \\ begins \\n, \\t, \\0, \\\\ or \\xHH");
}

std::size_t PayloadTemplate::add_field(std::string_view rest) {
  const auto end = rest.find('}');
  if (end == std::string_view::npos) refuse("a { is not closed; {{ is one");
  const auto inside = rest.substr(1, end - 1);
  const auto colon = inside.rfind(':');
  const auto type = colon == std::string_view::npos ? std::string_view() : inside.substr(colon + 1);
  const bool typed = is_type(type);
  if (!typed && looks_like_type(type)) refuse(fmt::format("'{}' in {{{}}} is no TYPE", type, inside));
  Part part{.text = std::string(typed ? inside.substr(0, colon) : inside), .is_field = true};
  if (typed) part.type = type;
  if (part.text.empty()) refuse("{} names no field");
  parts_.push_back(std::move(part));
  return end + 1;
}

std::string PayloadTemplate::make(const Lookup& field, std::string& payload) const {
  for (const auto& part : parts_) {
    if (!part.is_field) {
      payload += part.text;
      continue;
    }
    const auto value = field(part.text);
    if (!value) return fmt::format("it has no field '{}', which --template names", part.text);
    if (part.type.empty()) {
      payload += *value;
    } else if (!append_number(part.type, *value, payload)) {
      return fmt::format("its field '{}' is no {}, which --template says", part.text, part.type);
    }
  }
  return {};
}

}  // namespace ipcq::bridge
