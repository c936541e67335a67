// Sizes as people write them.
#pragma once

#include <cstdint>
#include <string_view>

namespace ipcq::program {

// "4k-rgb" (one 3840 x 2160 RGB frame, 24883200), or a number with B, KiB, MiB, GiB (powers of 1024), k, M, G, kB, MB,
// GB (powers of 1000) or nothing (bytes). Throws UsageError naming `what`.
std::uint64_t parse_size(std::string_view text, std::string_view what);
// Whole number in [low, high]. Throws UsageError naming `what`.
std::uint64_t parse_number(std::string_view text, std::string_view what, std::uint64_t low, std::uint64_t high);

}  // namespace ipcq::program
