// What the handler has beside its own file.
#pragma once

#include <cstdint>

#include "ipcq/export.hpp"

#if !defined(NUMBERS_TOGETHER)
#error "the definitions of ipcq_add_handler() are missing"
#endif
constexpr int kTogether = NUMBERS_TOGETHER;

struct Order {
  bool descending;
  IPCQ_HOST_DEVICE bool operator()(std::uint32_t a, std::uint32_t b) const { return descending ? b < a : a < b; }
};
