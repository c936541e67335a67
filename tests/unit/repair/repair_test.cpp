// What holds for every repair, whoever died.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "repair_fixture.hpp"

namespace ipcq::detail {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST_F(RepairTest, FindsNothingTheSecondTime) {
  (void)s.borrow(2);
  s.send_slot(3, 0);
  s.send(3, 1);
  ASSERT_EQ(s.claim(2, 2).count, 2u);
  claim_take(5);
  ASSERT_EQ(producer_died(2).tombstones.size(), 2u);
  ASSERT_EQ(consumer_died().orphans, 1u);
  for (const RepairReport& r : {producer_died(2), consumer_died()}) {
    EXPECT_EQ(r.loans + r.orphans + r.finished + r.lost, 0u);
    EXPECT_THAT(r.tombstones, IsEmpty());
  }
  EXPECT_THAT(s.receive_all(), ElementsAre(0, 1));
  expect_nothing_left();
}

TEST_F(RepairTest, BuriesNoPublishedMessageWhoseTicketAHelperHasNoted) {
  s.send(2, 0);
  ASSERT_EQ(s.claim(3).ticket, 1u);
  ASSERT_EQ(own_state(s.ring().own(kProducers, 0).load(std::memory_order_relaxed)), OwnState::taken);
  EXPECT_THAT(producer_died(2).tombstones, IsEmpty());
  EXPECT_THAT(producer_died(3).tombstones, ElementsAre(1));
  EXPECT_THAT(s.receive_all(), ElementsAre(0));
  expect_nothing_left();
}

TEST_F(RepairTest, WakesWhomTheDeadMayHaveMeantToWake) {
  const std::uint32_t ready = s.control().ready[0].sequence.load(std::memory_order_relaxed);
  const std::uint32_t space = s.control().space.sequence.load(std::memory_order_relaxed);
  const std::uint32_t free = s.pool_map().control().free.sequence.load(std::memory_order_relaxed);
  producer_died(2);
  EXPECT_NE(s.control().ready[0].sequence.load(std::memory_order_relaxed), ready);
  EXPECT_NE(s.control().space.sequence.load(std::memory_order_relaxed), space);
  EXPECT_NE(s.pool_map().control().free.sequence.load(std::memory_order_relaxed), free);
}

class RepairLaps : public RepairTest, public testing::WithParamInterface<std::uint64_t> {};

TEST_P(RepairLaps, WorksWhereTagsWrap) {
  const std::uint64_t start = (GetParam() - 1) * s.ring().lines() - 2;  // a batch across the lap's edge
  s.set_next(start);
  ASSERT_EQ(s.claim(2, 4).count, 4u);
  s.ring().write(start + 1, Segments::inline_message(1), nullptr);
  s.ring().write(start + 3, Segments::inline_message(3), nullptr);
  EXPECT_THAT(producer_died(2).tombstones, ElementsAre(start + 2, start));  // in the order of the lines
  EXPECT_THAT(s.receive_all(), ElementsAre(1, 3));
  s.send(3, 4);
  claim_take(5);
  EXPECT_EQ(consumer_died().orphans, 1u);
  EXPECT_THAT(s.receive_all(), ElementsAre(4));
  expect_nothing_left();
}

INSTANTIATE_TEST_SUITE_P(Near, RepairLaps,
                         testing::Values(std::uint64_t{4}, std::uint64_t{1} << 20, std::uint64_t{1} << 31,
                                         std::uint64_t{1} << 32));

}  // namespace
}  // namespace ipcq::detail
