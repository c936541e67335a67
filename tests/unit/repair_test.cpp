// Half-done states, built by hand as a client killed there would leave them, and what the repair makes of them.
// Clients: 2, 3 producers; 5 the member of group 0 at endpoint 0, 6 another at endpoint 1.
#include "repair.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "membership.hpp"
#include "segments.hpp"

namespace ipcq::detail {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Member = GroupMember<SharedAtomics>;

class RepairTest : public testing::Test {
 protected:
  Segments s{Segments::small(2)};

  void SetUp() override { leave(1); }  // most tests want one group
  void leave(unsigned g) { ASSERT_TRUE(drain_left_group(s.queue(), s.pool_map(), g, leave_group(s.queue(), g))); }
  RepairReport producer_died(std::uint32_t client) {
    return repair_endpoint(s.queue(), s.pool_map(), {client, 3, EndpointKind::producer});
  }
  RepairReport consumer_died(std::uint32_t client = 5, std::uint32_t endpoint = 0) {
    return repair_endpoint(s.queue(), s.pool_map(), {client, endpoint, EndpointKind::consumer});
  }
  // The member's claim of `count` tickets, as far as the cursor.
  std::uint64_t claim_take(std::uint32_t client, std::uint32_t count = 1) {
    const Cursor v = s.ring().cursor(1);
    EXPECT_TRUE(s.ring().swap_cursor(1, v, {v.next + count, client, count, 0, false}));
    return v.next;
  }
  void mark_held(std::uint32_t entry, std::uint64_t ticket, std::uint32_t client = 5) {
    Descriptor d;
    ASSERT_EQ(s.ring().read(ticket, d, s.held(entry).data.edit()), LineRead::present);
    s.held(entry).descriptor.store(d);
    s.held(entry).ticket.store(ticket, std::memory_order_relaxed);
    s.held(entry).word.store(pack(HeldWord{HeldState::held, client, 0, 0}), std::memory_order_release);
  }
  // What the surviving member receives, in order, by sequence number.
  std::vector<std::uint64_t> receive_all() {
    std::vector<std::uint64_t> got;
    for (std::uint32_t e = s.take(0, 1, 6); e != kNone; e = s.take(0, 1, 6)) {
      got.push_back(s.held(e).descriptor.load().sequence);
      EXPECT_TRUE(s.release(0, 1, 6, e, s.held_word(e).deliveries));
    }
    return got;
  }
  void expect_nothing_left() {
    EXPECT_TRUE(s.all_slots_free());
    for (std::uint32_t i = 0; i < s.queue().held_entries(); ++i) EXPECT_EQ(s.held_word(i).state, HeldState::free) << i;
    EXPECT_EQ(s.claim(9, 4).count, 4u);  // every line can be written again
  }
};

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
  s.ring().publish(0, Segments::inline_message(0), nullptr);
  EXPECT_THAT(producer_died(2).tombstones, ElementsAre(1, 2));
  s.send(3, 7);
  EXPECT_THAT(receive_all(), ElementsAre(0, 7));
  expect_nothing_left();
}

TEST_F(RepairTest, BuriesABatchOfWhichOnlyALaterTicketIsPublished) {
  ASSERT_EQ(s.claim(2, 3).count, 3u);
  s.ring().publish(1, Segments::inline_message(1), nullptr);
  EXPECT_THAT(producer_died(2).tombstones, ElementsAre(0, 2));
  EXPECT_THAT(receive_all(), ElementsAre(1));
}

TEST_F(RepairTest, FindsAnUnpublishedTicketAfterTheCursorMovedOn) {
  ASSERT_EQ(s.claim(2, 2).count, 2u);
  ASSERT_EQ(s.send(3, 7), 2u);
  EXPECT_THAT(producer_died(2).tombstones, ElementsAre(0, 1));
  EXPECT_THAT(receive_all(), ElementsAre(7));
  expect_nothing_left();
}

