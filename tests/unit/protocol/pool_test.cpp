#include "protocol/pool.hpp"

#include <gtest/gtest.h>

#include <set>

#include "segments.hpp"

namespace ipcq::detail {
namespace {

TEST(SlotWord, KeepsEveryField) {
  for (const Slot s : {Slot{}, Slot{~std::uint64_t{0}, 0x3fffff, SlotState::quarantine, 0xff, 0xffffffff},
                       Slot{1, 2, SlotState::message, 0x80, 0x80000000}}) {
    EXPECT_EQ(unpack_slot(pack(s)), s);
  }
}

TEST(Pool, LendsEverySlotOnceAndThenNone) {
  Segments s(Segments::small(), 70);
  std::set<std::uint32_t> seen;
  for (int i = 0; i < 70; ++i) {
    const SlotLoan loan = s.borrow(2);
    EXPECT_TRUE(seen.insert(loan.slot).second);
    EXPECT_TRUE(s.pool().is_payload(loan.slot));
    EXPECT_EQ(loan.lease, 1u);
  }
  EXPECT_EQ(s.borrow(2).slot, kNone);
}

TEST(Pool, TakesBackALoanOnceAndOnlyFromItsLoaner) {
  Segments s(Segments::small(), 1);
  const SlotLoan loan = s.borrow(2);
  EXPECT_FALSE(s.pool().give_back(loan, 3));
  EXPECT_TRUE(s.pool().give_back(loan, 2));
  EXPECT_FALSE(s.pool().give_back(loan, 2));
  EXPECT_TRUE(s.all_slots_free());
}

TEST(Pool, IgnoresAStaleLease) {
  Segments s(Segments::small(), 1);
  const SlotLoan first = s.borrow(2);
  s.pool().mark_message(first, 2, 1, 0);
  EXPECT_TRUE(s.pool().release(first.slot, first.lease, 0));
  const SlotLoan second = s.borrow(2);
  EXPECT_EQ(second.lease, first.lease + 1);
  s.pool().mark_message(second, 2, 1, 1);
  EXPECT_FALSE(s.pool().release(first.slot, first.lease, 0));
  EXPECT_FALSE(s.pool().give_back(first, 2));
  EXPECT_EQ(s.pool().slot(second.slot).groups, 1);
  EXPECT_TRUE(s.pool().release(second.slot, second.lease, 0));
}

TEST(Pool, FreesAMessageWhenItsLastGroupReleasesIt) {
  Segments s(Segments::small(), 1);
  const SlotLoan loan = s.borrow(2);
  s.pool().mark_message(loan, 2, 0b10000101, 9);
  EXPECT_EQ(s.pool().slot(loan.slot).ticket, 9u);
  EXPECT_FALSE(s.pool().release(loan.slot, loan.lease, 2));
  EXPECT_FALSE(s.pool().release(loan.slot, loan.lease, 2));  // idempotent
  EXPECT_FALSE(s.pool().release(loan.slot, loan.lease, 1));  // never was its
  EXPECT_FALSE(s.pool().release(loan.slot, loan.lease, 7));
  EXPECT_TRUE(s.pool().release(loan.slot, loan.lease, 0));
  EXPECT_TRUE(s.all_slots_free());
}

TEST(Pool, IgnoresSlotNumbersThatItDoesNotHave) {
  Segments s(Segments::small(), 4);
  for (const std::uint32_t slot : {4u, 63u, 64u + 8 * 4, 0x7fffffffu, kNone}) {
    EXPECT_FALSE(s.pool().release(slot, 1, 0)) << slot;
    EXPECT_FALSE(s.pool().is_payload(slot) || s.pool().is_alias(slot)) << slot;
  }
  EXPECT_TRUE(s.pool().is_alias(64));
  EXPECT_TRUE(s.pool().is_alias(64 + 8 * 4 - 1));
}

TEST(Pool, SkipsHintsThatNameABusyOrUnknownSlot) {
  Segments s(Segments::small(), 2);
  const SlotLoan first = s.borrow(2);
  auto* bits = reinterpret_cast<Word*>(s.pool_map().segment().data() + s.pool_map().config().free_bits_offset);
  bits[0].store(~std::uint64_t{0}, std::memory_order_relaxed);
  const SlotLoan second = s.borrow(3);
  EXPECT_NE(second.slot, first.slot);
  EXPECT_NE(second.slot, kNone);
  EXPECT_EQ(s.borrow(3).slot, kNone);
}

TEST(Pool, LendsSlotsInTurn) {
  constexpr std::uint32_t kSlots = 70;  // their bits take two words
  Segments s(Segments::small(), kSlots);
  std::uint32_t hint = 0;
  std::vector<SlotLoan> loans;
  for (std::uint32_t i = 0; i < kSlots; ++i) {
    loans.push_back(s.pool().borrow(2, hint));
    EXPECT_EQ(loans.back().slot, i);
  }
  for (const std::uint32_t slot : {65u, 3u, 2u, 66u}) EXPECT_TRUE(s.pool().give_back(loans[slot], 2));
  EXPECT_EQ(s.pool().count_free(100), 4u);
  EXPECT_GE(s.pool().count_free(2), 2u);
  for (const std::uint32_t slot : {2u, 3u, 65u}) EXPECT_EQ(s.pool().borrow(2, hint).slot, slot);
  loans[2] = {2, loans[2].lease + 1};
  EXPECT_TRUE(s.pool().give_back(loans[2], 2));
  EXPECT_EQ(s.pool().borrow(2, hint).slot, 66u);  // not the one that was freed last
  EXPECT_EQ(s.pool().borrow(2, hint).slot, 2u);
  EXPECT_EQ(s.pool().borrow(2, hint).slot, kNone);
  EXPECT_EQ(s.pool().count_free(100), 0u);
}

// From each place on: also where the search begins within a word, and comes back to it.
TEST(Pool, FindsTheOnlyFreeSlotFromEveryPlace) {
  constexpr std::uint32_t kSlots = 70;
  Segments s(Segments::small(), kSlots);
  std::uint32_t any = 0;
  std::vector<SlotLoan> loans;
  for (std::uint32_t i = 0; i < kSlots; ++i) loans.push_back(s.pool().borrow(2, any));
  for (const std::uint32_t slot : {0u, 1u, 63u, 64u, 69u}) {
    for (std::uint32_t from = 0; from < 200; ++from) {
      EXPECT_TRUE(s.pool().give_back(loans[slot], 2));
      std::uint32_t hint = from;
      loans[slot] = s.pool().borrow(2, hint);
      ASSERT_EQ(loans[slot].slot, slot) << from;
    }
  }
}

TEST(Pool, FindsASlotAgainWhoseBitWasLost) {
  Segments s(Segments::small(), 1);
  auto* bits = reinterpret_cast<Word*>(s.pool_map().segment().data() + s.pool_map().config().free_bits_offset);
  bits[0].store(0, std::memory_order_relaxed);
  EXPECT_EQ(s.borrow(2).slot, kNone);
  s.pool().restore_free_bits();
  EXPECT_EQ(s.borrow(2).slot, 0u);
}

class AliasTest : public testing::Test {
 protected:
  Segments s{Segments::small(), 2};
  std::uint32_t hint = 0;
  SlotLoan message(std::uint8_t groups) {
    const SlotLoan loan = s.borrow(2);
    s.pool().mark_message(loan, 2, groups, 0);
    return loan;
  }
  SlotLoan alias_of(const SlotLoan& parent, unsigned group, std::uint8_t readers) {
    const SlotLoan alias = s.pool().borrow_alias(3, hint, parent, group);
    s.pool().mark_message(alias, 3, readers, 1);
    return alias;
  }
};

TEST_F(AliasTest, ReleasesItsParentWhenItsLastReaderIsDone) {
  const SlotLoan parent = message(0b11);
  const SlotLoan alias = alias_of(parent, 1, 0b101);
  EXPECT_FALSE(s.pool().release(parent.slot, parent.lease, 0));
  EXPECT_FALSE(s.pool().release(alias.slot, alias.lease, 0));
  EXPECT_TRUE(s.pool().release(alias.slot, alias.lease, 2));
  EXPECT_TRUE(s.all_slots_free());
}

TEST_F(AliasTest, PassesAReleaseThroughAChain) {
  const SlotLoan parent = message(1);
  const SlotLoan first = alias_of(parent, 0, 1);
  const SlotLoan second = alias_of(first, 0, 0b10);
  EXPECT_FALSE(s.pool().chain(first.slot, first.lease, 1).sole_reader);
  EXPECT_TRUE(s.pool().chain(second.slot, second.lease, 1).sole_reader);
  EXPECT_TRUE(s.pool().release(second.slot, second.lease, 1));
  EXPECT_TRUE(s.all_slots_free());
}

TEST_F(AliasTest, GivesUpWithoutReleasingItsParentWhenNotPublished) {
  const SlotLoan parent = message(1);
  const SlotLoan alias = s.pool().borrow_alias(3, hint, parent, 0);
  EXPECT_TRUE(s.pool().give_back(alias, 3));
  EXPECT_EQ(s.pool().slot(parent.slot).groups, 1);
}

TEST_F(AliasTest, KnowsASoleReaderFromASharedSlot) {
  const SlotLoan parent = message(0b11);
  EXPECT_FALSE(s.pool().chain(parent.slot, parent.lease, 0).sole_reader);
  const SlotLoan alias = alias_of(parent, 0, 1);
  EXPECT_FALSE(s.pool().chain(alias.slot, alias.lease, 0).sole_reader);
  s.pool().release(parent.slot, parent.lease, 1);
  EXPECT_TRUE(s.pool().chain(alias.slot, alias.lease, 0).sole_reader);
  EXPECT_FALSE(s.pool().chain(alias.slot, alias.lease + 1, 0).sole_reader);
}

TEST_F(AliasTest, SurvivesAParentChainThatADamagedPoolClosesToARing) {
  const SlotLoan parent = message(1);
  const SlotLoan first = alias_of(parent, 0, 1);
  const SlotLoan second = alias_of(first, 0, 1);
  auto& p = s.pool().parent(first.slot);
  p.lease.store(second.lease, std::memory_order_relaxed);
  p.where.store(second.slot, std::memory_order_relaxed);
  EXPECT_FALSE(s.pool().chain(first.slot, first.lease, 0).sole_reader);
  EXPECT_FALSE(s.pool().release(first.slot, first.lease, 0));
}

}  // namespace
}  // namespace ipcq::detail
