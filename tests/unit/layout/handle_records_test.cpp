// Handlers over the records of a batch: as one lane, and as many lanes do it, one after the other.
#include "layout/handle_records.hpp"

#include <gmock/gmock.h>

#include <cstring>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "ipcq/builtin_handlers.hpp"
#include "record_batch.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::RecordBatch;
using testing::Each;

// Upper, but for odd lengths.
struct EvenUpper : handlers::Upper {
  static constexpr bool accepts(std::uint64_t length) noexcept { return length % 2 == 0; }
};

template <class Handler>
bool handle(RecordBatch& b, std::uint64_t lanes = 1) {
  bool refused = false;
  for (std::uint64_t rank = lanes; rank-- > 0;) {  // they need no order
    refused |=
        handle_records(b.data(), b.size(), {rank, lanes}, [](std::byte* data, std::uint64_t length, const Team& team) {
          return handlers::run(Handler(), data, length, team);
        });
  }
  return refused;
}

TEST(HandleRecords, RunsTheHandlerOnEachRecordAlone) {
  RecordBatch b({"abc", "", "def", std::string(100, 'x')});
  EXPECT_FALSE(handle<handlers::Upper>(b));
  EXPECT_EQ(b.text(0), "ABC");
  EXPECT_EQ(b.text(1), "");
  EXPECT_EQ(b.text(2), "DEF");
  EXPECT_EQ(b.text(3), std::string(100, 'X'));
  EXPECT_EQ(b.head().refused, 0u);
}

// What is between the records, head and index stay: `invert` would show.
TEST(HandleRecords, ChangesNothingBesideTheRecords) {
  for (const std::uint64_t lanes : {1u, 512u}) {
    const RecordBatch before({std::string(5, 'a'), std::string(33, 'b'), ""});
    RecordBatch b = before;
    EXPECT_FALSE(handle<handlers::Invert>(b, lanes));
    for (std::size_t at = 0; at < b.size(); ++at) {
      const bool inside = (at >= 16 && at < 21) || (at >= 32 && at < 65);
      EXPECT_EQ(b.bytes()[at], inside ? ~before.bytes()[at] : before.bytes()[at]) << at;
    }
  }
}

TEST(HandleRecords, MarksWhatTheHandlerRefuses) {
  for (const std::uint64_t lanes : {1u, 512u}) {
    RecordBatch b({"ab", "abc", "", "abcdefg", "abcd"});
    EXPECT_TRUE(handle<EvenUpper>(b, lanes));
    EXPECT_EQ(b.text(0) + b.text(1) + b.text(2) + b.text(3) + b.text(4), "ABabcabcdefgABCD");
    for (std::uint32_t i = 0; i < 5; ++i) EXPECT_EQ(b.is_refused(i), i == 1 || i == 3) << i;
    EXPECT_EQ(b.head().refused, 1u);
  }
}

// A producer can write anything into the bit.
TEST(HandleRecords, TheHandlersVerdictReplacesWhatStoodThere) {
  RecordBatch b({"ab", "abc"});
  b.set_word(0, b.word(0) | Records::kRefused);
  b.set_word(1, b.word(1) | Records::kRefused);
  EXPECT_TRUE(handle<EvenUpper>(b));
  EXPECT_EQ(b.text(0), "AB");
  EXPECT_FALSE(b.is_refused(0));
  EXPECT_TRUE(b.is_refused(1));
}

TEST(HandleRecords, AHeadThatMakesNoSenseLeavesTheBatchAsItIs) {
  for (const RecordsHead head : {RecordsHead{0, 48, 0, 0}, RecordsHead{3, 48, 7, 0}, RecordsHead{2, 40, 0, 0},
                                 RecordsHead{2, 0xfffffff0, 1, 0}}) {
    RecordBatch b({"ab", "abc"});
    ASSERT_EQ(b.head().index_at, 48u);
    b.set_head(head);
    const std::vector<std::byte> before = b.bytes();
    EXPECT_FALSE(handle<EvenUpper>(b));
    EXPECT_EQ(b.bytes(), before);
    EXPECT_FALSE(has_refused_records(b.data(), b.size()));
  }
}

TEST(HandleRecords, ARecordWhoseWordsMakeNoSenseIsLeftAndTheOthersAreNot) {
  for (const std::uint64_t lanes : {1u, 512u}) {
    RecordBatch b({"abcd", "abcd", "abcd", "abcd"});  // at 16, 32, 48, 64; the index at 80
    b.set_word(1, 0x7ffffffe);                        // where neither record 1 ends nor record 2 begins
    EXPECT_FALSE(handle<EvenUpper>(b, lanes));
    EXPECT_EQ(b.word(1), 0x7ffffffeu);
    EXPECT_EQ(b.text(0), "ABCD");
    EXPECT_EQ(b.text(3), "ABCD");
    EXPECT_EQ(std::memcmp(b.data() + 32, "abcd", 4), 0);
    EXPECT_EQ(std::memcmp(b.data() + 48, "abcd", 4), 0);
  }
}

