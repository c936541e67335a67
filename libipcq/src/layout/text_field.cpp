#include "layout/text_field.hpp"

#include <algorithm>
#include <cstring>

#include "base/os.hpp"
#include "layout/limits.hpp"

namespace ipcq::detail {

static_assert(kLongestName + 1 == kNameBytes);  // with the zero at its end

void set_text(char* to, std::size_t size, const std::string& text) noexcept {
  const std::size_t n = std::min(size - 1, text.size());
  std::memcpy(to, text.data(), n);
  std::memset(to + n, 0, size - n);
}

std::string get_text(const char* from, std::size_t size) { return {from, strnlen(from, size)}; }

}  // namespace ipcq::detail
