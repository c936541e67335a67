// What the maps of queues and pools do alike with a segment's header: they fill one in for a creation, and check that
// of a segment which they open. Pure functions.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>

#include "ipcq/error.hpp"
#include "layout/regions.hpp"
#include "queue/segment.hpp"

namespace ipcq::detail {

template <std::size_t N>
void copy_name(char (&to)[N], const std::string& from) {
  std::memset(to, 0, N);
  std::memcpy(to, from.data(), std::min(from.size(), N - 1));
}

template <class Header>
Header checked_layout(const Segment& segment, const Header& copy) {
  const bool possible = has_possible_counts(copy);
  Header expected = copy;
  if (possible) lay_out(expected);
  if (!possible || std::memcmp(&expected, &copy, sizeof copy) != 0) {
    throw LayoutError("segment " + segment.name() +
                      ": damaged: its counts and offsets contradict each other; restart "
                      "its broker");
  }
  return copy;
}

inline void check_range(const std::string& object, const char* what, std::uint64_t value, std::uint64_t low,
                        std::uint64_t high) {
  if (value < low || value > high) {
    throw UsageError(object + ": " + what + " is " + std::to_string(value) + "; allowed are " + std::to_string(low) +
                     " to " + std::to_string(high));
  }
}

template <class T>
T* at(const Segment& segment, std::uint64_t offset) {
  return reinterpret_cast<T*>(segment.data() + offset);
}

}  // namespace ipcq::detail
