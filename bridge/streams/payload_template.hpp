// PayloadTemplate: makes a payload of the fields of an entry, such as "{symbol},{price}\n" or "{x:f32}{y:f32}".
// Immutable.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ipcq::bridge {

class PayloadTemplate {
 public:
  // Text stands for itself, {NAME} for the bytes of a field, {NAME:TYPE} for its number in binary, little-endian, of
  // type u8, u16, u32, u64, i8, i16, i32, i64, f32 or f64; {{ and }} for braces; \n, \t, \0, \\ and \xHH for bytes.
  // Throws UsageError.
  explicit PayloadTemplate(std::string_view text);

  using Lookup = std::function<std::optional<std::string_view>(std::string_view name)>;
  // Appends to `payload`. Returns why it cannot be made, or an empty text.
  std::string make(const Lookup& field, std::string& payload) const;

 private:
  struct Part {
    std::string text;  // literal, or the name of a field
    bool is_field = false;
    std::string type{};  // of a field: empty: as it is
  };
  std::size_t add_escape(std::string_view rest);
  std::size_t add_field(std::string_view rest);
  void add_literal(char c);

  std::vector<Part> parts_;
};

}  // namespace ipcq::bridge
