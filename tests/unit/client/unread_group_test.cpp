// Why a producer may wait for ever, as it sees it in shared memory.
#include "client/unread_group.hpp"

#include <gtest/gtest.h>

#include <cstring>

#include "unit/segments.hpp"

namespace ipcq::detail {
namespace {

class UnreadGroup : public testing::Test {
 protected:
  static QueueOptions options(Backpressure backpressure, std::size_t groups) {
    QueueOptions o = Segments::small(groups);
    o.backpressure = backpressure;
    return o;
  }
  void fill() {
    std::uint64_t n = 0;
    while (s_.send(5, ++n) != kNoTicket) {
    }
  }
  void add_consumer(unsigned group) {
    Endpoint& e = s_.queue().endpoint(group);
    e.kind = static_cast<std::uint32_t>(EndpointKind::consumer);
    e.group = group;
    e.client.store(7 + group, std::memory_order_release);
  }
  Segments s_{options(Backpressure::block, 2)};
};

TEST_F(UnreadGroup, IsNoneWhileThereIsRoom) {
  EXPECT_EQ(unread_group(s_.queue(), false), "");
  ASSERT_NE(s_.send(5, 1), kNoTicket);
  EXPECT_EQ(unread_group(s_.queue(), false), "");
}

TEST_F(UnreadGroup, HasNoConsumerAndHoldsEveryLine) {
  fill();
  EXPECT_EQ(unread_group(s_.queue(), false), "g0");
  add_consumer(0);
  EXPECT_EQ(unread_group(s_.queue(), false), "g1");
  add_consumer(1);
  EXPECT_EQ(unread_group(s_.queue(), false), "");
}

TEST_F(UnreadGroup, AProducerIsNoReader) {
  fill();
  add_consumer(0);
  s_.queue().endpoint(0).kind = static_cast<std::uint32_t>(EndpointKind::producer);
  EXPECT_EQ(unread_group(s_.queue(), false), "g0");
}

TEST_F(UnreadGroup, HoldsASlotWithTheFirstMessage) {
  EXPECT_EQ(unread_group(s_.queue(), true), "");
  ASSERT_NE(s_.send(5, 1), kNoTicket);
  EXPECT_EQ(unread_group(s_.queue(), true), "g0");
}

TEST_F(UnreadGroup, ALossyOneHoldsNothing) {
  fill();
  s_.control().group[0].policy.store(3, std::memory_order_relaxed);
  EXPECT_EQ(unread_group(s_.queue(), false), "g1");
}

TEST_F(UnreadGroup, WhereTheOldestIsDiscardedThereIsNone) {
  Segments s(options(Backpressure::drop_oldest, 1));
  for (std::uint64_t n = 1; n <= 4; ++n) ASSERT_NE(s.send(5, n), kNoTicket);
  EXPECT_EQ(unread_group(s.queue(), false), "");
}

TEST_F(UnreadGroup, ItsNameIsReadWithinItsFieldHoweverDamaged) {
  fill();
  std::memset(s_.control().group[0].name, 'x', kNameBytes);
  EXPECT_EQ(unread_group(s_.queue(), false), std::string(kNameBytes, 'x'));
}

}  // namespace
}  // namespace ipcq::detail
