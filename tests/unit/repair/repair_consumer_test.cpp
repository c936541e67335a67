// What a dead consumer leaves: tickets taken and not held, held messages, half a release.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "repair_fixture.hpp"

namespace ipcq::detail {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST_F(RepairTest, GivesATakenMessageToAnotherMember) {
  s.send_slot(2, 0);
  s.send(2, 1);
  claim_take(5);
  const RepairReport r = consumer_died();
  EXPECT_EQ(r.orphans, 1u);
  EXPECT_EQ(s.held_word(0).deliveries, 0u);  // nobody has seen it
  EXPECT_THAT(s.receive_all(), ElementsAre(0, 1));
  expect_nothing_left();
}

// The repair copies the payload from the line to an entry.
TEST_F(RepairTest, GivesOnAPayloadOfEveryLengthInLinesOfEverySize) {
  for (const std::uint32_t line : {64u, 128u, 1088u, 2048u}) {
    QueueOptions options = Segments::small(1);
    options.line = line;
    s = Segments(options);
    std::vector<std::byte> payload(line - 32);
    for (std::size_t i = 0; i < payload.size(); ++i) payload[i] = static_cast<std::byte>(i * 7 + 1);
    for (const std::uint32_t n : {0u, 1u, 7u, 8u, 9u, 16u, 31u, line - 33, line - 32}) {
      const PublishClaim c = s.claim(2);
      ASSERT_EQ(c.outcome, ClaimOutcome::ok);
      s.ring().write(c.ticket, Segments::inline_message(c.ticket, n), payload.data());
      claim_take(5);
      ASSERT_EQ(consumer_died().orphans, 1u);
      const std::uint32_t e = s.take(0, 1, 6);
      ASSERT_NE(e, kNone);
      EXPECT_EQ(s.held(e).descriptor.load().length, n);
      EXPECT_EQ(std::memcmp(s.held(e).data.view(), payload.data(), n), 0) << line << ", length " << n;
      ASSERT_TRUE(s.release(0, 1, 6, e));
    }
    expect_nothing_left();
  }
}

TEST_F(RepairTest, GivesATakenMessageOnAfterTheCursorMovedOn) {
  s.send(2, 0);
  s.send(2, 1);
  claim_take(5);
  const std::uint32_t e = s.take(0, 1, 6);  // notes 5's claim
  ASSERT_NE(e, kNone);
  EXPECT_EQ(consumer_died().orphans, 1u);
  EXPECT_THAT(s.receive_all(), ElementsAre(0));
  EXPECT_TRUE(s.release(0, 1, 6, e));
  expect_nothing_left();
}

TEST_F(RepairTest, GivesOnEveryMessageOfABatchOnce) {
  for (std::uint64_t n = 0; n < 4; ++n) s.send_slot(2, n);
  claim_take(5, 4);
  mark_held(0, 0);
  s.ring().finish(0, 0, 5);                // held and finished
  mark_held(1, 1);                         // held, not finished
  const RepairReport r = consumer_died();  // two were only taken
  EXPECT_EQ(r.orphans, 4u);
  EXPECT_EQ(r.lost, 0u);
  EXPECT_THAT(s.receive_all(), ElementsAre(0, 1, 2, 3));
  expect_nothing_left();
}

// It reads a claim in order and finishes each message before the next: the first that is not finished was shown.
TEST_F(RepairTest, CountsADeliveryOfTheMessageThatWasBeingShown) {
  for (std::uint64_t n = 0; n < 4; ++n) s.send(2, n);
  const Cursor v = s.ring().cursor(1);
  ASSERT_TRUE(s.ring().swap_cursor(1, v, {v.next + 3, 5, 3, 0, false, true}));
  s.ring().finish(0, 0, 5);
  ASSERT_NE(s.take(0, 1, 6), kNone);  // notes 5's claim
  EXPECT_EQ(consumer_died().orphans, 2u);
  EXPECT_EQ(s.held_word(0).deliveries + s.held_word(1).deliveries, 1u);
  for (const std::uint32_t e : {0u, 1u}) {
    EXPECT_EQ(s.held_word(e).deliveries, s.held(e).descriptor.load().sequence == 1 ? 1u : 0u);
  }
  EXPECT_THAT(s.receive_all(), ElementsAre(1, 2));
}

TEST_F(RepairTest, PassesOverTombstonesThatTheDeadTook) {
  s.send(2, 0);
  (void)s.claim(2);
  producer_died(2);
  claim_take(5, 2);
  EXPECT_EQ(consumer_died().orphans, 1u);
  EXPECT_THAT(s.receive_all(), ElementsAre(0));
  expect_nothing_left();
}

TEST_F(RepairTest, GivesHeldMessagesBackWithOneMoreDelivery) {
  s.send_slot(2, 0);
  s.send(2, 1);
  ASSERT_NE(s.take(0, 0, 5), kNone);
  ASSERT_NE(s.take(0, 0, 5), kNone);
  EXPECT_EQ(consumer_died().orphans, 2u);
  EXPECT_EQ(s.held_word(0).deliveries, 1u);
  EXPECT_EQ(s.held_word(0).state, HeldState::orphan);
  EXPECT_THAT(s.receive_all(), ElementsAre(0, 1));
  expect_nothing_left();
}

TEST_F(RepairTest, GivesBackWhatTheDeadHadTakenOverFromAnothersBlock) {
  s.send(2, 0);
  const std::uint32_t e = s.take(0, 1, 6);
  ASSERT_TRUE(s.queue().member(0, 1, 6).give_back(e, 0));
  ASSERT_EQ(s.take(0, 0, 5), e);
  EXPECT_EQ(consumer_died().orphans, 1u);
  EXPECT_EQ(s.held_word(e).deliveries, 2u);
  EXPECT_THAT(s.receive_all(), ElementsAre(0));
  expect_nothing_left();
}

TEST_F(RepairTest, LeavesEntriesOfItsBlockAloneThatOthersHold) {
  s.send(2, 0);
  const std::uint32_t e = s.take(0, 0, 5);
  ASSERT_TRUE(s.queue().member(0, 0, 5).give_back(e, 0));
  ASSERT_EQ(s.take(0, 1, 6), e);
  EXPECT_EQ(consumer_died().orphans, 0u);
  EXPECT_EQ(s.held_word(e).client, 6u);
  EXPECT_EQ(s.held_word(e).state, HeldState::held);
}

TEST_F(RepairTest, MakesAMessageFindableThatWasGivenBackWithoutSayingSo) {
  s.send(2, 0);
  const std::uint32_t e = s.take(0, 0, 5);
  s.held(e).word.store(pack(HeldWord{HeldState::orphan, 0, 0, 1}), std::memory_order_release);
  EXPECT_FALSE(s.queue().member(0, 1, 6).has_work());
  consumer_died();
  EXPECT_TRUE(s.queue().member(0, 1, 6).has_work());
  EXPECT_THAT(s.receive_all(), ElementsAre(0));
  expect_nothing_left();
}

// How far a release had come.
enum class Half { before_slot, after_slot, slot_lent_again };
class HalfRelease : public RepairTest, public testing::WithParamInterface<Half> {};

TEST_P(HalfRelease, IsFinished) {
  const SlotLoan loan = s.send_slot(2, 0);
  const std::uint32_t e = s.take(0, 0, 5);
  s.held(e).word.store(pack(HeldWord{HeldState::releasing, 5, 0, 0}), std::memory_order_release);
  if (GetParam() != Half::before_slot) {
    ASSERT_TRUE(s.pool().release(loan.slot, loan.lease, 0));
  }
  if (GetParam() == Half::slot_lent_again) {
    const SlotLoan next = s.borrow(3);
    s.pool().mark_message(next, 3, 1, 1);
  }
  const RepairReport r = consumer_died();
  EXPECT_EQ(r.finished, 1u);
  EXPECT_EQ(r.orphans, 0u);
  EXPECT_EQ(s.held_word(e).state, HeldState::free);
  EXPECT_THAT(s.receive_all(), IsEmpty());
  EXPECT_EQ(s.pool().slot(loan.slot).state, GetParam() == Half::slot_lent_again ? SlotState::message : SlotState::free);
}

INSTANTIATE_TEST_SUITE_P(Repair, HalfRelease,
                         testing::Values(Half::before_slot, Half::after_slot, Half::slot_lent_again));

TEST_F(RepairTest, CountsAMessageAsLostForWhichNoEntryIsFree) {
  for (std::uint64_t n = 0; n < 4; ++n) {
    s.send(2, n);
    const std::uint32_t e = s.take(0, 0, 5);
    ASSERT_TRUE(s.queue().member(0, 0, 5).give_back(e, 0));
    ASSERT_EQ(s.take(0, 1, 6), e);
  }
  s.send_slot(2, 4);
  claim_take(5);
  const RepairReport r = consumer_died();
  EXPECT_EQ(r.lost, 1u);
  EXPECT_TRUE(s.all_slots_free());
  EXPECT_EQ(s.claim(9, 4).count, 4u);
}

TEST_F(RepairTest, SettlesWhatWasTakenInEachGroup) {
  join_group(s.queue(), 1);
  s.send_slot(2, 0);
  for (const unsigned c : {1u, 2u}) {
    const Cursor v = s.ring().cursor(c);
    ASSERT_TRUE(s.ring().swap_cursor(c, v, {v.next + 1, c == 1 ? 5u : 7u, 1, 0, false}));
  }
  EXPECT_EQ(consumer_died(5, 0).orphans, 1u);
  EXPECT_EQ(s.held_word(0).group, 0u);
  EXPECT_EQ(consumer_died(7, 2).orphans, 1u);
  EXPECT_EQ(s.held_word(8).group, 1u);
  EXPECT_EQ(s.pool().slot(0).groups, 3);
}

}  // namespace
}  // namespace ipcq::detail
