#include "layout/text_field.hpp"

#include <algorithm>
#include <cstring>

namespace ipcq::detail {

void set_text(char* to, std::size_t size, const std::string& text) noexcept {
  const std::size_t n = std::min(size - 1, text.size());
  std::memcpy(to, text.data(), n);
  std::memset(to + n, 0, size - n);
}

std::string get_text(const char* from, std::size_t size) { return {from, strnlen(from, size)}; }

}  // namespace ipcq::detail
