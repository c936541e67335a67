// Tensors in messages: a fixed header in the manner of DLPack, and a view of the elements. One source for host and
// device code. ipcq/flat.hpp says how a value that has one lies in its message.
#pragma once

#include <cstddef>
#include <cstdint>
#ifndef __CUDACC_RTC__
#include <string_view>
#endif

#include "ipcq/export.hpp"
#include "ipcq/for_each.hpp"

namespace ipcq {

// Elements of one type, one after the other. A view, as std::span, which takes it.
template <class E>
class Range {
 public:
  constexpr Range() noexcept = default;
  IPCQ_HOST_DEVICE constexpr Range(E* data, std::uint64_t size) noexcept : data_(data), size_(size) {}
  IPCQ_HOST_DEVICE constexpr E* data() const noexcept { return data_; }
  IPCQ_HOST_DEVICE constexpr std::uint64_t size() const noexcept { return size_; }
  IPCQ_HOST_DEVICE constexpr bool empty() const noexcept { return size_ == 0; }
  IPCQ_HOST_DEVICE constexpr E* begin() const noexcept { return data_; }
  IPCQ_HOST_DEVICE constexpr E* end() const noexcept { return data_ + size_; }
  IPCQ_HOST_DEVICE constexpr E& operator[](std::uint64_t i) const noexcept { return data_[i]; }
#ifndef __CUDACC_RTC__
  // Of characters.
  // NOLINTNEXTLINE(google-explicit-constructor)
  constexpr operator std::string_view() const noexcept requires(__is_same(E, const char)) { return {data_, size_}; }
#endif

 private:
  E* data_ = nullptr;
  std::uint64_t size_ = 0;
};

// Type of a tensor's elements, as DLPack has it: `code` says of what kind, each of `lanes` of them has `bits`.
struct DType {
  static constexpr std::uint8_t kInt = 0, kUint = 1, kFloat = 2, kBfloat = 4, kComplex = 5, kBool = 6;
  std::uint8_t code = 0;
  std::uint8_t bits = 0;
  std::uint16_t lanes = 0;
  IPCQ_HOST_DEVICE constexpr std::uint64_t bytes() const noexcept { return std::uint64_t{bits} * lanes / 8; }
  IPCQ_HOST_DEVICE friend constexpr bool operator==(DType a, DType b) noexcept {
    return a.code == b.code && a.bits == b.bits && a.lanes == b.lanes;
  }
};

// Of a C++ type. For types of your own, such as half-precision ones, specialise kDTypeOf:
//   template <> inline constexpr ipcq::DType ipcq::kDTypeOf<__half> = {ipcq::DType::kFloat, 16, 1};
template <class E>
inline constexpr DType kDTypeOf = {};
template <>
inline constexpr DType kDTypeOf<bool> = {DType::kBool, 8, 1};
template <>
inline constexpr DType kDTypeOf<float> = {DType::kFloat, 32, 1};
template <>
inline constexpr DType kDTypeOf<double> = {DType::kFloat, 64, 1};
#define IPCQ_DTYPE_OF_INTEGER(ipcq_type)         \
  template <>                                    \
  inline constexpr DType kDTypeOf<ipcq_type> = { \
      static_cast<ipcq_type>(-1) < static_cast<ipcq_type>(0) ? DType::kInt : DType::kUint, sizeof(ipcq_type) * 8, 1};
IPCQ_FOR_EACH(IPCQ_DTYPE_OF_INTEGER, signed char, unsigned char, short, unsigned short, int, unsigned int, long,
              unsigned long, long long, unsigned long long)
#undef IPCQ_DTYPE_OF_INTEGER

// Field, or a value by itself: an array of up to eight dimensions, in the manner of DLPack. 128 bytes. Its element
// [0, ..., 0] lies in the payload at `at`; a step along dimension d is `strides[d]` elements.
struct Tensor {
  static constexpr std::uint32_t kMostDimensions = 8;
  static constexpr std::uint32_t kAlignment = 128;  // of the elements that FlatWriter makes
  DType dtype;
  std::uint32_t dimensions = 0;
  std::uint64_t at = 0;
  std::uint64_t reserved[2] = {};  // 0
  std::uint32_t shape[kMostDimensions] = {};
  std::int64_t strides[kMostDimensions] = {};
};
static_assert(sizeof(Tensor) == 128);
#ifndef __CUDACC_RTC__  // it has no offsetof
static_assert(offsetof(Tensor, dtype) == 0 && offsetof(Tensor, dimensions) == 4 && offsetof(Tensor, at) == 8 &&
              offsetof(Tensor, reserved) == 16 && offsetof(Tensor, shape) == 32 && offsetof(Tensor, strides) == 64);
#endif

// A tensor as it lies in one message. A view.
class TensorView {
 public:
  TensorView() noexcept = default;
  // `data`: of element [0, ..., 0].
  IPCQ_HOST_DEVICE TensorView(const Tensor& tensor, const std::byte* data) noexcept : tensor_(tensor), data_(data) {}
  // False: there is none, or what it says does not fit its message; then all else is empty.
  IPCQ_HOST_DEVICE explicit operator bool() const noexcept { return data_ != nullptr; }
  IPCQ_HOST_DEVICE const std::byte* data() const noexcept { return data_; }
  IPCQ_HOST_DEVICE DType dtype() const noexcept { return tensor_.dtype; }
  IPCQ_HOST_DEVICE Range<const std::uint32_t> shape() const noexcept { return {tensor_.shape, tensor_.dimensions}; }
  IPCQ_HOST_DEVICE Range<const std::int64_t> strides() const noexcept { return {tensor_.strides, tensor_.dimensions}; }
  // Number of elements; at most 2^64 - 1, of a tensor that shows the same ones over and over.
  IPCQ_HOST_DEVICE std::uint64_t size() const noexcept {
    if (data_ == nullptr || has_none()) return 0;
    std::uint64_t n = 1;
    for (const std::uint32_t extent : shape()) n = n > kMost / extent ? kMost : n * extent;
    return n;
  }
  // Whether the elements lie one after the other, the last dimension's first.
  IPCQ_HOST_DEVICE bool is_contiguous() const noexcept {
    if (data_ == nullptr) return false;
    if (has_none()) return true;
    std::uint64_t step = 1;  // no more than the message has bytes, as long as the strides are those
    for (std::uint32_t d = tensor_.dimensions; d-- != 0;) {
      if (tensor_.shape[d] > 1 && static_cast<std::uint64_t>(tensor_.strides[d]) != step) return false;
      step *= tensor_.shape[d];
    }
    return true;
  }
  // All elements in that order; none unless E is their type and is_contiguous(). Those that are bool are read as
  // unsigned char: others may have written there what is no bool.
  template <class E>
  IPCQ_HOST_DEVICE Range<const E> elements() const noexcept {
    static_assert(alignof(E) <= 8, "payloads begin at a multiple of 8 bytes");
    static_assert(!(kDTypeOf<E> == kDTypeOf<bool>), "read the elements of a bool tensor as unsigned char");
    const bool is_bool = dtype() == kDTypeOf<bool> && kDTypeOf<E> == kDTypeOf<unsigned char>;
    if ((!is_bool && !(dtype() == kDTypeOf<E>)) || !is_contiguous()) return {};
    return {reinterpret_cast<const E*>(data_), size()};
  }

