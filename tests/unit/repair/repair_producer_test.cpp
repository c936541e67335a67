// What a dead producer leaves: loans, tickets without a line, half a discard.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "repair_fixture.hpp"

namespace ipcq::detail {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST_F(RepairTest, GivesALoanBack) {
  (void)s.borrow(2);
  (void)s.borrow(3);
  EXPECT_EQ(producer_died(2).loans, 1u);
  EXPECT_EQ(s.pool().slot(0).state, SlotState::free);
  EXPECT_EQ(s.pool().slot(1).state, SlotState::loan);  // another's
  EXPECT_EQ(producer_died(3).loans, 1u);
  expect_nothing_left();
}

TEST_F(RepairTest, SetsABitThatWasTakenWithoutItsSlot) {
  auto* bits = reinterpret_cast<Word*>(s.pool_map().segment().data() + s.pool_map().config().free_bits_offset);
  bits[0].fetch_and(~std::uint64_t{4}, std::memory_order_relaxed);
  EXPECT_EQ(producer_died(2).loans, 0u);
  expect_nothing_left();
}

TEST_F(RepairTest, BuriesWhatABatchLeftUnpublished) {
  ASSERT_EQ(s.claim(2, 3).count, 3u);
  s.ring().write(0, Segments::inline_message(0), nullptr);
  EXPECT_THAT(producer_died(2).tombstones, ElementsAre(1, 2));
  s.send(3, 7);
  EXPECT_THAT(s.receive_all(), ElementsAre(0, 7));
  expect_nothing_left();
}

TEST_F(RepairTest, BuriesABatchOfWhichOnlyALaterTicketIsPublished) {
  ASSERT_EQ(s.claim(2, 3).count, 3u);
  s.ring().write(1, Segments::inline_message(1), nullptr);
  EXPECT_THAT(producer_died(2).tombstones, ElementsAre(0, 2));
  EXPECT_THAT(s.receive_all(), ElementsAre(1));
}

TEST_F(RepairTest, FindsAnUnpublishedTicketAfterTheCursorMovedOn) {
  ASSERT_EQ(s.claim(2, 2).count, 2u);
  ASSERT_EQ(s.send(3, 7), 2u);
  EXPECT_THAT(producer_died(2).tombstones, ElementsAre(0, 1));
  EXPECT_THAT(s.receive_all(), ElementsAre(7));
  expect_nothing_left();
}

TEST_F(RepairTest, KeepsWhatTheDeadPublished) {
  s.send_slot(2, 0);
  s.send(2, 1);
  const RepairReport r = producer_died(2);
  EXPECT_EQ(r.loans, 0u);
  EXPECT_THAT(r.tombstones, IsEmpty());
  EXPECT_THAT(s.receive_all(), ElementsAre(0, 1));
  expect_nothing_left();
}

TEST_F(RepairTest, FreesASlotThatWasMarkedForALineNeverTagged) {
  const SlotLoan loan = s.borrow(2);
  const PublishClaim c = s.claim(2);
  s.pool().mark_message(loan, 2, c.groups, c.ticket);
  const RepairReport r = producer_died(2);
  EXPECT_THAT(r.tombstones, ElementsAre(0));
  EXPECT_EQ(r.loans, 1u);
  EXPECT_THAT(s.receive_all(), IsEmpty());
  expect_nothing_left();
}

TEST_F(RepairTest, FreesTheLoanOfATicketThatWasNotMarkedYet) {
  (void)s.borrow(2);
  (void)s.claim(2);
  const RepairReport r = producer_died(2);
  EXPECT_THAT(r.tombstones, ElementsAre(0));
  EXPECT_EQ(r.loans, 1u);
  (void)s.receive_all();
  expect_nothing_left();
}

TEST_F(RepairTest, OverwritesUnitsThatTheDeadWroteBeforeUnit0) {
  (void)s.claim(2);
  for (unsigned u = 1; u < kLineUnits; ++u)
    s.ring().in(0)[u].store(make_unit(~0ull, ~0u, 1), std::memory_order_relaxed);
  EXPECT_THAT(producer_died(2).tombstones, ElementsAre(0));
  s.send(3, 7);
  EXPECT_THAT(s.receive_all(), ElementsAre(7));
}

TEST_F(RepairTest, FinishesADropThatWasOnlyClaimed) {
  s.send_slot(3, 0);
  s.send(3, 1);
  claim_take(2);
  EXPECT_EQ(producer_died(2).finished, 1u);
  EXPECT_EQ(s.control().group[0].dropped.load(std::memory_order_relaxed), 1u);
  EXPECT_THAT(s.receive_all(), ElementsAre(1));
  expect_nothing_left();
}

TEST_F(RepairTest, FinishesADropWhoseSlotIsAlreadyAnothers) {
  const SlotLoan loan = s.send_slot(3, 0);
  claim_take(2);
  ASSERT_TRUE(s.pool().release(loan.slot, loan.lease, 0));
  const SlotLoan next = s.borrow(3);
  ASSERT_EQ(next.slot, loan.slot);
  producer_died(2);
  EXPECT_EQ(s.pool().slot(next.slot).state, SlotState::loan);
  EXPECT_EQ(s.pool().slot(next.slot).client, 3u);
  EXPECT_THAT(s.receive_all(), IsEmpty());
  EXPECT_EQ(s.claim(9, 4).count, 4u);
}

// A client that died in an earlier lap may stand in the logs: nothing of later laps is taken for its own.
TEST_F(RepairTest, IsNotMisledByEntriesOfEarlierLaps) {
  ASSERT_EQ(s.claim(2).ticket, 0u);
  ASSERT_EQ(s.claim(3).ticket, 1u);  // notes ticket 0 as taken by 2
  s.ring().write(0, Segments::inline_message(0), nullptr);
  s.ring().write(1, Segments::inline_message(1), nullptr);
  EXPECT_THAT(s.receive_all(), ElementsAre(0, 1));
  for (std::uint64_t n = 2; n < 7; ++n) {
    ASSERT_EQ(s.send(3, n), n);
    EXPECT_THAT(s.receive_all(), ElementsAre(n));
  }
  ASSERT_EQ(s.send(3, 7), 7u);
  ASSERT_EQ(s.send(3, 8), 8u);  // same line as ticket 0
  EXPECT_THAT(producer_died(2).tombstones, IsEmpty());
  EXPECT_THAT(s.receive_all(), ElementsAre(7, 8));
}

}  // namespace
}  // namespace ipcq::detail
