// Text in the fixed-size fields of shared structs and control messages: padded with zeros, at least one.
// Thread-safe for different fields.
#pragma once

#include <cstddef>
#include <string>

#include "ipcq/export.hpp"

namespace ipcq::detail {

// Truncates text that does not fit.
void set_text(char* to, std::size_t size, const std::string& text) noexcept;
// Never reads beyond `size`, also where the terminating zero is missing.
IPCQ_INTERNAL_API std::string get_text(const char* from, std::size_t size);

}  // namespace ipcq::detail
