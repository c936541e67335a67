#include "program/size_text.hpp"

#include <array>
#include <charconv>
#include <cmath>
#include <ipcq/error.hpp>
#include <utility>

#include <fmt/format.h>

#include "program/pattern.hpp"

namespace ipcq::program {
namespace {

constexpr std::array<std::pair<std::string_view, double>, 11> kUnits = {{{"", 1},
                                                                         {"B", 1},
                                                                         {"k", 1e3},
                                                                         {"kB", 1e3},
                                                                         {"M", 1e6},
                                                                         {"MB", 1e6},
                                                                         {"G", 1e9},
                                                                         {"GB", 1e9},
                                                                         {"KiB", 1024.0},
                                                                         {"MiB", 1024.0 * 1024},
                                                                         {"GiB", 1024.0 * 1024 * 1024}}};

}  // namespace

std::uint64_t parse_size(std::string_view text, std::string_view what) {
  if (text == "4k-rgb") return Pattern4k::kFrameBytes;
  double number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number, std::chars_format::fixed);
  if (error == std::errc{} && number >= 0 && number <= 1e15) {
    const std::string_view suffix(rest, static_cast<std::size_t>(text.data() + text.size() - rest));
    for (const auto& [unit, factor] : kUnits) {
      if (suffix != unit) continue;
      const double bytes = number * factor;
      if (bytes >= 1 && bytes <= 1e15 && bytes == std::floor(bytes)) return static_cast<std::uint64_t>(bytes);
    }
  }
  throw UsageError(fmt::format(
      "{}: '{}' is no size; write 4k-rgb or a number of bytes with B, KiB, MiB, GiB, k, M or G behind it, such as 4KiB",
      what, text));
}

std::uint64_t parse_number(std::string_view text, std::string_view what, std::uint64_t low, std::uint64_t high) {
  std::uint64_t number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || rest != text.data() + text.size() || number < low || number > high) {
    throw UsageError(fmt::format("{}: '{}' is not a whole number from {} to {}", what, text, low, high));
  }
  return number;
}

std::string_view describe(Decimal range) noexcept {
  return range == Decimal::positive ? "a number above 0" : "a number, 0 or more";
}

bool is_in(double number, Decimal range) noexcept {
  return std::isfinite(number) && (number > 0 || (number == 0 && range == Decimal::not_negative));
}

double parse_decimal(std::string_view text, std::string_view what, Decimal range) {
  double number = 0;
  const auto [rest, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc{} || rest != text.data() + text.size() || !is_in(number, range)) {
    throw UsageError(fmt::format("{}: '{}' is not {}", what, text, describe(range)));
  }
  return number;
}

}  // namespace ipcq::program
