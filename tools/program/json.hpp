// Json: a JSON value that the programs write. It hides nlohmann-json, which takes seconds to compile wherever it
// is included. The keys of an object are written in alphabetical order. A value is for one thread at a time.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace ipcq::program {

class Json {
 public:
  using Member = std::pair<const char*, Json>;

  Json();  // null
  // NOLINTBEGIN(google-explicit-constructor): so that a value stands for itself in an object's braces
  Json(std::nullptr_t) : Json() {}
  Json(bool value);
  template <std::signed_integral T>
  Json(T value) : Json(of_signed(value)) {}
  template <std::unsigned_integral T>
  Json(T value) : Json(of_unsigned(value)) {}
  Json(double value);
  Json(const char* text) : Json(std::string_view(text)) {}
  Json(const std::string& text) : Json(std::string_view(text)) {}
  Json(std::string_view text);
  Json(const std::vector<std::string>& texts);
  Json(std::initializer_list<Member> object);
  // NOLINTEND(google-explicit-constructor)
  static Json array();

  ~Json();
  Json(const Json& other);
  Json(Json&& other) noexcept;
  Json& operator=(Json other) noexcept;

  void push_back(const Json& element);                  // of an array
  void set(const std::string& key, const Json& value);  // of an object
  bool empty() const;

  // On one line. Bytes that are not UTF-8 are replaced.
  std::string text() const;

 private:
  static Json of_signed(std::int64_t value);
  static Json of_unsigned(std::uint64_t value);

  std::unique_ptr<nlohmann::json> value_;
};

}  // namespace ipcq::program