TEST_F(RepairTest, KeepsWhatTheDeadPublished) {
  s.send_slot(2, 0);
  s.send(2, 1);
  const RepairReport r = producer_died(2);
  EXPECT_EQ(r.loans, 0u);
  EXPECT_THAT(r.tombstones, IsEmpty());
  EXPECT_THAT(receive_all(), ElementsAre(0, 1));
  expect_nothing_left();
}

TEST_F(RepairTest, FreesASlotThatWasMarkedForALineNeverTagged) {
  const SlotLoan loan = s.borrow(2);
  const PublishClaim c = s.claim(2);
  s.pool().publish(loan, 2, c.groups, c.ticket);
  const RepairReport r = producer_died(2);
  EXPECT_THAT(r.tombstones, ElementsAre(0));
  EXPECT_EQ(r.loans, 1u);
  EXPECT_THAT(receive_all(), IsEmpty());
  expect_nothing_left();
}

TEST_F(RepairTest, FreesTheLoanOfATicketThatWasNotMarkedYet) {
  (void)s.borrow(2);
  (void)s.claim(2);
  const RepairReport r = producer_died(2);
  EXPECT_THAT(r.tombstones, ElementsAre(0));
  EXPECT_EQ(r.loans, 1u);
  (void)receive_all();
  expect_nothing_left();
}

TEST_F(RepairTest, OverwritesUnitsThatTheDeadWroteBeforeUnit0) {
  (void)s.claim(2);
  for (unsigned u = 1; u < kLineUnits; ++u)
    s.ring().in(0).unit[u].store(make_unit(~0ull, ~0u, 1), std::memory_order_relaxed);
  EXPECT_THAT(producer_died(2).tombstones, ElementsAre(0));
  s.send(3, 7);
  EXPECT_THAT(receive_all(), ElementsAre(7));
}

TEST_F(RepairTest, FinishesADropThatWasOnlyClaimed) {
  s.send_slot(3, 0);
  s.send(3, 1);
  claim_take(2);
  EXPECT_EQ(producer_died(2).finished, 1u);
  EXPECT_EQ(s.control().group[0].dropped.load(std::memory_order_relaxed), 1u);
  EXPECT_THAT(receive_all(), ElementsAre(1));
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
  EXPECT_THAT(receive_all(), IsEmpty());
  EXPECT_EQ(s.claim(9, 4).count, 4u);
}

TEST_F(RepairTest, GivesATakenMessageToAnotherMember) {
  s.send_slot(2, 0);
  s.send(2, 1);
  claim_take(5);
  const RepairReport r = consumer_died();
  EXPECT_EQ(r.orphans, 1u);
  EXPECT_EQ(s.held_word(0).deliveries, 0u);  // nobody has seen it
  EXPECT_THAT(receive_all(), ElementsAre(0, 1));
  expect_nothing_left();
}

TEST_F(RepairTest, GivesATakenMessageOnAfterTheCursorMovedOn) {
  s.send(2, 0);
  s.send(2, 1);
  claim_take(5);
  const std::uint32_t e = s.take(0, 1, 6);  // notes 5's claim
  ASSERT_NE(e, kNone);
  EXPECT_EQ(consumer_died().orphans, 1u);
  EXPECT_THAT(receive_all(), ElementsAre(0));
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
  EXPECT_THAT(receive_all(), ElementsAre(0, 1, 2, 3));
  expect_nothing_left();
}

TEST_F(RepairTest, PassesOverTombstonesThatTheDeadTook) {
  s.send(2, 0);
  (void)s.claim(2);
  producer_died(2);
  claim_take(5, 2);
  EXPECT_EQ(consumer_died().orphans, 1u);
  EXPECT_THAT(receive_all(), ElementsAre(0));
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
  EXPECT_THAT(receive_all(), ElementsAre(0, 1));
  expect_nothing_left();
}

