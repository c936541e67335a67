// FNV-1a, 64 bits: a hash that every build of the library computes alike. It tells texts apart that nobody has chosen
// to collide.
#pragma once

#include <cstdint>
#include <string_view>

namespace ipcq::detail {

inline std::uint64_t fnv1a(std::string_view text) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

}  // namespace ipcq::detail
