#include "protocol/ring.hpp"

#include <gtest/gtest.h>

#include <set>

#include "segments.hpp"

namespace ipcq::detail {
namespace {

TEST(Cursor, KeepsEveryFieldThroughItsWord) {
  for (const Cursor c :
       {Cursor{}, Cursor{~std::uint64_t{0} - 1, kClientMask, kMaxClaim, 0xff, true}, Cursor{5, 1, 2, 0x81, false},
        Cursor{7, kClientMask - 1, 0, 0, true}, Cursor{9, 3, 4, 0, false, true}}) {
    EXPECT_EQ(unpack_cursor(pack(c)), c);
  }
}

TEST(OwnEntry, KeepsA40BitLapAndA22BitClient) {
  const std::uint64_t e = pack_own((std::uint64_t{1} << 40) - 1, OwnState::done, kClientMask);
  EXPECT_EQ(own_lap(e), (std::uint64_t{1} << 40) - 1);
  EXPECT_EQ(own_state(e), OwnState::done);
  EXPECT_EQ(own_client(e), kClientMask);
  EXPECT_EQ(own_state(pack_own(1, OwnState::taken, 0)), OwnState::taken);
  EXPECT_EQ(own_state(pack_own(1, OwnState::reading, 0)), OwnState::reading);
}

TEST(Ring, HandsOutAsManyTicketsAsAreFreeInARow) {
  Segments s(Segments::small());
  EXPECT_EQ(s.claim(2, 3).count, 3u);
  const PublishClaim rest = s.claim(2, 3);
  EXPECT_EQ(rest.outcome, ClaimOutcome::ok);
  EXPECT_EQ(rest.ticket, 3u);
  EXPECT_EQ(rest.count, 1u);
  EXPECT_EQ(s.claim(2, 1).outcome, ClaimOutcome::full);
}

TEST(Ring, FreesALineOnlyWhenEveryGroupIsDoneWithIt) {
  Segments s(Segments::small(2));
  for (std::uint64_t t = 0; t < 4; ++t) ASSERT_EQ(s.send(2, t), t);
  EXPECT_EQ(s.claim(2).outcome, ClaimOutcome::full);
  ASSERT_NE(s.take(0, 0, 5), kNone);
  EXPECT_EQ(s.claim(2).outcome, ClaimOutcome::full);
  ASSERT_NE(s.take(1, 1, 6), kNone);
  EXPECT_EQ(s.claim(2).ticket, 4u);
  EXPECT_EQ(s.claim(2).outcome, ClaimOutcome::full);
}

TEST(Ring, FindsTheRingFullThroughAnyRememberedLimit) {
  Segments s(Segments::small());
  std::uint64_t limit = 0;
  EXPECT_EQ(s.ring().claim_publish(2, 1, limit).outcome, ClaimOutcome::ok);
  EXPECT_EQ(limit, 4u);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(s.ring().claim_publish(2, 1, limit).outcome, ClaimOutcome::ok);
  EXPECT_EQ(s.ring().claim_publish(2, 1, limit).outcome, ClaimOutcome::full);
}

// claim_next() claims only what claim_publish() would claim, and says so of nothing else.
TEST(Ring, ClaimsTheNextTicketInTheShortWayOnlyAfterItsOwnClaimOfOne) {
  Segments s(Segments::small());
  const auto& ring = s.ring();
  const std::uint64_t mine = ring.mine_after_one(2, 1);
  EXPECT_EQ(ring.claim_next(mine, 4), kNoTicket) << "nobody has claimed";
  std::uint64_t limit = 0;
  ASSERT_EQ(ring.claim_publish(2, 1, limit).ticket, 0u);
  EXPECT_EQ(ring.claim_next(ring.mine_after_one(3, 1), limit), kNoTicket) << "another's claim, which needs help()";
  EXPECT_EQ(ring.claim_next(ring.mine_after_one(2, 3), limit), kNoTicket) << "the groups have changed";
  EXPECT_EQ(ring.claim_next(mine, 1), kNoTicket) << "the line is not known to be free";
  EXPECT_EQ(ring.claim_next(mine, limit), 1u);
  const Cursor v = ring.cursor(kProducers);
  EXPECT_EQ(v, (Cursor{2, 2, 1, 1, false}));
  ASSERT_EQ(ring.claim_publish(2, 2, limit).count, 2u);
  EXPECT_EQ(ring.claim_next(mine, 100), kNoTicket) << "the last claim was of two";
}

TEST(Ring, RefusesEveryClaimOnceClosed) {
  Segments s(Segments::small());
  const Cursor v = s.ring().cursor(kProducers);
  Cursor closed = v;
  closed.closed = true;
  ASSERT_TRUE(s.ring().swap_cursor(kProducers, v, closed));
  EXPECT_EQ(s.claim(2).outcome, ClaimOutcome::closed);
  EXPECT_EQ(s.ring().claim_next(s.ring().mine_after_one(v.client, v.groups), 4), kNoTicket);
}

// Of both tickets, though one is published: to know that, its line would be read.
TEST(Ring, NotesAnotherProducersClaimBeforeTheCursorMovesOn) {
  Segments s(Segments::small());
  ASSERT_EQ(s.claim(2, 2).count, 2u);
  s.ring().write(0, Segments::inline_message(0), nullptr);
  EXPECT_EQ(s.ring().own(kProducers, 0).load(std::memory_order_relaxed), 0u);
  ASSERT_EQ(s.claim(3).ticket, 2u);
  for (std::uint64_t t = 0; t < 2; ++t) {
    const std::uint64_t e = s.ring().own(kProducers, t).load(std::memory_order_relaxed);
    EXPECT_EQ(own_client(e), 2u);
    EXPECT_EQ(own_state(e), OwnState::taken);
    EXPECT_EQ(own_lap(e), 1u);
  }
}

TEST(Ring, HelpsNobodyByAnOutdatedCursor) {
  Segments s(Segments::small());
  ASSERT_EQ(s.claim(2).ticket, 0u);
  const Cursor old = s.ring().cursor(kProducers);
  s.ring().write(0, Segments::inline_message(0), nullptr);
  ASSERT_EQ(s.claim(2).ticket, 1u);
  s.ring().help(kProducers, old);  // the cursor has moved
  Cursor made_up = s.ring().cursor(kProducers);
  made_up.client = 77;
  s.ring().help(kProducers, made_up);  // not what the cursor says
  for (std::uint64_t t = 0; t < 2; ++t) EXPECT_EQ(s.ring().own(kProducers, t).load(std::memory_order_relaxed), 0u);
}

TEST(Ring, KnowsThatATicketWasPublishedAlsoWhenItsLineServesAnotherLap) {
  Segments s(Segments::small(0));
  ASSERT_EQ(s.claim(2, 2).count, 2u);
  EXPECT_FALSE(s.ring().was_published(0));
  for (std::uint64_t t = 0; t < 2; ++t) s.ring().write(t, Segments::inline_message(t), nullptr);
  for (std::uint64_t n = 2; n < 12; ++n) {
    EXPECT_TRUE(s.ring().was_published(0));
    ASSERT_EQ(s.send(3, n), n);
  }
  ASSERT_EQ(s.claim(3).ticket, 12u);
  EXPECT_TRUE(s.ring().was_published(8));
  EXPECT_FALSE(s.ring().was_published(12));
}

class RingLaps : public testing::TestWithParam<std::uint64_t> {};

TEST_P(RingLaps, KeepsOrderAndContentAcrossTheWrapOfATag) {
  Segments s(Segments::small(2));
  const std::uint64_t start = (GetParam() - 2) * s.ring().lines() + 1;  // some laps before
  s.set_next(start);
  for (std::uint64_t n = 0; n < 5 * s.ring().lines(); ++n) {
    ASSERT_EQ(s.send(2, n), start + n);
    EXPECT_FALSE(s.ring().readable(start + n + s.ring().lines()));
    for (unsigned g = 0; g < 2; ++g) {
      const std::uint32_t entry = s.take(g, g, 5 + g);
      ASSERT_NE(entry, kNone);
      EXPECT_EQ(s.held(entry).descriptor.load().sequence, n);
      EXPECT_EQ(s.held(entry).ticket.load(std::memory_order_relaxed), start + n);
      EXPECT_EQ(s.take(g, g, 5 + g), kNone);
      ASSERT_TRUE(s.release(g, g, 5 + g, entry));
    }
  }
}

TEST_P(RingLaps, FillsAndEmptiesAcrossTheWrapOfATag) {
  Segments s(Segments::small());
  const std::uint64_t start = (GetParam() - 2) * s.ring().lines() + 3;
  s.set_next(start);
  std::uint64_t sent = 0, got = 0;
  for (int round = 0; round < 6; ++round) {
    while (s.send(2, sent) != kNoTicket) ++sent;
    EXPECT_EQ(sent - got, s.ring().lines());
    for (std::uint32_t e = s.take(0, 0, 5); e != kNone; e = s.take(0, 0, 5)) {
      EXPECT_EQ(s.held(e).descriptor.load().sequence, got++);
      ASSERT_TRUE(s.release(0, 0, 5, e));
    }
    EXPECT_EQ(sent, got);
  }
}

INSTANTIATE_TEST_SUITE_P(Near, RingLaps,
                         testing::Values(std::uint64_t{3}, std::uint64_t{1} << 20, std::uint64_t{1} << 32,
                                         (std::uint64_t{1} << 32) + (1u << 20)));

TEST(Ring, PassesOverDamagedLinesAndCountsThem) {
  Segments s(Segments::small());
  s.send(2, 0);
  s.send(2, 1);
  Descriptor bad = Segments::inline_message(0, 4000);
  s.ring().in(0)->store(make_unit(pack_kind(bad), 0, 1), std::memory_order_release);
  auto member = s.queue().member(0, 0, 5);
  std::uint32_t entries[4];
  const Taken t = member.take(entries);
  EXPECT_EQ(t.count, 1u);
  EXPECT_EQ(t.damaged, 1u);
  EXPECT_EQ(s.held(entries[0]).descriptor.load().sequence, 1u);
  EXPECT_TRUE(s.ring().is_free(4, 1));
  EXPECT_TRUE(s.ring().is_free(5, 1));
}

}  // namespace
}  // namespace ipcq::detail
