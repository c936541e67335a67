// Which message a producer without room discards.
#include "client/discard.hpp"

#include <gtest/gtest.h>

#include "unit/segments.hpp"

namespace ipcq::detail {
namespace {

constexpr std::uint32_t kWriter = 5;
constexpr std::uint32_t kReader = 6;

class DiscardTest : public testing::Test {
 protected:
  // Four lines and four slots; group 0 must get every message, group 1 may lose some.
  static QueueOptions options(Backpressure backpressure) {
    QueueOptions o = Segments::small(2);
    o.backpressure = backpressure;
    o.groups[1].policy = GroupPolicy::lossy;
    return o;
  }
  static bool discard(Segments& s, bool for_slot = false) {
    return discard_oldest(s.queue(), s.pool_map(), kWriter, for_slot);
  }
  static std::uint64_t dropped(Segments& s, unsigned g) {
    return s.control().group[g].dropped.load(std::memory_order_relaxed);
  }
  static std::uint64_t at(Segments& s, unsigned g) { return s.ring().cursor(1 + g).next; }
  static void send(Segments& s, std::uint64_t count) {
    for (std::uint64_t n = 0; n < count; ++n) ASSERT_NE(s.send(kWriter, n), kNoTicket);
  }
  // Group 0 takes `count` messages and is done with them.
  static void read(Segments& s, int count) {
    for (int n = 0; n < count; ++n) ASSERT_TRUE(s.release(0, 0, kReader, s.take(0, 0, kReader)));
  }

  Segments blocks_{options(Backpressure::block)};
  Segments drops_{options(Backpressure::drop_oldest)};
};

TEST_F(DiscardTest, OfALossyGroupItIsWhatLiesAWholeLapBack) {
  send(blocks_, 3);
  read(blocks_, 3);
  EXPECT_FALSE(discard(blocks_)) << "a line is free still";
  send(blocks_, 1);
  read(blocks_, 1);
  EXPECT_TRUE(discard(blocks_));
  EXPECT_EQ(at(blocks_, 1), 1u);
  EXPECT_EQ(dropped(blocks_, 1), 1u);
  EXPECT_EQ(dropped(blocks_, 0), 0u);
  EXPECT_FALSE(discard(blocks_));
  EXPECT_NE(blocks_.send(kWriter, 4), kNoTicket) << "its line is free now";
}

TEST_F(DiscardTest, NothingWhileAGroupThatMustGetAllLagsAsMuch) {
  send(blocks_, 4);
  EXPECT_FALSE(discard(blocks_));
  read(blocks_, 1);
  EXPECT_TRUE(discard(blocks_));
  EXPECT_FALSE(discard(blocks_)) << "the other group needs the next one";
}

TEST_F(DiscardTest, AQueueThatDropsTheOldestDoesSoForEveryGroup) {
  send(drops_, 4);
  EXPECT_TRUE(discard(drops_));
  EXPECT_TRUE(discard(drops_));
  EXPECT_EQ(dropped(drops_, 0) + dropped(drops_, 1), 2u);
  EXPECT_EQ(at(drops_, 0), 1u);
  EXPECT_EQ(at(drops_, 1), 1u);
}

TEST_F(DiscardTest, ForASlotItIsAnyThatIsUntaken) {
  const SlotLoan loan = drops_.send_slot(kWriter, 0);
  EXPECT_FALSE(discard(drops_)) << "lines are free";
  EXPECT_TRUE(discard(drops_, true));
  EXPECT_EQ(drops_.pool().slot(loan.slot).state, SlotState::message) << "another group has yet to read it";
  EXPECT_TRUE(discard(drops_, true));
  EXPECT_EQ(drops_.pool().slot(loan.slot).state, SlotState::free);
  EXPECT_FALSE(discard(drops_, true)) << "nothing is left";
}

TEST_F(DiscardTest, WhatIsNotPublishedStays) {
  ASSERT_EQ(drops_.claim(kWriter, 4).count, 4u);
  EXPECT_FALSE(discard(drops_));
  EXPECT_EQ(at(drops_, 0), 0u);
}

TEST_F(DiscardTest, ATombstoneIsNotCounted) {
  const PublishClaim c = drops_.claim(kWriter, 1);
  Descriptor tombstone;
  tombstone.kind = LineKind::tombstone;
  drops_.ring().write(c.ticket, tombstone, nullptr);
  EXPECT_TRUE(discard(drops_, true));
  EXPECT_EQ(dropped(drops_, 0) + dropped(drops_, 1), 0u);
}

}  // namespace
}  // namespace ipcq::detail
