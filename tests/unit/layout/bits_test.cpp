#include "layout/bits.hpp"

#include <gtest/gtest.h>

#include <cstdint>

namespace ipcq::detail {
namespace {

using Low = Bits<0, 22>;
using Middle = Bits<22, 2>;
using High = Bits<24, 40>;
using Whole = Bits<0, 64>;

TEST(BitsOfAWord, AFieldIsPutAndReadBackAtItsPlace) {
  EXPECT_EQ(Low::kMax, 0x3fffffu);
  EXPECT_EQ(Middle::kMax, 3u);
  EXPECT_EQ(Middle::kMask, 0xc00000u);
  EXPECT_EQ(High::kMask, 0xffffffffff000000u);
  EXPECT_EQ(Middle::put(2), 0x800000u);
  EXPECT_EQ(High::put(High::kMax), High::kMask);
  EXPECT_EQ(High::get(High::put(0x123456789a)), 0x123456789au);
}

TEST(BitsOfAWord, AFieldIsReadAloneFromAFullWord) {
  const std::uint64_t word = Low::put(5) | Middle::put(2) | High::put(7);
  EXPECT_EQ(Low::get(word), 5u);
  EXPECT_EQ(Middle::get(word), 2u);
  EXPECT_EQ(High::get(word), 7u);
  EXPECT_EQ(Middle::get(~Middle::kMask), 0u);
  EXPECT_EQ(Middle::get(~std::uint64_t{0}), Middle::kMax);
}

TEST(BitsOfAWord, AFieldMayBeTheWholeWordOrItsLastBit) {
  EXPECT_EQ(Whole::kMask, ~std::uint64_t{0});
  EXPECT_EQ(Whole::get(Whole::put(0xfedcba9876543210)), 0xfedcba9876543210u);
  EXPECT_EQ((Bits<63, 1>::put(1)), std::uint64_t{1} << 63);
  EXPECT_EQ((Bits<63, 1>::get(~std::uint64_t{0})), 1u);
}

TEST(BitsOfAWord, FieldsThatShareABitAreFound) {
  EXPECT_TRUE((are_disjoint<Low, Middle, High>()));
  EXPECT_TRUE((are_disjoint<Low, High>()));
  EXPECT_FALSE((are_disjoint<Low, Bits<21, 2>>()));
  EXPECT_FALSE((are_disjoint<High, Low, Bits<63, 1>>())) << "the first and the last";
}

TEST(BitsOfAWord, FieldsFillItOnlyWithoutAGap) {
  EXPECT_TRUE((fill_a_word<Low, Middle, High>()));
  EXPECT_TRUE((fill_a_word<High, Low, Middle>())) << "in any order";
  EXPECT_FALSE((fill_a_word<Low, High>()));
  EXPECT_FALSE((fill_a_word<Low, Middle, Bits<23, 41>>())) << "they cover it, and share a bit";
}

TEST(WrappingCounters, AreInOrderAcrossTheirWrap) {
  EXPECT_TRUE(is_before(1, 2));
  EXPECT_FALSE(is_before(2, 1));
  EXPECT_FALSE(is_before(2, 2));
  EXPECT_TRUE(is_before(0xffffffff, 0));
  EXPECT_FALSE(is_before(0, 0xffffffff));
  EXPECT_TRUE(is_before(0x80000001, 0)) << "2^31 - 1 apart";
  EXPECT_FALSE(is_before(0, 0x80000001));
}

TEST(Pairs, AreEqualWhenBothHalvesAre) {
  EXPECT_EQ((Pair{1, 2}), (Pair{1, 2}));
  EXPECT_NE((Pair{1, 2}), (Pair{1, 3}));
  EXPECT_NE((Pair{1, 2}), (Pair{0, 2}));
  EXPECT_EQ(Pair{}, (Pair{0, 0}));
}

}  // namespace
}  // namespace ipcq::detail
