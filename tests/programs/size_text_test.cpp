// Sizes as users write them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "program/size_text.hpp"
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

TEST(NumberText, IsDecimal) {
  EXPECT_EQ(parse_number("10", "n", 1, 99), 10U);
  EXPECT_EQ(parse_number("010", "n", 1, 99), 10U);
  EXPECT_EQ(parse_number("18446744073709551615", "n", 1, UINT64_MAX), UINT64_MAX);
  for (const char* text : {"", "0", "100", "-1", "+1", "0x10", "1.0", "1e1", " 1", "1 ", "18446744073709551617"}) {
    EXPECT_THAT(usage_error_of([&] { parse_number(text, "n", 1, 99); }), HasSubstr("n: '")) << text;
  }
}

TEST(NumberText, NeedNotBeWhole) {
  EXPECT_EQ(parse_decimal("0.5", "n", Decimal::positive), 0.5);
  EXPECT_EQ(parse_decimal("010", "n", Decimal::positive), 10.0);
  EXPECT_EQ(parse_decimal("1e3", "n", Decimal::positive), 1000.0);
  EXPECT_EQ(parse_decimal("0", "n", Decimal::not_negative), 0.0);
  EXPECT_THAT(usage_error_of([] { parse_decimal("0", "n", Decimal::positive); }), HasSubstr("above 0"));
  for (const char* text : {"", "-1", "0x10", "nan", "inf", "1e999", "1,5", " 1", "1s"}) {
    EXPECT_THAT(usage_error_of([&] { parse_decimal(text, "n", Decimal::not_negative); }), HasSubstr("0 or more"))
        << text;
  }
}

}  // namespace
}  // namespace ipcq::program
