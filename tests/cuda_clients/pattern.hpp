// Payloads of the GPU tests, for host and device code: each byte follows from the seed and its place, so that a torn
// payload, a wrong slot and a missing handler all show.
#pragma once

#include <cstdint>

#include "ipcq/handler.hpp"

namespace ipcq_test {

IPCQ_HOST_DEVICE inline std::uint8_t pattern_byte(std::uint64_t seed, std::uint64_t i) {
  return static_cast<std::uint8_t>(seed * 167 + i * 31 + (i >> 8) * 7 + (i >> 16));
}

// The results of a check kernel, in pinned memory.
struct Findings {
  unsigned long long wrong_bytes;
  unsigned long long messages;  // checked
  unsigned int status[64];      // ipcq::Status of the messages of check_header, by number
};

}  // namespace ipcq_test