 private:
  static constexpr std::uint64_t kMost = ~std::uint64_t{0};
  IPCQ_HOST_DEVICE bool has_none() const noexcept {
    for (const std::uint32_t extent : shape()) {
      if (extent == 0) return true;
    }
    return false;
  }
  Tensor tensor_;
  const std::byte* data_ = nullptr;
};

namespace detail {

// After a copy from shared memory: the compiler must not read it there again.
IPCQ_HOST_DEVICE inline void keep_copy(Tensor& tensor) noexcept {
#if defined(__CUDA_ARCH__)
  asm volatile("" : : "l"(&tensor) : "memory");
#else
  asm volatile("" : : "r"(&tensor) : "memory");
#endif
}

// Whether it is none, as Tensor{}: a field that nobody has set.
IPCQ_HOST_DEVICE constexpr bool is_none(const Tensor& t) noexcept { return t.dtype == DType{} && t.dimensions == 0; }
// Whether all elements are in a payload of `length` bytes. `t` must be a private copy.
IPCQ_HOST_DEVICE constexpr bool fits_in(const Tensor& t, std::uint64_t length) noexcept {
  if (t.dimensions > Tensor::kMostDimensions || t.dtype.lanes == 0 || t.dtype.bits == 0) return false;
  if (t.dtype.bits * t.dtype.lanes % 8 != 0) return false;
  // In elements, each way from element [0, ..., 0].
  const std::uint64_t most = length / t.dtype.bytes();
  std::uint64_t before = 0;
  std::uint64_t behind = 1;
  for (std::uint32_t d = 0; d < t.dimensions; ++d) {
    if (t.shape[d] == 0) return t.at <= length;
  }
  for (std::uint32_t d = 0; d < t.dimensions; ++d) {
    const bool down = t.strides[d] < 0;
    const std::uint64_t step =
        down ? ~static_cast<std::uint64_t>(t.strides[d]) + 1 : static_cast<std::uint64_t>(t.strides[d]);
    if (t.shape[d] > 1 && step > most / (t.shape[d] - 1)) return false;
    (down ? before : behind) += step * (t.shape[d] - 1);
    if (before > most || behind > most) return false;
  }
  const std::uint64_t alignment = t.dtype.bits == 0 || t.dtype.bits / 8 > 16 ? 1 : t.dtype.bits / 8;
  if (t.dtype.bits >= 8 && (alignment & (alignment - 1)) == 0 && t.at % alignment != 0) return false;
  return t.at <= length && behind * t.dtype.bytes() <= length - t.at && before * t.dtype.bytes() <= t.at;
}

}  // namespace detail
}  // namespace ipcq
