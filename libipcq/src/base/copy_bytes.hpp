// memcpy() for payloads, which are mostly short: without a call, so that a function of the hot path need not save its
// registers.
#pragma once

#include <emmintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace ipcq::detail {

// Longer ones are a call, of which the C library makes the most.
inline constexpr std::size_t kShortCopy = 256;

// The ranges do not overlap, unless `bytes` is 0: then the pointers may be null. `bytes`: kShortCopy at most.
[[gnu::always_inline]] inline void copy_short(void* to, const void* from, std::size_t bytes) noexcept {
  auto* const t = static_cast<char*>(to);
  const auto* const f = static_cast<const char*>(from);
  const auto move16 = [t, f](std::size_t at) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(t + at), _mm_loadu_si128(reinterpret_cast<const __m128i*>(f + at)));
  };
  // Two pieces of `size` bytes, from both ends, which may overlap.
  const auto move_ends = [t, f, bytes]<class Piece>(Piece) {
    Piece first;
    Piece last;
    std::memcpy(&first, f, sizeof first);
    std::memcpy(&last, f + bytes - sizeof last, sizeof last);
    std::memcpy(t, &first, sizeof first);
    std::memcpy(t + bytes - sizeof last, &last, sizeof last);
  };
  if (bytes >= 16) [[likely]] {
    const std::size_t last = bytes - 16;
    for (std::size_t at = 0; at < last; at += 16) move16(at);
    move16(last);
  } else if (bytes >= 8) {
    move_ends(std::uint64_t{});
  } else if (bytes >= 4) {
    move_ends(std::uint32_t{});
  } else if (bytes >= 2) {
    move_ends(std::uint16_t{});
  } else if (bytes == 1) {
    *t = *f;
  }
}

[[gnu::always_inline]] inline void copy_bytes(void* to, const void* from, std::size_t bytes) noexcept {
  if (bytes <= kShortCopy) [[likely]] {
    copy_short(to, from, bytes);
  } else if (from != nullptr) {  // for the compiler, which warns where a caller has no bytes
    std::memcpy(to, from, bytes);
  }
}

}  // namespace ipcq::detail
