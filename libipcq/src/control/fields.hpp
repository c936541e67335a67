// Structs as bytes, for what one process tells another in a memory file: field after field, without names. A template
// for each struct, visit_fields(v, s, (Struct*)nullptr), calls v(s.field) for its fields in their order, for both
// directions: s is constant for a writer.
//
// For one thread. Invariant: a reader takes nothing from beyond its text. It does not judge what it reads: a number may
// be none of an enum's.
#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "ipcq/error.hpp"

namespace ipcq::detail {

class FieldWriter {
 public:
  template <class T>
  void operator()(const T& value) {
    if constexpr (std::is_arithmetic_v<T>) {
      text_.append(reinterpret_cast<const char*>(&value), sizeof value);
    } else if constexpr (std::is_enum_v<T>) {
      (*this)(static_cast<std::underlying_type_t<T>>(value));
    } else if constexpr (std::is_same_v<T, std::string>) {
      (*this)(static_cast<std::uint64_t>(value.size()));
      text_ += value;
    } else {
      visit_fields(*this, value, static_cast<T*>(nullptr));
    }
  }
  template <class T>
  void operator()(const std::vector<T>& list) {
    (*this)(static_cast<std::uint64_t>(list.size()));
    for (const T& item : list) (*this)(item);
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

class FieldReader {
 public:
  // `what` the text is, for errors. The text must outlive the reader.
  FieldReader(const std::string& text, const char* what) : text_(text), what_(what) {}
  template <class T>
  void operator()(T& value) {
    if constexpr (std::is_same_v<T, bool>) {
      const char byte = *next(1);
      if (byte != 0 && byte != 1) throw_unfit("damaged");  // a bool of any other byte has no meaning
      value = byte != 0;
    } else if constexpr (std::is_arithmetic_v<T>) {
      std::memcpy(&value, next(sizeof value), sizeof value);
    } else if constexpr (std::is_enum_v<T>) {
      std::underlying_type_t<T> number{};
      (*this)(number);
      value = static_cast<T>(number);
    } else if constexpr (std::is_same_v<T, std::string>) {
      const std::size_t n = count();
      value.assign(next(n), n);
    } else {
      visit_fields(*this, value, static_cast<T*>(nullptr));
    }
  }
  template <class T>
  void operator()(std::vector<T>& list) {
    list.resize(count());
    for (T& item : list) (*this)(item);
  }
  // Throws unless all of the text has been read.
  void finish() const {
    if (at_ != text_.size()) throw_unfit("longer than expected");
  }

 private:
  [[noreturn]] void throw_unfit(const char* why) const {
    throw LayoutError(std::string(what_) + ": " + why + "; use one release of libipcq throughout");
  }
  const char* next(std::size_t n) {
    if (n > text_.size() - at_) throw_unfit("cut short");
    at_ += n;
    return text_.data() + at_ - n;
  }
  std::size_t count() {
    std::uint64_t n = 0;
    (*this)(n);
    if (n > text_.size()) throw_unfit("damaged");
    return static_cast<std::size_t>(n);
  }
  const std::string& text_;
  const char* what_;
  std::size_t at_ = 0;
};

}  // namespace ipcq::detail
