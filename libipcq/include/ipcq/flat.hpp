// Flat values: how a message holds a value of a type, with lists, text and tensors of any length, as plain bytes. One
// source for host and device code. docs/guide/types.md.
//
//   struct Reading {
//     std::uint64_t sensor;
//     ipcq::Text unit;
//     ipcq::List<float> samples;
//   };
//   IPCQ_SCHEMA(Reading, sensor, unit, samples)     // in the type's namespace
//
// The value comes first in the payload, as it lies in memory; or it lies beside the payload, as the message's metadata
// (Message::metadata()). A List, a Text and a Tensor say where in the payload their elements are: their `at` counts
// bytes from the payload's beginning. So a value can be copied, and reads as long as the payload is there.
//
// Payloads lie in memory that other processes can write. FlatView reads what a list says once, checks it, and returns
// nothing beyond the payload. Plain fields are as they are there: a program does not use one of them as an index, or as
// a size, without looking at it once.
#pragma once

#include <cstddef>
#include <cstdint>

#include "ipcq/export.hpp"
#include "ipcq/for_each.hpp"
#include "ipcq/tensor.hpp"

// Names the fields of a type, in the type's own namespace, outside of every class: arithmetic types, enumerations,
// char, arrays of these, List, Text, Tensor, and other types that are named so. Fields that it leaves out travel, and
// no text tells of them. The type is trivially copyable, of standard layout, and aligned to 8 bytes at most. 64 fields
// at most; a class template's instance needs a name of its own.
#define IPCQ_SCHEMA(ipcq_type, ...)                                                                            \
  IPCQ_NO_EXEC_CHECK                                                                                           \
  template <class IpcqVisitor, class IpcqType> /* of no type that is derived from it */                        \
  requires(::ipcq::detail::kSame<IpcqType, ipcq_type>) IPCQ_HOST_DEVICE constexpr void ipcq_visit_schema(      \
      [[maybe_unused]] IpcqVisitor& ipcq_v, const IpcqType*) {                                                 \
    static_assert(__is_trivially_copyable(IpcqType), #ipcq_type " is copied as bytes: it must allow that");    \
    static_assert(__is_standard_layout(IpcqType), #ipcq_type " must lie in memory as its fields are written"); \
    static_assert(alignof(IpcqType) <= 8, #ipcq_type " begins at a multiple of 8 bytes, and asks for more");   \
    static_assert(sizeof(#__VA_ARGS__) > 1, "IPCQ_SCHEMA names no field of " #ipcq_type);                      \
    ipcq_v.type(#ipcq_type);                                                                                   \
    IPCQ_FOR_EACH(IPCQ_SCHEMA_FIELD, __VA_ARGS__)                                                              \
  }
#define IPCQ_SCHEMA_FIELD(ipcq_field)                                                                            \
  static_assert(::ipcq::detail::kIsField<decltype(IpcqType::ipcq_field)>,                                        \
                "field " #ipcq_field                                                                             \
                " is of no type that can be sent: arithmetic types but long double, enumerations, char, arrays " \
                "of these, ipcq::Text, ipcq::List, ipcq::Tensor, and types whose fields IPCQ_SCHEMA has named "  \
                "before, in their own namespace");                                                               \
  ipcq_v.field(#ipcq_field, &IpcqType::ipcq_field);
// The visitors of the host are called from what device code could call too.
#if defined(__NVCC__)
#define IPCQ_NO_EXEC_CHECK _Pragma("nv_exec_check_disable")
#else
#define IPCQ_NO_EXEC_CHECK
#endif

namespace ipcq {

// Field: elements that lie in the payload at `at`, a multiple of E's alignment.
template <class E>
struct List {
  static_assert(alignof(E) <= 8, "payloads begin at a multiple of 8 bytes");
  std::uint32_t at = 0;
  std::uint32_t count = 0;
};

// Field: characters, UTF-8 by convention, without a zero at their end.
struct Text {
  std::uint32_t at = 0;
  std::uint32_t length = 0;
};

namespace detail {

template <class A, class B>  // <type_traits> is not there for all device code
inline constexpr bool kSame = false;
template <class A>
inline constexpr bool kSame<A, A> = true;

// After copies from shared memory: the compiler must not read them there again.
IPCQ_HOST_DEVICE inline void keep_copies(std::uint32_t& a, std::uint32_t& b) noexcept {
  asm volatile("" : "+r"(a), "+r"(b));
}
IPCQ_HOST_DEVICE constexpr bool fits_in(std::uint32_t at, std::uint32_t count, std::uint64_t element,
                                        std::uint64_t alignment, std::uint64_t length) noexcept {
  return count == 0 || (at % alignment == 0 && at <= length && count <= (length - at) / element);
}
template <class T, class Visitor>
concept HasSchema = requires(Visitor& visitor, const T* value) {
  ipcq_visit_schema(visitor, value);
};

// What a T has that can be wrong: a bool, which may be neither false nor true; a field that refers to elsewhere.
inline constexpr unsigned kHasBool = 1;
inline constexpr unsigned kRefers = 2;
template <class T>
struct Risks;
struct FindsRisks {
  unsigned found = 0;
  IPCQ_HOST_DEVICE constexpr void type(const char*) noexcept {}
  template <class T, class M>
  IPCQ_HOST_DEVICE constexpr void field(const char*, M T::*) noexcept {
    found |= Risks<M>::value;
  }
};
template <class T>
struct Risks {
  IPCQ_HOST_DEVICE static constexpr unsigned find() noexcept {
    if constexpr (HasSchema<T, FindsRisks>) {
      FindsRisks finds;
      ipcq_visit_schema(finds, static_cast<const T*>(nullptr));
      return finds.found;
    } else if constexpr (__is_enum(T)) {
      return Risks<__underlying_type(T)>::value;
    } else {
      return 0;
    }
  }
  static constexpr unsigned value = find();
};
template <class T>
struct Risks<const T> : Risks<T> {};
template <class T, std::size_t N>
struct Risks<T[N]> : Risks<T> {};
template <class T, std::size_t N>
struct Risks<const T[N]> : Risks<T> {};
template <class E>
struct Risks<List<E>> {
  static constexpr unsigned value = kRefers;
};
template <>
struct Risks<Text> {
  static constexpr unsigned value = kRefers;
};
template <>
struct Risks<Tensor> {
  static constexpr unsigned value = kRefers;
};
template <>
struct Risks<bool> {
  static constexpr unsigned value = kHasBool;
};
template <class T>
inline constexpr bool kChecked = Risks<T>::value != 0;

// Whether a field, or a value by itself, may be a T.
template <class T>
struct IsField {
  static constexpr bool value = __is_enum(T) || HasSchema<T, FindsRisks>;
};
template <class T>
struct IsField<const T> : IsField<T> {};
template <class T, std::size_t N>
struct IsField<T[N]> : IsField<T> {};
template <class T, std::size_t N>
struct IsField<const T[N]> : IsField<T> {};
template <template <class, std::size_t> class Array, class T, std::size_t N>
struct IsField<Array<T, N>> : IsField<T> {};  // std::array, which device code may not have
template <class E>
struct IsField<List<E>> : IsField<E> {};
#define IPCQ_IS_FIELD(ipcq_type)        \
  template <>                           \
  struct IsField<ipcq_type> {           \
    static constexpr bool value = true; \
  };
IPCQ_FOR_EACH(IPCQ_IS_FIELD, Text, Tensor, bool, char, signed char, unsigned char, short, unsigned short, int,
              unsigned int, long, unsigned long, long long, unsigned long long, float, double, wchar_t, char8_t,
              char16_t, char32_t)
#undef IPCQ_IS_FIELD
template <class T>
inline constexpr bool kIsField = IsField<T>::value;
template <class T>
inline constexpr bool kRefersElsewhere = (Risks<T>::value & kRefers) != 0;

// Whether what a value says of other places is within its payload, to any depth. Of elements that need a look of their
// own it looks at twice as many as there are bytes: beyond that lists name the same ones over and over, and it says no.
class SoundCheck {
 public:
  // `value_bytes`: of the value, which may lie elsewhere.
  IPCQ_HOST_DEVICE SoundCheck(const std::byte* payload, std::uint64_t length, std::uint64_t value_bytes) noexcept
      : payload_(payload), length_(length), left_(2 * (length + value_bytes)) {}
  template <class T>
  IPCQ_HOST_DEVICE bool is_sound(const T& value) noexcept {
    if constexpr (kChecked<T> && __is_enum(T)) {
      return is_sound(reinterpret_cast<const bool&>(value));
    } else if constexpr (kChecked<T>) {
      OfFields<T> fields{*this, value};
      ipcq_visit_schema(fields, static_cast<const T*>(nullptr));
      return fields.sound;
    } else {
      return true;
    }
  }
  IPCQ_HOST_DEVICE bool is_sound(const bool& value) noexcept {
    return *reinterpret_cast<const volatile unsigned char*>(&value) <= 1;
  }
  IPCQ_HOST_DEVICE bool is_sound(const Text& text) noexcept { return fits_in(text.at, text.length, 1, 1, length_); }
  IPCQ_HOST_DEVICE bool is_sound(const Tensor& tensor) noexcept {
    Tensor copy = tensor;
    keep_copy(copy);
    return is_none(copy) || fits_in(copy, length_);
  }
  template <class E>
  IPCQ_HOST_DEVICE bool is_sound(const List<E>& list) noexcept {
    std::uint32_t at = list.at;
    std::uint32_t count = list.count;
    keep_copies(at, count);
    if (!fits_in(at, count, sizeof(E), alignof(E), length_)) return false;
    if constexpr (kChecked<E>) return all_sound(reinterpret_cast<const E*>(payload_ + at), count);
    return true;
  }
  template <class E, std::size_t N>
  IPCQ_HOST_DEVICE bool is_sound(const E (&array)[N]) noexcept {
    if constexpr (kChecked<E>) return all_sound(array, N);
    return true;
  }

 private:
  template <class T>
  struct OfFields {
    SoundCheck& check;
    const T& value;
    bool sound = true;
    IPCQ_HOST_DEVICE void type(const char*) noexcept {}
    template <class M>
    IPCQ_HOST_DEVICE void field(const char*, M T::*member) noexcept {
      sound = sound && check.is_sound(value.*member);
    }
  };
  template <class E>
  IPCQ_HOST_DEVICE bool all_sound(const E* elements, std::uint64_t count) noexcept {
    if (count > left_) return false;
    left_ -= count;
    for (std::uint64_t i = 0; i < count; ++i) {
      if (!is_sound(elements[i])) return false;
    }
    return true;
  }
  const std::byte* payload_;
  std::uint64_t length_;
  std::uint64_t left_;  // elements that may be looked at
};

}  // namespace detail

// A T in a message, to be read. A view: the message must stay held meanwhile. Usable in device code, where `payload` is
// memory of the device.
template <class T>
class FlatView {
  static_assert(detail::kIsField<T>, "name the type's fields by IPCQ_SCHEMA, in its own namespace, before it is used");

 public:
  FlatView() noexcept = default;
  // The value at the beginning of a payload, which begins at a multiple of 8. Empty if that is shorter.
  IPCQ_HOST_DEVICE FlatView(const std::byte* payload, std::uint64_t length) noexcept
      : value_(length >= sizeof(T) ? reinterpret_cast<const T*>(payload) : nullptr),
        payload_(payload),
        length_(length) {}
  // A value that lies elsewhere, and the payload in which its elements are.
  IPCQ_HOST_DEVICE FlatView(const T& value, const std::byte* payload, std::uint64_t length) noexcept
      : value_(&value), payload_(payload), length_(length) {}

  IPCQ_HOST_DEVICE explicit operator bool() const noexcept { return value_ != nullptr; }
  IPCQ_HOST_DEVICE const T& operator*() const noexcept { return *value_; }
  IPCQ_HOST_DEVICE const T* operator->() const noexcept { return value_; }
  IPCQ_HOST_DEVICE const std::byte* payload() const noexcept { return payload_; }
  IPCQ_HOST_DEVICE std::uint64_t length() const noexcept { return length_; }

  // What a field of the value, or of an element of one of its lists, refers to. Nothing where that is not within the
  // payload.
  template <class E>
  IPCQ_HOST_DEVICE Range<const E> get(List<E> list) const noexcept {
    detail::keep_copies(list.at, list.count);
    if (list.count == 0 || !detail::fits_in(list.at, list.count, sizeof(E), alignof(E), length_)) return {};
    return {reinterpret_cast<const E*>(payload_ + list.at), list.count};
  }
  IPCQ_HOST_DEVICE Range<const char> get(Text text) const noexcept { return get(List<char>{text.at, text.length}); }
  IPCQ_HOST_DEVICE TensorView get(Tensor tensor) const noexcept {
    detail::keep_copy(tensor);
    if (!detail::fits_in(tensor, length_)) return {};
    return {tensor, payload_ + tensor.at};
  }

  // Whether all that the value refers to is within the payload, to any depth, and each bool of it is one. A value that
  // refers to nothing, at the beginning of its payload, is all of it. Takes as long as its lists have elements with
  // such fields.
  IPCQ_HOST_DEVICE bool is_sound() const noexcept {
    if (value_ == nullptr) return false;
    if constexpr (!detail::kRefersElsewhere<T>) {
      if (static_cast<const void*>(value_) == payload_ && length_ != sizeof(T)) return false;
    }
    return detail::SoundCheck(payload_, length_, sizeof(T)).is_sound(*value_);
  }

 private:
  const T* value_ = nullptr;
  const std::byte* payload_ = nullptr;
  std::uint64_t length_ = 0;
};

// The same for who may change the message: a handler, which changes the values in place.
template <class T>
class FlatEditor : public FlatView<T> {
 public:
  FlatEditor() noexcept = default;
  IPCQ_HOST_DEVICE FlatEditor(std::byte* payload, std::uint64_t length) noexcept : FlatView<T>(payload, length) {}
  IPCQ_HOST_DEVICE T& operator*() const noexcept { return const_cast<T&>(FlatView<T>::operator*()); }
  IPCQ_HOST_DEVICE T* operator->() const noexcept { return const_cast<T*>(FlatView<T>::operator->()); }
  // As get(), of elements that may be changed.
  template <class E>
  IPCQ_HOST_DEVICE Range<E> edit(List<E> list) const noexcept {
    const Range<const E> elements = this->get(list);
    return {const_cast<E*>(elements.data()), elements.size()};
  }
  // Of a tensor whose elements are Es and lie in order.
  template <class E>
  IPCQ_HOST_DEVICE Range<E> edit(const Tensor& tensor) const noexcept {
    const Range<const E> elements = this->get(tensor).template elements<E>();
    return {const_cast<E*>(elements.data()), elements.size()};
  }
};

}  // namespace ipcq