TEST(HandleRecords, TheHeadTellsWhetherAnyWasRefused) {
  RecordBatch b({"ab", "abc"});
  EXPECT_FALSE(has_refused_records(b.data(), b.size()));
  EXPECT_TRUE(handle<EvenUpper>(b));
  EXPECT_TRUE(has_refused_records(b.data(), b.size()));
}

// Each lane does its part and no other: `invert` done twice, or by nobody, would show.
TEST(HandleRecords, AnyNumberOfLanesDoesEachByteOnce) {
  std::vector<std::string> records;
  for (std::size_t n = 0; n < 300; ++n) records.push_back(std::string(n * 37 % 211, static_cast<char>(n)));
  records.push_back(std::string(5000, 'l'));
  RecordBatch expected(records);
  handle<handlers::Invert>(expected);
  for (const std::uint64_t lanes : {2u, 3u, 7u, 8u, 512u, 3 * 512u, 7 * 512u, 20'000u}) {
    RecordBatch b(records);
    EXPECT_FALSE(handle<handlers::Invert>(b, lanes));
    EXPECT_EQ(b.bytes(), expected.bytes()) << lanes;
  }
}

TEST(HandleRecords, ALaneHasFourVectorsOfARecordAndNeverTheTeamTooFew) {
  EXPECT_EQ(log2_of_record_lanes(4096, 1), 0u);
  EXPECT_EQ(log2_of_record_lanes(4096, 3), 1u);
  for (const std::uint64_t mean : {1u, 64u, 256u}) EXPECT_EQ(log2_of_record_lanes(mean, 512), 2u) << mean;
  EXPECT_EQ(log2_of_record_lanes(257, 512), 3u);
  EXPECT_EQ(log2_of_record_lanes(4096, 512), 6u);
  EXPECT_EQ(log2_of_record_lanes(1 << 20, 512), 9u) << "the whole team";
  EXPECT_EQ(log2_of_record_lanes(1 << 20, 3 * 512), 10u) << "the largest power of two of it";
  EXPECT_EQ(log2_of_record_lanes(~std::uint64_t{0} >> 1, ~std::uint64_t{0} >> 40), 23u);
}

// All lanes of a record get the same team, of ranks from 0 on.
TEST(HandleRecords, TheLanesOfARecordAreATeam) {
  RecordBatch b({std::string(300, 'a'), std::string(300, 'b'), std::string(300, 'c')});
  std::multiset<std::pair<std::uint64_t, std::uint64_t>> calls[3];  // rank and size
  for (std::uint64_t rank = 0; rank < 20; ++rank) {
    handle_records(b.data(), b.size(), {rank, 20}, [&](std::byte* data, std::uint64_t length, const Team& t) {
      EXPECT_EQ(length, 300u);
      calls[static_cast<std::size_t>(*data) - 'a'].emplace(t.rank(), t.size());
      return true;
    });
  }
  const std::multiset<std::pair<std::uint64_t, std::uint64_t>> once{{0, 8}, {1, 8}, {2, 8}, {3, 8},
                                                                    {4, 8}, {5, 8}, {6, 8}, {7, 8}};
  EXPECT_THAT(calls, Each(once));
}

// Of any number of lanes: the first of each record's says what became of it.
TEST(HandleRecords, MarksWhatIsDroppedAndWhatFails) {
  for (const std::uint64_t lanes : {1u, 20u, 512u}) {
    RecordBatch b({"keep", "drop", "fail", "drop", "keep"});
    b.set_word(0, b.word(0) | Records::kDropped);  // by its producer
    const RecordBatch before = b;
    bool refused = false;
    for (std::uint64_t rank = lanes; rank-- > 0;) {
      refused |= handle_records(
          b.data(), b.size(), {rank, lanes},
          [&](std::byte* data, std::uint64_t length, const Team&, std::uint32_t number) -> std::uint32_t {
            EXPECT_EQ(length, 4u);
            EXPECT_EQ(data, b.data() + 16 + 16 * number);
            return data[0] == std::byte{'d'} ? kDroppedOutcome : data[0] == std::byte{'f'} ? 7 : 0;
          });
    }
    EXPECT_TRUE(refused);
    EXPECT_EQ(b.head().refused, 1u);
    EXPECT_TRUE(Records::has_dropped(b.data()));
    const Records records(b.data(), b.size());
    for (std::uint32_t i = 0; i < 5; ++i) {
      RecordPlace place;
      ASSERT_TRUE(records.get(i, place));
      EXPECT_EQ(place.dropped, i == 1 || i == 3) << i;
      EXPECT_EQ(place.refused, i == 2) << i;
      EXPECT_EQ(b.text(i), before.text(i));
    }
  }
}

}  // namespace
}  // namespace ipcq::detail
