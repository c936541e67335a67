// A client that spoils its broker's segments, for the tests of what others make of that.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace ipcq_test {

struct Scribbling {
  std::uint64_t seed = 1;
  std::chrono::milliseconds time{500};
  std::chrono::microseconds pause{200};
};
// Writes random bytes over everything but the header page and the payloads of the segments named in `segments` (by
// commas), a word here and a stretch there. Gives a program's exit code: 2 where a segment cannot be mapped.
int scribble(const std::string& segments, const Scribbling& how);

}  // namespace ipcq_test
