// Bit fields of packed words, and pairs of words that change together. For host and device code.
#pragma once

#include <cstdint>

#include "ipcq/export.hpp"

namespace ipcq::detail {

// The value of a 16-byte word.
struct Pair {
  std::uint64_t lo = 0;
  std::uint64_t hi = 0;
  friend bool operator==(const Pair&, const Pair&) = default;
};

// The field of `Width` bits from bit `At` of a 64-bit word. Its members are static, because device code cannot use
// constants of class type.
template <unsigned At, unsigned Width>
struct Bits {
  static_assert(Width >= 1 && At + Width <= 64);
  static constexpr unsigned kShift = At;
  static constexpr std::uint64_t kMax = ~std::uint64_t{0} >> (64 - Width);
  static constexpr std::uint64_t kMask = kMax << At;
  // `value` must not exceed kMax: excess bits would change the next field.
  IPCQ_HOST_DEVICE static constexpr std::uint64_t put(std::uint64_t value) { return value << At; }
  IPCQ_HOST_DEVICE static constexpr std::uint64_t get(std::uint64_t word) { return word >> At & kMax; }
};

// Order of two values of a counter that wraps: correct while they are less than 2^31 apart.
constexpr bool is_before(std::uint32_t a, std::uint32_t b) { return static_cast<std::int32_t>(a - b) < 0; }

template <class... Field>
constexpr bool are_disjoint() {
  std::uint64_t all = 0;
  bool disjoint = true;
  ((disjoint = disjoint && (all & Field::kMask) == 0, all |= Field::kMask), ...);
  return disjoint;
}

// Whether these fields share no bit and together cover all 64.
template <class... Field>
constexpr bool fill_a_word() {
  return are_disjoint<Field...>() && (... | Field::kMask) == ~std::uint64_t{0};
}

}  // namespace ipcq::detail
