#include "protocol/in_place.hpp"

#include <gtest/gtest.h>

#include <utility>

#include "segments.hpp"

namespace ipcq::detail {
namespace {

class InPlaceReaderTest : public testing::Test {
 protected:
  static QueueOptions sixteen_lines() {
    QueueOptions o = Segments::small();
    o.lines = 16;
    return o;
  }
  struct Claim {
    std::uint64_t ticket = 0;
    Taken taken;
  };
  struct Reader : InPlaceReader<SharedAtomics> {
    Claim claim(std::size_t want) {
      Claim c;
      c.ticket = InPlaceReader::claim(want, 0, c.taken);
      return c;
    }
    Claim copy(std::size_t room, Descriptor& d, InlineData& data) {
      Claim c;
      c.ticket = InPlaceReader::copy(data.bytes, room, d, c.taken);
      return c;
    }
  };
  Reader reader() { return {s.queue().in_place_reader(0, 0, 5)}; }
  OwnState state(std::uint64_t ticket) { return own_state(s.ring().own(1, ticket).load(std::memory_order_relaxed)); }

  Segments s{sixteen_lines()};
  Descriptor d;
  InlineData data;
};

TEST_F(InPlaceReaderTest, ClaimsAQuarterOfTheRingAtMost) {
  for (std::uint64_t n = 0; n < 10; ++n) s.send(2, n);
  auto r = reader();
  const Claim c = r.claim(100);
  EXPECT_EQ(c.taken.outcome, TakeOutcome::taken);
  EXPECT_EQ(c.ticket, 0u);
  EXPECT_EQ(c.taken.count, 4u);
  EXPECT_EQ(s.ring().cursor(1).next, 4u);
  for (std::uint64_t t = 0; t < 4; ++t) {
    bool damaged = true;
    EXPECT_TRUE(r.read(t, d, data, damaged));
    EXPECT_FALSE(damaged);
    EXPECT_EQ(d.sequence, t);
    EXPECT_FALSE(s.ring().has_finished(0, t));
    r.finish(t);
    EXPECT_TRUE(s.ring().has_finished(0, t));
  }
}

// The repair puts what a dead member had claimed into its held entries.
TEST_F(InPlaceReaderTest, ClaimsNoMoreThanItHasFreeEntries) {
  for (std::uint64_t n = 0; n < 8; ++n) s.send(2, n);
  auto r = reader();
  for (int i = 0; i < 3; ++i) ASSERT_NE(s.take(0, 0, 5), kNone);
  EXPECT_EQ(r.claim(100).taken.count, 1u);
  r.finish(3);
  ASSERT_NE(s.take(0, 0, 5), kNone);
  r.spend(1);
  EXPECT_EQ(r.claim(1).taken.outcome, TakeOutcome::no_entry);
  EXPECT_EQ(r.copy(100, d, data).taken.outcome, TakeOutcome::no_entry);
}

TEST_F(InPlaceReaderTest, LeavesSlotsAndWhatWasGivenBackToThePathWithEntries) {
  s.send(2, 0);
  s.send_slot(2, 1);
  auto r = reader();
  EXPECT_EQ(r.claim(4).taken.count, 1u);
  r.finish(0);
  EXPECT_EQ(r.claim(4).taken.outcome, TakeOutcome::needs_entry);
  EXPECT_EQ(r.copy(100, d, data).taken.outcome, TakeOutcome::needs_entry);
  const std::uint32_t e = s.take(0, 0, 5);
  ASSERT_NE(e, kNone);
  s.send(2, 2);
  ASSERT_TRUE(s.queue().member(0, 0, 5).give_back(e, 0));
  EXPECT_EQ(r.claim(4).taken.outcome, TakeOutcome::needs_entry);
  EXPECT_EQ(r.copy(100, d, data).taken.outcome, TakeOutcome::needs_entry);
}

TEST_F(InPlaceReaderTest, CopiesWhatFitsAndIsDoneWithIt) {
  s.send(2, 0);
  auto r = reader();
  const Claim c = r.copy(0, d, data);
  EXPECT_EQ(c.taken.outcome, TakeOutcome::taken);
  EXPECT_EQ(c.ticket, 0u);
  EXPECT_TRUE(c.taken.freed_lines);
  EXPECT_TRUE(s.ring().has_finished(0, 0));
  EXPECT_EQ(r.copy(100, d, data).taken.outcome, TakeOutcome::none);

  s.ring().write(s.claim(2).ticket, Segments::inline_message(1, 30), data.bytes);
  EXPECT_EQ(r.copy(29, d, data).taken.outcome, TakeOutcome::too_large);
  EXPECT_EQ(s.ring().cursor(1).next, 1u);
  EXPECT_EQ(r.copy(30, d, data).taken.outcome, TakeOutcome::taken);
}

// copy_next() takes only what copy() would take.
TEST_F(InPlaceReaderTest, CopiesTheNextMessageInTheShortWayOnlyAfterItsOwnClaimOfOne) {
  PackedUnits p;
  auto r = reader();
  s.send(2, 0);
  EXPECT_EQ(r.copy_next(data.bytes, 100, p), kNoTicket) << "it has claimed nothing, and counted no entries";
  ASSERT_EQ(r.copy(100, d, data).taken.count, 1u);
  EXPECT_EQ(r.copy_next(data.bytes, 100, p), kNoTicket) << "nothing is published";
  const std::byte eight[8]{};
  ASSERT_EQ(s.claim(2).ticket, 1u);
  s.ring().write(1, Segments::inline_message(1, sizeof eight), eight);
  EXPECT_EQ(r.copy_next(data.bytes, 7, p), kNoTicket) << "it does not fit";
  EXPECT_EQ(r.copy_next(data.bytes, 8, p), 1u);
  EXPECT_EQ(p.sequence, 1u);
  EXPECT_TRUE(s.ring().has_finished(0, 1));
  EXPECT_EQ(s.ring().cursor(1), (Cursor{2, 5, 1, 0, false}));
  s.send(2, 2);
  s.send(2, 3);
  ASSERT_NE(s.take(0, 1, 6), kNone);
  EXPECT_EQ(r.copy_next(data.bytes, 100, p), kNoTicket) << "another's claim, which needs help()";
  ASSERT_EQ(r.copy(100, d, data).taken.count, 1u);
  s.send_slot(2, 4);
  EXPECT_EQ(r.copy_next(data.bytes, 100, p), kNoTicket);
  r.spend(100);
  s.send(2, 5);
  EXPECT_EQ(r.copy_next(data.bytes, 100, p), kNoTicket) << "no entry for the repair";
}

TEST_F(InPlaceReaderTest, PassesOverTombstonesAndCountsDamage) {
  Descriptor odd;
  odd.kind = LineKind::tombstone;
  s.ring().write(s.claim(2).ticket, odd, nullptr);
  odd.kind = static_cast<LineKind>(77);
  s.ring().write(s.claim(2).ticket, odd, nullptr);
  s.send(2, 2);
  auto r = reader();
  const Claim c = r.copy(100, d, data);
  EXPECT_EQ(c.taken.outcome, TakeOutcome::taken);
  EXPECT_EQ(c.ticket, 2u);
  EXPECT_EQ(c.taken.damaged, 1u);

  odd.kind = LineKind::tombstone;
  s.ring().write(s.claim(2).ticket, odd, nullptr);
  odd.kind = static_cast<LineKind>(77);
  s.ring().write(s.claim(2).ticket, odd, nullptr);
  ASSERT_EQ(r.claim(4).taken.count, 2u);
  bool damaged = true;
  EXPECT_FALSE(r.read(3, d, data, damaged));
  EXPECT_FALSE(damaged);
  EXPECT_FALSE(r.read(4, d, data, damaged));
  EXPECT_TRUE(damaged);
}

TEST_F(InPlaceReaderTest, SaysInTheCursorAndInTheLogThatItShowsMessages) {
  for (std::uint64_t n = 0; n < 4; ++n) s.send(2, n);
  auto r = reader();
  ASSERT_EQ(r.claim(2).taken.count, 2u);
  EXPECT_TRUE(s.ring().cursor(1).reading);
  r.finish(0);
  ASSERT_NE(s.take(0, 1, 6), kNone);  // helps
  EXPECT_FALSE(s.ring().cursor(1).reading);
  EXPECT_EQ(state(0), OwnState::done);
  EXPECT_EQ(state(1), OwnState::reading);
  EXPECT_FALSE(s.ring().has_finished(0, 1));
}

TEST_F(InPlaceReaderTest, AMessageMovesToAHeldEntry) {
  s.send(2, 7);
  auto r = reader();
  ASSERT_EQ(r.claim(1).taken.count, 1u);
  auto member = s.queue().member(0, 0, 5);
  std::uint64_t damaged = 0;
  const std::uint32_t e = member.hold(0, damaged);
  ASSERT_NE(e, kNone);
  EXPECT_EQ(damaged, 0u);
  EXPECT_EQ(s.held_word(e).state, HeldState::held);
  EXPECT_EQ(s.held(e).descriptor.load().sequence, 7u);
  EXPECT_TRUE(s.ring().has_finished(0, 0));
}

TEST_F(InPlaceReaderTest, ADamagedLineDoesNotMoveAndIsCounted) {
  Descriptor odd;
  odd.kind = static_cast<LineKind>(77);
  s.ring().write(s.claim(2).ticket, odd, nullptr);
  auto r = reader();
  ASSERT_EQ(r.claim(1).taken.count, 1u);
  std::uint64_t damaged = 0;
  EXPECT_EQ(s.queue().member(0, 0, 5).hold(0, damaged), kNone);
  EXPECT_EQ(damaged, 1u);
  EXPECT_TRUE(s.ring().has_finished(0, 0));
}

// Another process may write into a claimed line: what was looked at before the claim is looked at again.
TEST_F(InPlaceReaderTest, AHeadThatChangesAfterTheClaimLeadsOutOfNoLine) {
  const auto after_claim = [&](LineKind kind, std::uint32_t length, std::uint8_t data_unit) {
    s.send(2, 0);
    auto r = reader();
    const Claim c = r.claim(1);
    EXPECT_EQ(c.taken.count, 1u);
    Descriptor changed = Segments::inline_message(0, length);
    changed.kind = kind;
    changed.data_unit = data_unit;
    auto& head = *s.ring().out(c.ticket);
    auto word = head.load(std::memory_order_relaxed);
    word.lo = pack_kind(changed);
    head.store(word, std::memory_order_release);
    bool damaged = false;
    const std::byte* const bytes = r.read(c.ticket, d, data, damaged);
    if (bytes != nullptr) {
      const auto* const line = reinterpret_cast<const std::byte*>(s.ring().out(c.ticket));
      EXPECT_TRUE(bytes >= line && bytes + d.length <= line + s.queue().config().line_bytes);
    }
    r.finish(c.ticket);
    return std::pair(bytes != nullptr, damaged);
  };
  constexpr std::pair kShown(true, false), kDamaged(false, true);
  const std::uint32_t most = s.ring().inline_bytes();
  EXPECT_EQ(after_claim(LineKind::inlined, most, 2), kShown);
  EXPECT_EQ(after_claim(LineKind::inlined, most - 16, 3), kShown);
  EXPECT_EQ(after_claim(LineKind::inlined, 0, 8), kShown);
  EXPECT_EQ(after_claim(LineKind::inlined, most + 1, 2), kDamaged);
  EXPECT_EQ(after_claim(LineKind::inlined, most, 3), kDamaged);
  EXPECT_EQ(after_claim(LineKind::inlined, 0xffffffff, 2), kDamaged);
  EXPECT_EQ(after_claim(LineKind::inlined, 0, 9), kDamaged);
  EXPECT_EQ(after_claim(LineKind::inlined, 1, 255), kDamaged);
  EXPECT_EQ(after_claim(LineKind::inlined, 1, 0), kDamaged);
  for (const unsigned kind : {0u, 2u, 4u, 255u}) {
    EXPECT_EQ(after_claim(static_cast<LineKind>(kind), 1, 2), kDamaged) << kind;
  }
  EXPECT_EQ(after_claim(LineKind::tombstone, 1, 2), std::pair(false, false));
}

TEST_F(InPlaceReaderTest, TakesNothingOfAClosedGroup) {
  s.send(2, 0);
  Cursor v = s.ring().cursor(1);
  Cursor closed = v;
  closed.closed = true;
  ASSERT_TRUE(s.ring().swap_cursor(1, v, closed));
  auto r = reader();
  EXPECT_EQ(r.claim(1).taken.outcome, TakeOutcome::none);
  EXPECT_EQ(r.copy(9, d, data).taken.outcome, TakeOutcome::none);
}

}  // namespace
}  // namespace ipcq::detail