TEST_F(RepairTest, GivesBackWhatTheDeadHadTakenOverFromAnothersBlock) {
  s.send(2, 0);
  const std::uint32_t e = s.take(0, 1, 6);
  ASSERT_TRUE(s.queue().member(0, 1, 6).give_back(e, 0));
  ASSERT_EQ(s.take(0, 0, 5), e);
  EXPECT_EQ(consumer_died().orphans, 1u);
  EXPECT_EQ(s.held_word(e).deliveries, 2u);
  EXPECT_THAT(receive_all(), ElementsAre(0));
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
  EXPECT_THAT(receive_all(), ElementsAre(0));
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
    s.pool().publish(next, 3, 1, 1);
  }
  const RepairReport r = consumer_died();
  EXPECT_EQ(r.finished, 1u);
  EXPECT_EQ(r.orphans, 0u);
  EXPECT_EQ(s.held_word(e).state, HeldState::free);
  EXPECT_THAT(receive_all(), IsEmpty());
  EXPECT_EQ(s.pool().slot(loan.slot).state, GetParam() == Half::slot_lent_again ? SlotState::message : SlotState::free);
}

INSTANTIATE_TEST_SUITE_P(Repair, HalfRelease,
                         testing::Values(Half::before_slot, Half::after_slot, Half::slot_lent_again));

// The dead process had a consumer here and a producer of another queue with the same pool.
class ForwarderDied : public RepairTest {
 protected:
  Segments other{Segments::small(), 1};  // for its queue; its pool is not used
  std::uint32_t entry = kNone;
  SlotLoan parent;
  SlotLoan alias;
  void SetUp() override {
    RepairTest::SetUp();
    parent = s.send_slot(2, 0);
    entry = s.take(0, 0, 5);
    std::uint32_t hint = 0;
    alias = s.pool().borrow_alias(4, hint, parent, 0);
    ASSERT_NE(alias.slot, kNone);
  }
  RepairReport forwarding_producer_died() {
    return repair_endpoint(other.queue(), s.pool_map(), {4, 3, EndpointKind::producer});
  }
  void mark_alias(std::uint64_t ticket) { s.pool().publish(alias, 4, 1, ticket); }
  void publish_line(std::uint64_t ticket) {
    Descriptor d = Segments::slot_message(parent, 0);
    d.alias = alias.slot;
    d.alias_lease = alias.lease;
    other.ring().publish(ticket, d, nullptr);
  }
};

TEST_F(ForwarderDied, BeforeItsClaim) {
  EXPECT_EQ(forwarding_producer_died().loans, 1u);
  EXPECT_EQ(s.pool().slot(parent.slot).groups, 1);
  EXPECT_EQ(consumer_died().orphans, 1u);
  EXPECT_THAT(receive_all(), ElementsAre(0));
  expect_nothing_left();
}

TEST_F(ForwarderDied, AfterMarkingTheAliasForALineNeverTagged) {
  mark_alias(other.claim(4).ticket);
  const RepairReport r = forwarding_producer_died();
  EXPECT_THAT(r.tombstones, ElementsAre(0));
  EXPECT_EQ(r.loans, 1u);
  EXPECT_EQ(consumer_died().orphans, 1u);
  EXPECT_THAT(receive_all(), ElementsAre(0));
  expect_nothing_left();
}

TEST_F(ForwarderDied, AfterPublishingAndBeforeTheHandOver) {
  const std::uint64_t t = other.claim(4).ticket;
  mark_alias(t);
  publish_line(t);
  EXPECT_EQ(forwarding_producer_died().loans, 0u);
  const RepairReport r = consumer_died();
  EXPECT_EQ(r.orphans, 0u);
  EXPECT_EQ(r.finished, 1u);
  EXPECT_EQ(s.held_word(entry).state, HeldState::free);
  EXPECT_TRUE(s.pool().release(alias.slot, alias.lease, 0));  // the other queue's reader
  expect_nothing_left();
}

