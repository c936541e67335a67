// The index of a record batch, as its readers and the executors check it.
#include "ipcq/records.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>

#include "record_batch.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;

class RecordsTest : public testing::Test {
 protected:
  // Heads: the batch with another one. Words: with another word of the index.
  std::uint32_t size_with(const RecordsHead& head) const {
    RecordBatch b = batch_;
    b.set_head(head);
    return b.records().size();
  }
  bool gets(std::uint32_t i, std::size_t word, std::uint32_t value) const {
    RecordBatch b = batch_;
    b.set_word(word, value);
    RecordPlace p;
    const bool got = b.records().get(i, p);
    EXPECT_TRUE(!got || (p.at >= sizeof(RecordsHead) && std::uint64_t{p.at} + p.length <= b.head().index_at));
    return got;
  }

  // head 0-16, "abc" 16-19, "" 32, 17 bytes 32-49, index 64-76
  const RecordBatch batch_{{"abc", "", std::string(17, 'x')}};
};

TEST_F(RecordsTest, TellsWhereEachRecordLies) {
  const Records r = batch_.records();
  ASSERT_EQ(r.size(), 3u);
  RecordPlace p;
  ASSERT_TRUE(r.get(0, p));
  EXPECT_EQ(p.at, 16u);
  EXPECT_EQ(p.length, 3u);
  ASSERT_TRUE(r.get(1, p));
  EXPECT_EQ(p.at, 32u);
  EXPECT_EQ(p.length, 0u);
  ASSERT_TRUE(r.get(2, p));
  EXPECT_EQ(p.at, 32u);
  EXPECT_EQ(p.length, 17u);
  EXPECT_FALSE(p.refused);
  EXPECT_EQ(batch_.size(), 76u);
}

TEST_F(RecordsTest, TheEndOfTheOneBeforeGivesTheSame) {
  const Records r = batch_.records();
  std::uint32_t before = sizeof(RecordsHead);
  for (std::uint32_t i = 0; i < r.size(); ++i) {
    RecordPlace p, same;
    ASSERT_TRUE(r.get(i, p));
    ASSERT_TRUE(r.get_from(before, i, same));
    EXPECT_EQ(same.at, p.at);
    EXPECT_EQ(same.length, p.length);
    before = same.at + same.length;
  }
}

TEST_F(RecordsTest, ARefusedRecordEndsWhereItEnded) {
  RecordBatch b = batch_;
  b.set_word(0, b.word(0) | Records::kRefused);
  RecordPlace p;
  ASSERT_TRUE(b.records().get(0, p));
  EXPECT_TRUE(p.refused);
  EXPECT_EQ(p.length, 3u);
  ASSERT_TRUE(b.records().get(1, p));
  EXPECT_FALSE(p.refused);
  EXPECT_EQ(p.at, 32u);
}

TEST_F(RecordsTest, AHeadThatMakesNoSenseHasNoRecords) {
  ASSERT_EQ(size_with({3, 64, 0, 0}), 3u);
  EXPECT_EQ(size_with({0, 64, 0, 0}), 0u);
  EXPECT_EQ(size_with({2, 64, 0, 0}), 0u) << "fewer than the index has";
  EXPECT_EQ(size_with({4, 64, 0, 0}), 0u) << "more than the index has";
  EXPECT_EQ(size_with({3 + (1u << 30), 64, 0, 0}), 0u) << "whose words are as many bytes in 32 bits";
  EXPECT_EQ(size_with({0xffffffff, 64, 0, 0}), 0u);
  EXPECT_EQ(size_with({4, 60, 0, 0}), 0u) << "the index is not aligned";
  EXPECT_EQ(size_with({19, 0, 0, 0}), 0u) << "the index is in the head";
  EXPECT_EQ(size_with({0, 80, 0, 0}), 0u) << "the index is behind the message";
  EXPECT_EQ(size_with({0xfffffffd, 80, 0, 0}), 0u) << "and the difference wraps";
  EXPECT_EQ(size_with({3, 0xfffffff0, 0, 0}), 0u);
}

TEST_F(RecordsTest, AnIndexRightBehindTheHeadHasEmptyRecords) {
  const RecordBatch b({"", ""});
  ASSERT_EQ(b.size(), 24u);
  EXPECT_EQ(b.records().size(), 2u);
  EXPECT_EQ(b.text(0) + b.text(1), "");
}

TEST_F(RecordsTest, ALengthThatNoBatchHasHasNoRecords) {
  const auto size_of = [](const RecordBatch& b, std::uint64_t length) {
    return Records(b.bytes().data(), length).size();
  };
  ASSERT_EQ(size_of(batch_, 76), 3u);
  for (const std::uint64_t length : {0u, 15u, 16u, 63u, 64u, 72u, 75u, 77u, 78u, 79u, 80u}) {
    EXPECT_EQ(size_of(batch_, length), 0u) << length;
  }
  RecordBatch huge = batch_;
  huge.set_head({0x1ffffff0, 64, 0, 0});  // as the next length says
  EXPECT_EQ(size_of(huge, 0x80000000), 0u) << "bit 31 of a word is no part of an end";
  huge.set_head({0xfffffff0, 64, 0, 0});
  EXPECT_EQ(size_of(huge, 0x400000000), 0u);
}

// On the heap and of the exact size: AddressSanitizer looks.
TEST_F(RecordsTest, ReadsNothingOfAMessageWithoutAWholeHead) {
  for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{15}}) {
    const auto exact = std::make_unique<std::byte[]>(length);
    EXPECT_EQ(Records(exact.get(), length).size(), 0u);
  }
}

TEST_F(RecordsTest, ARecordWhoseWordsMakeNoSenseIsNone) {
  EXPECT_TRUE(gets(0, 0, 16));
  EXPECT_FALSE(gets(0, 0, 15)) << "ends in the head";
  EXPECT_FALSE(gets(0, 0, 0));
  EXPECT_TRUE(gets(2, 2, 64));
  EXPECT_FALSE(gets(2, 2, 65)) << "ends in the index";
  EXPECT_FALSE(gets(2, 2, 0x7fffffff));
  EXPECT_FALSE(gets(1, 0, 33)) << "begins behind its end";
  EXPECT_FALSE(gets(1, 1, 31)) << "ends before its begin";
  EXPECT_FALSE(gets(2, 1, 0x7fffffff)) << "begins behind the message";
  EXPECT_FALSE(gets(2, 1, 0xffffffff));
}

// Its bytes would be those of the head.
TEST_F(RecordsTest, NoRecordBeginsInTheHead) {
  EXPECT_FALSE(gets(1, 0, 0));
  EXPECT_FALSE(gets(1, 0, Records::kRefused));
  EXPECT_TRUE(gets(1, 0, 1)) << "the next multiple of 16 is behind it";
}

}  // namespace
}  // namespace ipcq_test
