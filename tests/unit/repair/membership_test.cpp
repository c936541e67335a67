#include "repair/membership.hpp"

#include <gtest/gtest.h>

#include <array>

#include "segments.hpp"

namespace ipcq::detail {
namespace {

class MembershipTest : public testing::Test {
 protected:
  Segments s{Segments::small()};
  bool drain(unsigned g, std::uint64_t end) { return drain_left_group(s.queue(), s.pool_map(), g, end); }
};

TEST_F(MembershipTest, AJoiningGroupSeesTicketsFromThereOnOnly) {
  s.send(2, 0);
  EXPECT_EQ(join_group(s.queue(), 3), 1u);
  EXPECT_EQ(s.take(3, 1, 6), kNone);
  s.send(2, 1);
  const std::uint32_t e = s.take(3, 1, 6);
  ASSERT_NE(e, kNone);
  EXPECT_EQ(s.held(e).descriptor.load().sequence, 1u);
  EXPECT_EQ(s.take(3, 1, 6), kNone);
  EXPECT_EQ(s.control().group[3].joined_at.load(std::memory_order_relaxed), 1u);
}

TEST_F(MembershipTest, AJoiningGroupHoldsNoEarlierLineBack) {
  for (std::uint64_t n = 0; n < 4; ++n) s.send(2, n);
  EXPECT_EQ(join_group(s.queue(), 7), 4u);
  for (int n = 0; n < 4; ++n) ASSERT_NE(s.take(0, 0, 5), kNone);
  EXPECT_EQ(s.claim(2, 8).count, 4u);
}

TEST_F(MembershipTest, AJoinedGroupHoldsBackWhatIsPublishedAfterwards) {
  join_group(s.queue(), 1);
  for (std::uint64_t n = 0; n < 4; ++n) s.send(2, n);
  for (int n = 0; n < 4; ++n) ASSERT_NE(s.take(0, 0, 5), kNone);
  EXPECT_EQ(s.claim(2).outcome, ClaimOutcome::full);
}

TEST_F(MembershipTest, ATicketTakenBeforeAJoinIsNotForTheGroup) {
  const SlotLoan loan = s.borrow(2);
  const PublishClaim c = s.claim(2);
  EXPECT_EQ(join_group(s.queue(), 1), 1u);
  EXPECT_EQ(c.groups, 1);
  s.pool().mark_message(loan, 2, c.groups, c.ticket);
  s.ring().write(c.ticket, Segments::slot_message(loan, 0), nullptr);
  EXPECT_EQ(s.take(1, 1, 6), kNone);
  const std::uint32_t e = s.take(0, 0, 5);
  EXPECT_TRUE(s.release(0, 0, 5, e));
  EXPECT_TRUE(s.all_slots_free());
}

TEST_F(MembershipTest, ALeavingGroupGivesBackAllThatWasLeftForIt) {
  join_group(s.queue(), 1);
  for (std::uint64_t n = 0; n < 3; ++n) s.send_slot(2, n);
  const std::uint32_t e = s.take(1, 1, 6);
  ASSERT_TRUE(s.queue().member(1, 1, 6).give_back(e, 0));
  for (int n = 0; n < 3; ++n) ASSERT_TRUE(s.release(0, 0, 5, s.take(0, 0, 5)));
  EXPECT_FALSE(s.all_slots_free());
  const std::uint64_t end = leave_group(s.queue(), 1);
  EXPECT_EQ(end, 3u);
  EXPECT_TRUE(drain(1, end));
  EXPECT_TRUE(s.all_slots_free());
  EXPECT_EQ(s.ring().live_groups(), 1u);
  EXPECT_EQ(s.held_word(e).state, HeldState::free);
  EXPECT_EQ(s.claim(2, 8).count, 4u);
}

TEST_F(MembershipTest, MessagesAfterALeaveAreNotForTheGroup) {
  join_group(s.queue(), 1);
  const std::uint64_t end = leave_group(s.queue(), 1);
  const SlotLoan loan = s.send_slot(2, 0);
  EXPECT_EQ(s.pool().slot(loan.slot).groups, 1);
  EXPECT_TRUE(drain(1, end));
  EXPECT_EQ(s.ring().cursor(2).next, 0u);
}

TEST_F(MembershipTest, ALeaveWaitsForAProducerBetweenClaimAndPublish) {
  join_group(s.queue(), 1);
  const PublishClaim c = s.claim(2);
  const std::uint64_t end = leave_group(s.queue(), 1);
  EXPECT_FALSE(drain(1, end));
  EXPECT_EQ(s.ring().live_groups(), 3u);
  s.ring().write(c.ticket, Segments::inline_message(0), nullptr);
  EXPECT_TRUE(drain(1, end));
}

TEST_F(MembershipTest, AGroupMayJoinAgainInTheSamePlace) {
  for (std::uint64_t round = 0; round < 10; ++round) {
    const std::uint64_t at = join_group(s.queue(), 1);
    for (std::uint64_t n = 0; n < 3; ++n) ASSERT_EQ(s.send(2, n), at + n);
    const std::uint32_t e = s.take(1, 1, 6);
    ASSERT_NE(e, kNone);
    EXPECT_EQ(s.held(e).ticket.load(std::memory_order_relaxed), at);
    ASSERT_TRUE(s.release(1, 1, 6, e));
    for (int n = 0; n < 3; ++n) ASSERT_TRUE(s.release(0, 0, 5, s.take(0, 0, 5)));
    ASSERT_TRUE(drain(1, leave_group(s.queue(), 1)));
  }
}

TEST_F(MembershipTest, JoinsNearTheWrapOfATag) {
  for (const std::uint64_t lap : {std::uint64_t{1} << 20, std::uint64_t{1} << 32}) {
    Segments q(Segments::small());
    q.set_next((lap - 1) * q.ring().lines() - 1);
    for (std::uint64_t n = 0; n < 2; ++n) q.send(2, n);
    join_group(q.queue(), 1);
    for (int n = 0; n < 2; ++n) ASSERT_NE(q.take(0, 0, 5), kNone);
    EXPECT_EQ(q.claim(2, 8).count, 4u);
  }
}

TEST_F(MembershipTest, AClosedIntakeStaysClosedAndKeepsItsEnd) {
  s.send(2, 0);
  EXPECT_EQ(close_intake(s.queue()), 1u);
  EXPECT_EQ(s.claim(2).outcome, ClaimOutcome::closed);
  EXPECT_EQ(close_intake(s.queue()), 1u);
  EXPECT_NE(s.take(0, 0, 5), kNone);
  EXPECT_EQ(leave_group(s.queue(), 0), 1u);  // groups come and go still
  EXPECT_TRUE(s.ring().cursor(kProducers).closed);
}

TEST_F(MembershipTest, JoiningClearsWhatAnEarlierGroupOfThatPlaceLeft) {
  s.control().group[2].orphans.store(9, std::memory_order_relaxed);
  s.control().group[2].dropped.store(9, std::memory_order_relaxed);
  join_group(s.queue(), 2);
  EXPECT_EQ(s.control().group[2].dropped.load(std::memory_order_relaxed), 0u);
  EXPECT_FALSE(s.queue().member(2, 1, 6).has_work());
}

// Nobody reads ticket 0, whose producer stands between claim and publish. A group that joins is done with it from the
// start, and with all that others publish; its line may be written again only when that producer has written it.
TEST(WithoutGroups, ALineIsNotTakenAgainBeforeItsMessageIsThere) {
  Segments s(Segments::small(0));
  const PublishClaim slow = s.claim(2);
  ASSERT_EQ(slow.ticket, 0u);
  ASSERT_EQ(slow.groups, 0u);
  EXPECT_EQ(join_group(s.queue(), 0), 1u);
  for (std::uint64_t n = 1; n < 4; ++n) {
    ASSERT_EQ(s.send(3, n), n);
    ASSERT_TRUE(s.release(0, 0, 5, s.take(0, 0, 5)));
  }
  EXPECT_EQ(s.claim(3).outcome, ClaimOutcome::full);  // ticket 4 lies on the same line
  s.ring().write(0, Segments::inline_message(0), nullptr);
  for (std::uint64_t n = 4; n < 12; ++n) {
    ASSERT_EQ(s.send(3, n), n);
    const std::uint32_t e = s.take(0, 0, 5);
    ASSERT_NE(e, kNone) << "the order stops at ticket " << n;
    EXPECT_EQ(s.held(e).descriptor.load().sequence, n);
    ASSERT_TRUE(s.release(0, 0, 5, e));
  }
}

TEST(WithoutGroups, ALineIsNotTakenAgainBeforeItsMessageIsThereAfterALeaveEither) {
  Segments s(Segments::small(0));
  join_group(s.queue(), 0);
  ASSERT_TRUE(drain_left_group(s.queue(), s.pool_map(), 0, leave_group(s.queue(), 0)));
  ASSERT_EQ(s.claim(2).ticket, 0u);
  for (std::uint64_t n = 1; n < 4; ++n) ASSERT_EQ(s.send(3, n), n);
  EXPECT_EQ(s.claim(3).outcome, ClaimOutcome::full);
  join_group(s.queue(), 0);
  EXPECT_EQ(s.claim(3).outcome, ClaimOutcome::full);
  s.ring().write(0, Segments::inline_message(0), nullptr);
  EXPECT_EQ(s.claim(3, 8).count, 4u);
}

// The claim of a helper may not be lost because a join changed the cursor's groups in between.
TEST_F(MembershipTest, AJoinKeepsTheRecordOfTheLastClaim) {
  ASSERT_EQ(s.claim(2, 2).count, 2u);
  join_group(s.queue(), 1);
  const Cursor v = s.ring().cursor(kProducers);
  EXPECT_EQ(v.client, 2u);
  EXPECT_EQ(v.count, 2u);
}

}  // namespace
}  // namespace ipcq::detail
