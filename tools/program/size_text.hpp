// Parses numbers and sizes as people write them: decimal, without any other character. Thread-safe.
#pragma once

#include <cstdint>
#include <string_view>

namespace ipcq::program {

// "4k-rgb" (one 3840 x 2160 RGB frame, 24883200), or a number with B, KiB, MiB, GiB (powers of 1024), k, M, G, kB, MB,
// GB (powers of 1000) or nothing (bytes). Throws UsageError naming `what`.
std::uint64_t parse_size(std::string_view text, std::string_view what);
// A whole number in [low, high], in decimal: 010 is ten. Throws UsageError naming `what`.
std::uint64_t parse_number(std::string_view text, std::string_view what, std::uint64_t low, std::uint64_t high);

// The range of a number that need not be whole. Infinity is in neither.
enum class Decimal : std::uint8_t { positive, not_negative };
// "a number above 0" or "a number, 0 or more"
std::string_view describe(Decimal range) noexcept;
bool is_in(double number, Decimal range) noexcept;
// Throws UsageError naming `what`.
double parse_decimal(std::string_view text, std::string_view what, Decimal range);

}  // namespace ipcq::program
