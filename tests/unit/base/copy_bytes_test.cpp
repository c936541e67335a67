#include "base/copy_bytes.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace ipcq::detail {
namespace {

// On the heap and of the exact size, so that AddressSanitizer sees every byte read or written beside them.
TEST(CopyBytes, CopiesEveryLengthAndNothingBeside) {
  for (std::size_t length = 0; length <= kShortCopy + 40; ++length) {
    const auto from = std::make_unique<unsigned char[]>(length);
    const auto to = std::make_unique<unsigned char[]>(length + 1);
    for (std::size_t i = 0; i < length; ++i) from[i] = static_cast<unsigned char>(i * 7 + length);
    to[length] = 0x5a;
    copy_bytes(to.get(), from.get(), length);
    for (std::size_t i = 0; i < length; ++i) ASSERT_EQ(to[i], from[i]) << "byte " << i << " of " << length;
    ASSERT_EQ(to[length], 0x5a) << length;
  }
}

TEST(CopyBytes, TakesNullPointersOfNoBytes) { copy_bytes(nullptr, nullptr, 0); }

}  // namespace
}  // namespace ipcq::detail