TEST_F(ForwarderDied, WhenTheOtherQueuesReaderIsDoneAlready) {
  const std::uint64_t t = other.claim(4).ticket;
  mark_alias(t);
  publish_line(t);
  ASSERT_TRUE(s.pool().release(alias.slot, alias.lease, 0));
  const SlotLoan next = s.borrow(3);
  ASSERT_EQ(next.slot, parent.slot);
  forwarding_producer_died();
  EXPECT_EQ(consumer_died().orphans, 0u);
  EXPECT_EQ(s.held_word(entry).state, HeldState::free);
  EXPECT_EQ(s.pool().slot(next.slot).state, SlotState::loan);
}

TEST_F(ForwarderDied, AfterTheHandOverNothingIsLeftToDo) {
  const std::uint64_t t = other.claim(4).ticket;
  mark_alias(t);
  publish_line(t);
  ASSERT_TRUE(s.queue().member(0, 0, 5).hand_over(entry, 0));
  EXPECT_EQ(forwarding_producer_died().loans, 0u);
  EXPECT_EQ(consumer_died().finished, 0u);
  EXPECT_TRUE(s.pool().release(alias.slot, alias.lease, 0));
  expect_nothing_left();
}

TEST_F(RepairTest, PassesOnTheReleaseOfAnAliasWhoseLastReaderDied) {
  const SlotLoan parent = s.send_slot(2, 0);
  const std::uint32_t e = s.take(0, 0, 5);
  std::uint32_t hint = 0;
  const SlotLoan alias = s.pool().borrow_alias(4, hint, parent, 0);
  s.pool().publish(alias, 4, 0, 9);  // its readers' bits are all cleared
  ASSERT_TRUE(s.queue().member(0, 0, 5).hand_over(e, 0));
  EXPECT_EQ(consumer_died(77, 2).finished, 1u);
  expect_nothing_left();
}

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
  EXPECT_THAT(receive_all(), ElementsAre(0, 1));
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

// A client that died in an earlier lap may stand in the logs: nothing of later laps is taken for its own.
TEST_F(RepairTest, IsNotMisledByEntriesOfEarlierLaps) {
  ASSERT_EQ(s.claim(2).ticket, 0u);
  ASSERT_EQ(s.claim(3).ticket, 1u);  // notes ticket 0 as taken by 2
  s.ring().publish(0, Segments::inline_message(0), nullptr);
  s.ring().publish(1, Segments::inline_message(1), nullptr);
  EXPECT_THAT(receive_all(), ElementsAre(0, 1));
  for (std::uint64_t n = 2; n < 7; ++n) {
    ASSERT_EQ(s.send(3, n), n);
    EXPECT_THAT(receive_all(), ElementsAre(n));
  }
  ASSERT_EQ(s.send(3, 7), 7u);
  ASSERT_EQ(s.send(3, 8), 8u);  // same line as ticket 0
  EXPECT_THAT(producer_died(2).tombstones, IsEmpty());
  EXPECT_THAT(receive_all(), ElementsAre(7, 8));
}

class RepairLaps : public RepairTest, public testing::WithParamInterface<std::uint64_t> {};

TEST_P(RepairLaps, WorksWhereTagsWrap) {
  const std::uint64_t start = (GetParam() - 1) * s.ring().lines() - 2;  // a batch across the lap's edge
  s.set_next(start);
  ASSERT_EQ(s.claim(2, 4).count, 4u);
  s.ring().publish(start + 1, Segments::inline_message(1), nullptr);
  s.ring().publish(start + 3, Segments::inline_message(3), nullptr);
  EXPECT_THAT(producer_died(2).tombstones, ElementsAre(start + 2, start));  // in the order of the lines
  EXPECT_THAT(receive_all(), ElementsAre(1, 3));
  s.send(3, 4);
  claim_take(5);
  EXPECT_EQ(consumer_died().orphans, 1u);
  EXPECT_THAT(receive_all(), ElementsAre(4));
  expect_nothing_left();
}

INSTANTIATE_TEST_SUITE_P(Near, RepairLaps,
                         testing::Values(std::uint64_t{4}, std::uint64_t{1} << 20, std::uint64_t{1} << 31,
                                         std::uint64_t{1} << 32));

}  // namespace
}  // namespace ipcq::detail
