// Gaps and repeats among the messages of several producers.
#include <gtest/gtest.h>

#include <cstdint>
#include <utility>
#include <vector>

#include "program/sequence_check.hpp"

namespace ipcq::program {
namespace {

TEST(SequenceCheck, FindsGapsAndRepeatsPerProducer) {
  SequenceCheck check(true);
  std::uint64_t ticket = 0;
  for (const auto& [producer, sequence] :
       std::vector<std::pair<std::uint32_t, std::uint64_t>>{{1, 0}, {2, 0}, {1, 1}, {2, 1}, {1, 4}, {2, 2}}) {
    check.see(producer, sequence, ticket++, false);
  }
  EXPECT_EQ(check.missing(), 2U);
  EXPECT_EQ(check.repeated(), 0U);
  check.see(2, 2, 5, false);
  EXPECT_EQ(check.repeated(), 1U);
}

TEST(SequenceCheck, MissedStartCountsOnlyFromTheStart) {
  SequenceCheck whole(true), joined(false);
  whole.see(1, 3, 9, false);
  joined.see(1, 3, 9, false);
  EXPECT_EQ(whole.missing(), 3U);
  EXPECT_EQ(joined.missing(), 0U);
}

TEST(SequenceCheck, ReusedProducerIdIsANewStream) {
  SequenceCheck check(true);
  check.see(1, 0, 0, false);
  check.see(1, 1, 1, false);
  check.see(1, 0, 2, false);
  check.see(1, 0, 2, false);
  EXPECT_EQ(check.missing(), 0U);
  EXPECT_EQ(check.repeated(), 1U);
}

TEST(SequenceCheck, RedeliveryFillsAGap) {
  SequenceCheck check(true);
  check.see(1, 0, 0, false);
  check.see(1, 2, 2, false);
  check.see(1, 1, 1, true);
  EXPECT_EQ(check.missing(), 0U);
  EXPECT_EQ(check.repeated(), 0U);
}

}  // namespace
}  // namespace ipcq::program
