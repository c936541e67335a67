// Text in fields of fixed size, as shared structs and control messages hold it: padded with zeros, one at least.
#pragma once

#include <cstddef>
#include <string>

namespace ipcq::detail {

// What does not fit is cut off.
void set_text(char* to, std::size_t size, const std::string& text) noexcept;
// However damaged the field is: never reads beyond `size`.
std::string get_text(const char* from, std::size_t size);

}  // namespace ipcq::detail
