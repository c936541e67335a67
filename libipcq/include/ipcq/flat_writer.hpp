// FlatWriter: builds a flat value (ipcq/flat.hpp) in a buffer, such as a loan's slot.
//
//   alignas(8) std::array<std::byte, 512> room;
//   ipcq::FlatWriter<Reading> reading(room);
//   reading->sensor = 7;
//   reading.put(reading->unit, "mV");
//   std::span<float> samples = reading.make(reading->samples, 64);   // written in place
//   ... reading.bytes() ...
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <span>
#include <string_view>
#include <type_traits>

#include "ipcq/flat.hpp"

namespace ipcq {

// For one thread. What it makes lies one behind the other, each at its alignment, in the order of the calls, and is
// never moved; a field that is made twice takes room twice.
template <class T>
class FlatWriter {
  static_assert(detail::kIsField<T>, "name the type's fields by IPCQ_SCHEMA, in its own namespace, before it is used");

 public:
  struct Beside {};
  FlatWriter() noexcept = default;
  // The value comes first in `room`, and is T{}. is_full() if that has no room for it, or does not begin at a multiple
  // of 8.
  explicit FlatWriter(std::span<std::byte> room) noexcept : FlatWriter(Beside(), room) {
    if (room.size() < sizeof(T) || reinterpret_cast<std::uintptr_t>(room.data()) % 8 != 0) {
      full_ = true;
      return;
    }
    in_room_ = ::new (static_cast<void*>(room.data())) T{};
    length_ = sizeof(T);
  }
  // The value lies in this object, and what it refers to in `room`. That may be memory of a GPU, which the CPU cannot
  // write: then make() alone can be used, and kernels write what it returns.
  FlatWriter(Beside, std::span<std::byte> room) noexcept
      : room_(room.data()), capacity_(room.size() < kMostBytes ? room.size() : kMostBytes) {}

  T& operator*() noexcept { return *value(); }
  const T& operator*() const noexcept { return *value(); }
  T* operator->() noexcept { return value(); }
  const T* operator->() const noexcept { return value(); }

  // Makes room for elements, and sets the field: of the value, or of an element of one of its lists. The elements are
  // E{} if they have lists, text, tensors or bools, which must be sound; else unspecified until they are written.
  // Empty: there is no room for them, and from then on is_full().
  template <class E>
  std::span<E> make(List<E>& field, std::size_t count) noexcept {
    check_that_fields_are_named();
    E* const data = static_cast<E*>(reserve(count, sizeof(E), alignof(E)));
    if (data == nullptr) return {};
    if constexpr (detail::kChecked<E>) std::uninitialized_value_construct_n(data, count);
    field = {static_cast<std::uint32_t>(at_of(data)), static_cast<std::uint32_t>(count)};
    return {data, count};
  }
  // A contiguous tensor of Es, the last dimension's elements one after the other. Also empty: more than eight
  // dimensions, or elements of no whole number of bytes.
  template <class E>
  std::span<E> make(Tensor& field, std::span<const std::uint32_t> shape) noexcept {
    static_assert(alignof(E) <= 8, "payloads begin at a multiple of 8 bytes");
    static_assert(kDTypeOf<E>.bits != 0, "no dtype is known of the element's type: specialise ipcq::kDTypeOf");
    const std::span<std::byte> bytes = make(field, kDTypeOf<E>, shape);
    return {reinterpret_cast<E*>(bytes.data()), bytes.size() / sizeof(E)};
  }
  template <class E>
  std::span<E> make(Tensor& field, std::initializer_list<std::uint32_t> shape) noexcept {
    return make<E>(field, std::span(shape.begin(), shape.size()));
  }
  std::span<std::byte> make(Tensor& field, DType dtype, std::span<const std::uint32_t> shape) noexcept {
    check_that_fields_are_named();
    Tensor made;
    made.dtype = dtype;
    if (shape.size() > Tensor::kMostDimensions || dtype.bytes() == 0 || dtype.bits * dtype.lanes % 8 != 0) {
      full_ = true;
      return {};
    }
    made.dimensions = static_cast<std::uint32_t>(shape.size());
    std::uint64_t count = 1;
    for (std::size_t d = shape.size(); d-- != 0;) {
      made.shape[d] = shape[d];
      made.strides[d] = static_cast<std::int64_t>(count);
      if (shape[d] != 0 && count > capacity_ / shape[d]) {
        full_ = true;
        return {};
      }
      count *= shape[d];
    }
    void* const data = reserve(count, dtype.bytes(), Tensor::kAlignment);
    if (data == nullptr) return {};
    made.at = at_of(data);
    field = made;
    return {static_cast<std::byte*>(data), static_cast<std::size_t>(count * dtype.bytes())};
  }

