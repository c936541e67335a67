#include "protocol/group.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "segments.hpp"

namespace ipcq::detail {
namespace {

TEST(HeldWord, KeepsEveryField) {
  for (const HeldWord h : {HeldWord{}, HeldWord{HeldState::releasing, kClientMask, 7, 0xffff},
                           HeldWord{HeldState::orphan, 0, 3, 1}, HeldWord{HeldState::held, 5, 0, 0x8000}}) {
    EXPECT_EQ(unpack_held(pack(h)), h);
  }
}

class GroupTest : public testing::Test {
 protected:
  Segments s{Segments::small()};
};

TEST_F(GroupTest, TakesManyAtOnceAndFreesTheirLines) {
  for (std::uint64_t n = 0; n < 4; ++n) s.send(2, n);
  auto member = s.queue().member(0, 0, 5);
  std::array<std::uint32_t, 8> entries{};
  const Taken t = member.take(entries);
  EXPECT_EQ(t.outcome, TakeOutcome::taken);
  EXPECT_EQ(t.count, 4u);
  EXPECT_TRUE(t.freed_lines);
  for (std::uint64_t n = 0; n < 4; ++n) EXPECT_EQ(s.held(entries[n]).descriptor.load().sequence, n);
  EXPECT_EQ(s.claim(2, 4).count, 4u);
}

TEST_F(GroupTest, SaysThatNoEntryIsFreeWhenItHoldsAllItMay) {
  for (std::uint64_t n = 0; n < 4; ++n) {
    s.send(2, n);
    ASSERT_NE(s.take(0, 0, 5), kNone);
  }
  s.send(2, 4);
  auto member = s.queue().member(0, 0, 5);
  std::uint32_t entry = 0;
  EXPECT_EQ(member.take_one(entry).outcome, TakeOutcome::no_entry);
  EXPECT_NE(s.take(0, 1, 6), kNone);  // another member has its own
}

TEST_F(GroupTest, TakesOneMessageIntoTheFirstEntryOfItsBlockThatIsFree) {
  auto member = s.queue().member(0, 1, 6);
  const std::uint32_t first = s.queue().config().held_per_endpoint;
  std::uint32_t entry = kNone;
  for (std::uint64_t n = 0; n < 3; ++n) {
    s.send(2, n);
    ASSERT_EQ(member.take_one(entry).outcome, TakeOutcome::taken);
    EXPECT_EQ(entry, first + n);
    EXPECT_EQ(s.held(entry).descriptor.load().sequence, n);
    EXPECT_EQ(s.held(entry).ticket.load(std::memory_order_relaxed), n);
    EXPECT_EQ(s.held_word(entry), (HeldWord{HeldState::held, 6, 0, 0}));
  }
  bool freed = false;
  ASSERT_TRUE(member.release(first, 0, s.pool(), freed));
  s.send(2, 3);
  ASSERT_EQ(member.take_one(entry).outcome, TakeOutcome::taken);
  EXPECT_EQ(entry, first);
  s.send(2, 4);
  ASSERT_EQ(member.take_one(entry).outcome, TakeOutcome::taken);
  EXPECT_EQ(entry, first + 3);
  EXPECT_EQ(member.take_one(entry).outcome, TakeOutcome::no_entry);
}

// take_next() takes only what take_one() would take into the block's first entry.
class TakeNext : public GroupTest {
 protected:
  std::uint64_t take_next() { return member.take_next<LineKind::inlined>(s.ring().out_lines(), p); }
  std::uint64_t take_next_slot() { return member.take_next<LineKind::slot>(s.ring().out_lines(), p); }
  void take_first() {
    s.send(2, 0);
    std::uint32_t entry = kNone;
    ASSERT_EQ(member.take_one(entry).count, 1u);
    ASSERT_TRUE(s.release(0, 0, 5, entry));
  }
  GroupMember<SharedAtomics> member = s.queue().member(0, 0, 5);
  PackedUnits p;
};

TEST_F(TakeNext, TakesAMessageAfterTheMembersOwnClaimOfOne) {
  s.send(2, 7);
  EXPECT_EQ(take_next(), kNoTicket) << "this member has claimed nothing";
  std::uint32_t entry = kNone;
  ASSERT_EQ(member.take_one(entry).count, 1u);
  s.send(2, 8);
  EXPECT_EQ(take_next(), kNoTicket) << "the block's first entry is in use";
  ASSERT_TRUE(s.release(0, 0, 5, entry));
  EXPECT_EQ(take_next(), 1u);
  EXPECT_EQ(p.sequence, 8u);
  EXPECT_EQ(s.held_word(member.first_entry()), (HeldWord{HeldState::held, 5, 0, 0}));
  EXPECT_EQ(s.held(member.first_entry()).ticket.load(std::memory_order_relaxed), 1u);
  EXPECT_EQ(s.held(member.first_entry()).descriptor.load().sequence, 8u);
  EXPECT_TRUE(s.ring().has_finished(0, 1));
  EXPECT_EQ(s.ring().cursor(1), (Cursor{2, 5, 1, 0, false}));
  ASSERT_TRUE(s.release(0, 0, 5, member.first_entry()));
  EXPECT_EQ(take_next(), kNoTicket) << "the next line is not published";
}

TEST_F(TakeNext, LeavesWhatAnotherMemberClaimedLast) {
  take_first();
  s.send(2, 1);
  s.send(2, 2);
  ASSERT_NE(s.take(0, 1, 6), kNone);
  EXPECT_EQ(take_next(), kNoTicket) << "its claim must be written to the log before the cursor moves on";
}

TEST_F(TakeNext, TakesAMessageInASlotByItself) {
  take_first();
  s.send(2, 1);
  EXPECT_EQ(take_next_slot(), kNoTicket) << "an inline message";
  ASSERT_EQ(take_next(), 1u);
  ASSERT_TRUE(s.release(0, 0, 5, member.first_entry()));
  const SlotLoan loan = s.send_slot(2, 2);
  EXPECT_EQ(take_next(), kNoTicket);
  EXPECT_EQ(take_next_slot(), 2u);
  const Descriptor d = s.held(member.first_entry()).descriptor.load();
  EXPECT_EQ(d.kind, LineKind::slot);
  EXPECT_EQ(d.slot, loan.slot);
  EXPECT_EQ(d.lease, loan.lease);
  EXPECT_EQ(d.alias, kNone);
  EXPECT_EQ(d.sequence, 2u);
  EXPECT_TRUE(s.release(0, 0, 5, member.first_entry()));
  EXPECT_TRUE(s.all_slots_free());
}

// A slot whose payload a GPU has still to write, or has written to device memory, is not the usual one.
TEST_F(TakeNext, LeavesSlotsTombstonesDamagedLinesAndAClosedGroup) {
  Descriptor tombstone;
  tombstone.kind = LineKind::tombstone;
  Descriptor refused = Segments::inline_message(1);
  refused.flags = kNotProcessed;
  const Descriptor too_long = Segments::inline_message(1, s.ring().inline_bytes() + 1);
  Descriptor late = Segments::slot_message({}, 1);
  late.flags = 0;
  Descriptor mirrored = Segments::slot_message({}, 1);
  mirrored.flags |= kInMirror;
  for (const Descriptor& d : {tombstone, refused, too_long, late, mirrored}) {
    Segments other{Segments::small()};
    std::swap(s.pool_owner, other.pool_owner);
    std::swap(s.queue_owner, other.queue_owner);
    member = s.queue().member(0, 0, 5);
    take_first();
    const std::vector<std::byte> bytes(s.ring().inline_bytes());
    Descriptor short_enough = d;
    short_enough.length = std::min<std::uint32_t>(d.length, s.ring().inline_bytes());
    ASSERT_EQ(s.claim(2).ticket, 1u);
    s.ring().write(1, short_enough, bytes.data());
    if (d.length != short_enough.length) {  // as another process may spoil it
      s.ring().in(1)->store(make_unit(pack_kind(d), 2, 1), std::memory_order_release);
    }
    EXPECT_EQ(take_next(), kNoTicket) << static_cast<int>(d.kind);
    EXPECT_EQ(take_next_slot(), kNoTicket) << static_cast<int>(d.kind);
    EXPECT_EQ(s.ring().cursor(1).next, 1u);
  }
  const Cursor v = s.ring().cursor(1);
  ASSERT_TRUE(s.ring().swap_cursor(1, v, {v.next, v.client, v.count, 0, true}));
  s.ring().write(1, Segments::inline_message(1), nullptr);
  EXPECT_EQ(take_next(), kNoTicket);
}

TEST_F(TakeNext, LeavesTheRingToWhatWasGivenBack) {
  take_first();
  s.send(2, 1);
  s.send(2, 2);
  std::uint32_t entry = kNone;
  ASSERT_EQ(member.take_one(entry).count, 1u);
  ASSERT_TRUE(member.give_back(entry, 0));
  EXPECT_EQ(take_next(), kNoTicket);
}

TEST_F(GroupTest, PassesOverTombstonesInABatch) {
  Descriptor tombstone;
  tombstone.kind = LineKind::tombstone;
  for (std::uint64_t n = 0; n < 4; ++n) {
    if (n == 1) {
      s.send(2, n);
    } else {
      s.ring().write(s.claim(2).ticket, tombstone, nullptr);
    }
  }
  auto member = s.queue().member(0, 0, 5);
  std::array<std::uint32_t, 4> entries{};
  const Taken t = member.take(entries);
  ASSERT_EQ(t.count, 1u);
  EXPECT_EQ(s.held(entries[0]).descriptor.load().sequence, 1u);
  EXPECT_EQ(t.damaged, 0u);
  EXPECT_EQ(s.claim(2, 4).count, 4u);
  for (std::uint32_t i = 0; i < 4; ++i) {
    EXPECT_EQ(s.held_word(i).state == HeldState::held, i == entries[0]);
  }
}

TEST_F(GroupTest, ReturnsNothingButFreesLinesWhenOnlyTombstonesAreThere) {
  Descriptor tombstone;
  tombstone.kind = LineKind::tombstone;
  s.ring().write(s.claim(2).ticket, tombstone, nullptr);
  auto member = s.queue().member(0, 0, 5);
  std::uint32_t entry = 0;
  const Taken t = member.take_one(entry);
  EXPECT_EQ(t.outcome, TakeOutcome::none);
  EXPECT_TRUE(t.freed_lines);
}

TEST_F(GroupTest, StopsBeforeALineThatIsNotPublished) {
  ASSERT_EQ(s.claim(2).ticket, 0u);
  ASSERT_EQ(s.send(3, 1), 1u);
  EXPECT_EQ(s.take(0, 0, 5), kNone);
  EXPECT_FALSE(s.queue().member(0, 0, 5).has_work());
  s.ring().write(0, Segments::inline_message(0), nullptr);
  EXPECT_TRUE(s.queue().member(0, 0, 5).has_work());
  EXPECT_NE(s.take(0, 0, 5), kNone);
}

TEST_F(GroupTest, TakesMessagesGivenBackOldestFirstAheadOfNewerOnes) {
  for (std::uint64_t n = 0; n < 3; ++n) s.send(2, n);
  auto member = s.queue().member(0, 0, 5);
  std::array<std::uint32_t, 2> entries{};
  ASSERT_EQ(member.take(entries).count, 2u);
  ASSERT_TRUE(member.give_back(entries[1], 0));
  ASSERT_TRUE(member.give_back(entries[0], 0));
  for (std::uint64_t n = 0; n < 3; ++n) {
    const std::uint32_t e = s.take(0, 1, 6);
    ASSERT_NE(e, kNone);
    EXPECT_EQ(s.held(e).descriptor.load().sequence, n);
    EXPECT_EQ(s.held_word(e).deliveries, n < 2 ? 1u : 0u);
    EXPECT_EQ(s.held_word(e).client, 6u);
  }
}

TEST_F(GroupTest, RefusesToReleaseWhatItDoesNotHold) {
  s.send(2, 0);
  const std::uint32_t e = s.take(0, 0, 5);
  EXPECT_FALSE(s.release(0, 0, 6, e));     // another client
  EXPECT_FALSE(s.release(0, 0, 5, e, 1));  // another delivery
  EXPECT_TRUE(s.release(0, 0, 5, e));
  EXPECT_FALSE(s.release(0, 0, 5, e));
  EXPECT_FALSE(s.queue().member(0, 0, 5).give_back(e, 0));
  EXPECT_FALSE(s.queue().member(0, 0, 5).hand_over(e, 0));
}

TEST_F(GroupTest, CountsDeliveriesUpTo65535) {
  s.send(2, 0);
  const std::uint32_t e = s.take(0, 0, 5);
  s.held(e).word.store(pack(HeldWord{HeldState::held, 5, 0, 0xffff}), std::memory_order_relaxed);
  EXPECT_TRUE(s.queue().member(0, 0, 5).give_back(e, 0xffff));
  EXPECT_EQ(s.held_word(e).deliveries, 0xffffu);
}

TEST_F(GroupTest, DoesNotCountWhatItPutsBack) {
  s.send(2, 0);
  const std::uint32_t e = s.take(0, 0, 5);
  auto member = s.queue().member(0, 0, 5);
  EXPECT_TRUE(member.put_back(e, 0));
  EXPECT_FALSE(member.put_back(e, 0));
  EXPECT_EQ(s.held_word(e).deliveries, 0u);
  EXPECT_EQ(s.take(0, 1, 6), e);
  EXPECT_EQ(s.held_word(e).client, 6u);
}

TEST_F(GroupTest, FindsAMessageGivenBackThoughTheHintIsTooHigh) {
  s.control().group[0].orphans.store(7, std::memory_order_relaxed);
  s.send(2, 0);
  EXPECT_NE(s.take(0, 0, 5), kNone);  // looks for one given back, finds none, takes the next
}

TEST_F(GroupTest, KnowsWhetherOthersHoldMessages) {
  s.send(2, 0);
  const std::uint32_t e = s.take(0, 0, 5);
  EXPECT_FALSE(s.queue().member(0, 0, 5).others_have(0));
  EXPECT_TRUE(s.queue().member(0, 1, 6).others_have(0));
  ASSERT_TRUE(s.queue().member(0, 0, 5).give_back(e, 0));
  EXPECT_TRUE(s.queue().member(0, 0, 5).others_have(0));
}

}  // namespace
}  // namespace ipcq::detail
