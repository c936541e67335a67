#include "layout/text_field.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cstring>

namespace ipcq::detail {
namespace {

using namespace std::string_literals;

// A field of eight bytes, and what lies beside it.
class TextField : public testing::Test {
 protected:
  static constexpr std::size_t kSize = 8;
  TextField() { memory_.fill('#'); }
  char* field() { return memory_.data() + 4; }
  void set(const std::string& text) { set_text(field(), kSize, text); }
  std::string get() { return get_text(field(), kSize); }
  std::string memory() const { return {memory_.data(), memory_.size()}; }

  std::array<char, kSize + 8> memory_{};
};

TEST_F(TextField, HoldsATextPaddedWithZeros) {
  set("abc");
  EXPECT_EQ(memory(), "####abc\0\0\0\0\0####"s);
  EXPECT_EQ(get(), "abc");
  set("");
  EXPECT_EQ(memory(), "####\0\0\0\0\0\0\0\0####"s);
  EXPECT_EQ(get(), "");
}

TEST_F(TextField, CutsOffWhatDoesNotFitBeforeTheLastZero) {
  set("abcdefg");
  EXPECT_EQ(memory(), "####abcdefg\0####"s);
  set("ABCDEFGHIJKLMNOP");
  EXPECT_EQ(memory(), "####ABCDEFG\0####"s);
  EXPECT_EQ(get(), "ABCDEFG");
}

TEST_F(TextField, IsNotReadBeyondItsEndHoweverDamaged) {
  std::memset(field(), 'x', kSize);
  EXPECT_EQ(get(), "xxxxxxxx");
}

TEST_F(TextField, EndsWithItsFirstZero) {
  set("ab\0cd"s);
  EXPECT_EQ(get(), "ab");
}

}  // namespace
}  // namespace ipcq::detail