  // The same with a copy of what the elements are to be. False: there is no room.
  template <class E>
  bool put(List<E>& field, std::span<const std::type_identity_t<E>> elements) noexcept {
    const std::span<E> to = make(field, elements.size());
    if (!elements.empty() && !to.empty())
      std::memcpy(static_cast<void*>(to.data()), elements.data(), elements.size_bytes());
    return !full_;
  }
  bool put(Text& field, std::string_view text) noexcept {
    check_that_fields_are_named();
    void* const to = reserve(text.size(), 1, 1);
    if (to == nullptr) return false;
    if (!text.empty()) std::memcpy(to, text.data(), text.size());
    field = {static_cast<std::uint32_t>(at_of(to)), static_cast<std::uint32_t>(text.size())};
    return true;
  }

  // Whether something had no room. Then the value lacks it, and the calls that publish it return Status::too_large.
  bool is_full() const noexcept { return full_; }
  // Bytes of the payload by now.
  std::size_t length() const noexcept { return length_; }
  std::size_t capacity() const noexcept { return capacity_; }
  std::span<const std::byte> bytes() const noexcept { return {room_, length_}; }
  bool is_beside() const noexcept { return in_room_ == nullptr; }

 private:
  static constexpr void check_that_fields_are_named() noexcept {
    static_assert(detail::kRefersElsewhere<T>,
                  "IPCQ_SCHEMA of the type names no list, text or tensor: name this field there");
  }
  T* value() noexcept { return in_room_ != nullptr ? in_room_ : &beside_; }
  const T* value() const noexcept { return in_room_ != nullptr ? in_room_ : &beside_; }
  std::uint64_t at_of(const void* data) const noexcept {
    return static_cast<std::uint64_t>(static_cast<const std::byte*>(data) - room_);
  }
  // Null: no room.
  void* reserve(std::uint64_t count, std::uint64_t element, std::uint64_t alignment) noexcept {
    const std::uint64_t at = (length_ + alignment - 1) / alignment * alignment;
    if (full_ || room_ == nullptr || at > capacity_ || count > (capacity_ - at) / element) {
      full_ = true;
      return nullptr;
    }
    length_ = at + count * element;
    return room_ + at;
  }

  static constexpr std::size_t kMostBytes = 0xffffffff;  // what a field can say

  std::byte* room_ = nullptr;
  std::size_t capacity_ = 0;
  std::size_t length_ = 0;
  T* in_room_ = nullptr;
  bool full_ = false;
  T beside_{};
};

namespace detail {

template <class T>
std::span<const std::byte> value_bytes(const T& value) noexcept {
  return std::as_bytes(std::span(&value, 1));
}

// Values as a range of payloads, for send_many().
template <class T>
struct EachAsBytes {
  struct Iterator {
    using iterator_concept = std::forward_iterator_tag;
    using value_type = std::span<const std::byte>;
    using difference_type = std::ptrdiff_t;
    const T* at = nullptr;
    std::span<const std::byte> operator*() const noexcept { return value_bytes(*at); }
    Iterator& operator++() noexcept {
      ++at;
      return *this;
    }
    Iterator operator++(int) noexcept { return {at++}; }
    bool operator==(const Iterator& other) const noexcept { return at == other.at; }
  };
  std::span<const T> values;
  Iterator begin() const noexcept { return {values.data()}; }
  Iterator end() const noexcept { return {values.data() + values.size()}; }
};

}  // namespace detail

}  // namespace ipcq
