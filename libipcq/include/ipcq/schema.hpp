// Schemas: the canonical text of a flat type (ipcq/flat.hpp), which a queue carries so that its endpoints can be
// checked against each other, and its messages be read by who has no such type.
//
//   struct Tick { std::uint64_t time; double price; char symbol[8]; };
//   IPCQ_SCHEMA(Tick, time, price, symbol)
//
//   ipcq::schema_text<Tick>()     Tick{time u64 @0; price f64 @8; symbol char[8] @16}24
//
// The grammar; exactly one text is canonical for a type: one blank where these lines have one.
//
//   TYPE   = bool | char | i8 | i16 | i32 | i64 | u8 | u16 | u32 | u64 | f32 | f64
//          | text | tensor | list<TYPE> | TYPE[N] | NAME{FIELD; FIELD}SIZE
//   FIELD  = NAME TYPE @OFFSET           in the order of the declaration
//
// A name has letters, digits and '_', and begins with no digit; a type's is without its namespaces. Offset and size are
// in bytes; an enumeration is the integer below it. T[2][3] is written T[2][3]. 4080 bytes at most, and 16 levels.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "ipcq/export.hpp"
#include "ipcq/flat.hpp"

namespace ipcq {

namespace detail {
struct SchemaType;

// Writes the text of types.
class SchemaWriter {
 public:
  void type(std::string_view name) {
    const std::size_t scope = name.rfind(':');
    text_ += name.substr(scope == std::string_view::npos ? 0 : scope + 1);
    text_ += '{';
    is_first_ = true;
  }
  template <class T, class M>
  void field(std::string_view name, M T::*member) {
    if (!is_first_) text_ += "; ";
    text_ += name;
    text_ += ' ';
    add<M>();
    text_ += " @" + std::to_string(offset_of(member));
    is_first_ = false;
  }
  template <class T>
  void add() {
    using U = std::remove_cv_t<T>;
    if constexpr (std::is_array_v<U>) {
      add<std::remove_all_extents_t<U>>();
      add_extents<U>();
    } else if constexpr (std::is_enum_v<U>) {
      add<std::underlying_type_t<U>>();
    } else if constexpr (std::is_same_v<U, bool>) {
      text_ += "bool";
    } else if constexpr (std::is_same_v<U, char>) {
      text_ += "char";
    } else if constexpr (std::is_same_v<U, std::byte>) {
      text_ += "u8";
    } else if constexpr (std::is_integral_v<U>) {
      text_ += (std::is_signed_v<U> ? 'i' : 'u') + std::to_string(sizeof(U) * 8);
    } else if constexpr (std::is_same_v<U, float> || std::is_same_v<U, double>) {
      text_ += 'f' + std::to_string(sizeof(U) * 8);
    } else if constexpr (std::is_same_v<U, Text>) {
      text_ += "text";
    } else if constexpr (std::is_same_v<U, Tensor>) {
      text_ += "tensor";
    } else {
      add_compound(static_cast<const U*>(nullptr));
    }
  }
  std::string take() { return std::move(text_); }

 private:
  template <class T, class M>
  static std::size_t offset_of(M T::*member) {
    alignas(T) static const std::byte room[sizeof(T)] = {};
    const T* const object = reinterpret_cast<const T*>(room);
    return static_cast<std::size_t>(reinterpret_cast<const std::byte*>(std::addressof(object->*member)) - room);
  }
  template <class A>
  void add_extents() {
    if constexpr (std::is_array_v<A>) {
      text_ += '[' + std::to_string(std::extent_v<A>) + ']';
      add_extents<std::remove_extent_t<A>>();
    }
  }
  template <class E>
  void add_compound(const List<E>*) {
    text_ += "list<";
    add<E>();
    text_ += '>';
  }
  template <class E, std::size_t N>
  void add_compound(const std::array<E, N>*) {
    static_assert((std::is_arithmetic_v<E> || std::is_enum_v<E>)&&Risks<E>::value == 0,
                  "write an array of other elements as E[N]");
    add<E[N]>();
  }
  template <class T>
  void add_compound(const T* type_of) {
    static_assert(HasSchema<T, SchemaWriter>, "the type has no schema: name its fields with IPCQ_SCHEMA, behind it");
    ipcq_visit_schema(*this, type_of);
    text_ += '}' + std::to_string(sizeof(T));
    is_first_ = false;
  }

  std::string text_;
  bool is_first_ = true;
};

}  // namespace detail

// Of a T: what its fields say, if IPCQ_SCHEMA names them; else what the type is.
template <class T>
const std::string& schema_text() {
  static const std::string text = [] {
    detail::SchemaWriter writer;
    writer.add<T>();
    return writer.take();
  }();
  return text;
}

// A schema that is known at run time only. A value; copies share what was parsed. Thread-safe.
class IPCQ_API Schema {
 public:
  static constexpr std::size_t kMostBytes = 4080;  // of a text

  // Throws UsageError, with the place in the text, for one that is not canonical, or whose fields overlap or reach
  // beyond their type.
  static Schema parse(std::string_view text);

  const std::string& text() const noexcept { return text_; }
  // FNV-1a of the text, 64 bits: names it in a queue's segment.
  std::uint64_t id() const noexcept;
  // The value's size, without what its lists refer to.
  std::size_t bytes() const noexcept;

  // The value of a message as JSON on one line, without blanks: fields in their order; char[N] and text as strings;
  // lists and arrays as arrays; a tensor as an object with dtype, shape, strides and elements, or null where it was not
  // set; numbers that JSON does not have ("nan", "inf", "-inf") as strings. `metadata`: Message::metadata(), which has
  // the value where it is as long as that. Of what is longer than `most_elements`, and of a text beyond 1 MiB, the rest
  // is counted: "... and 9936 more". After 100 000 values or 16 MiB each value is "...". Throws UsageError if the
  // message is no value of this schema.
  std::string to_json(std::span<const std::byte> payload, std::span<const std::byte> metadata = {},
                      std::size_t most_elements = 64) const;

 private:
  explicit Schema(std::string text, std::shared_ptr<const detail::SchemaType> type);
  std::string text_;
  std::shared_ptr<const detail::SchemaType> type_;
};

}  // namespace ipcq
