// Sizes as users write them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/size_text.hpp"
#include "programs/usage_error.hpp"

namespace ipcq::program {
namespace {

using testing::HasSubstr;

TEST(SizeText, UnderstandsUnits) {
  EXPECT_EQ(parse_size("4k-rgb", "size"), 24883200U);
  EXPECT_EQ(parse_size("100", "size"), 100U);
  EXPECT_EQ(parse_size("100B", "size"), 100U);
  EXPECT_EQ(parse_size("4KiB", "size"), 4096U);
  EXPECT_EQ(parse_size("1.5MiB", "size"), 1572864U);
  EXPECT_EQ(parse_size("2GiB", "size"), 2147483648U);
  EXPECT_EQ(parse_size("4k", "size"), 4000U);
  EXPECT_EQ(parse_size("3M", "size"), 3000000U);
}

TEST(SizeText, RefusesWhatIsNoSize) {
  for (const char* text :
       {"", "0", "-1", "KiB", "4kib", "4 KiB", "1.5", "nan", "inf", "1e3", "4KiB,", "99999999999999999"}) {
    EXPECT_THAT(usage_error_of([&] { parse_size(text, "size"); }), HasSubstr("is no size")) << text;
  }
}

}  // namespace
}  // namespace ipcq::program
