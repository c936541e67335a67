// The weights of matmul: W, kInputs rows of kOutputs columns. Of the handler and of the program that checks it, so
// without the standard library.
#pragma once

#include <ipcq/handler.hpp>

inline constexpr unsigned kInputs = 64;
inline constexpr unsigned kOutputs = 32;

// In [-1, 1], and the same float everywhere: a multiple of 1/128.
IPCQ_HOST_DEVICE constexpr float weight(std::uint64_t row, std::uint64_t column) {
  return static_cast<float>((row * 37 + column * 101 + row * column * 13) % 257) / 128 - 1;
}
