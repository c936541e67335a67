#include "broker/stream_end.hpp"

#include <gtest/gtest.h>

#include "broker/parts.hpp"

namespace ipcq::detail {
namespace {

class StreamEndTest : public testing::Test {
 protected:
  Parts parts_;
  QueueEntry& q_ = parts_.create("q", Parts::small());
};

TEST_F(StreamEndTest, AStreamThatNobodyBeganDoesNotEnd) {
  announce_end_if_due(q_);
  EXPECT_EQ(end_ticket(q_), kNoTicket);
}

TEST_F(StreamEndTest, IsBehindTheLastMessageOnceAllProducersHaveClosed) {
  q_.producers_opened = 2;
  q_.producers = 1;
  ASSERT_TRUE(send(q_, 2));
  announce_end_if_due(q_);
  EXPECT_EQ(end_ticket(q_), kNoTicket);
  q_.producers = 0;
  announce_end_if_due(q_);
  EXPECT_EQ(end_ticket(q_), 1u);
  EXPECT_EQ(q_.map->control().end_count.load(std::memory_order_relaxed), 1u);
  announce_end_if_due(q_);
  EXPECT_EQ(q_.map->control().end_count.load(std::memory_order_relaxed), 1u) << "it ends once";
}

TEST_F(StreamEndTest, WaitsForThePlaceOfAProducerThatDied) {
  q_.producers_opened = 1;
  q_.producers_lost = 1;
  announce_end_if_due(q_);
  EXPECT_EQ(end_ticket(q_), kNoTicket);
  end_stream(q_);
  EXPECT_EQ(end_ticket(q_), 0u);
  EXPECT_EQ(q_.producers_lost, 0u);
}

TEST_F(StreamEndTest, AUserMayEndOneThatNobodyBegan) {
  end_stream(q_);
  EXPECT_EQ(end_ticket(q_), 0u);
}

TEST_F(StreamEndTest, ANewProducerTakesItBack) {
  end_stream(q_);
  take_end_back(q_);
  EXPECT_EQ(end_ticket(q_), kNoTicket);
}

TEST_F(StreamEndTest, MovesBehindWhatTheBrokerPublishesOnlyIfItWasThere) {
  ASSERT_TRUE(send(q_, kBrokerClient));
  move_end(q_);
  EXPECT_EQ(end_ticket(q_), kNoTicket);
  end_stream(q_);
  ASSERT_TRUE(send(q_, kBrokerClient));
  move_end(q_);
  EXPECT_EQ(end_ticket(q_), 2u);
}

TEST_F(StreamEndTest, ALostQueueHasNone) {
  q_.producers_opened = 1;
  q_.lost = true;
  announce_end_if_due(q_);
  EXPECT_EQ(end_ticket(q_), kNoTicket);
}

TEST_F(StreamEndTest, NothingGoesInWhileItDrains) {
  ASSERT_TRUE(send(q_, 2));
  begin_draining(q_);
  EXPECT_FALSE(send(q_, 2));
}

TEST_F(StreamEndTest, AClosedQueueCountsWhatIsLeftWithoutTombstones) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(send(q_, 2));
  add_tombstones(q_, {1});
  std::uint32_t entry = kNone;
  auto member = q_.map->member(0, 1, 6);
  ASSERT_EQ(member.take_one(entry).count, 1u);
  q_.endpoints[1].client = 6;
  q_.endpoints[1].kind = EndpointKind::consumer;
  begin_draining(q_);
  const Leftover left = close_queue(q_);
  EXPECT_EQ(left.messages, 1u) << "one is held, one is no message";
  EXPECT_EQ(left.held, 1u);
  EXPECT_EQ(member.take_one(entry).count, 0u) << "nothing is handed out any more";
}

}  // namespace
}  // namespace ipcq::detail
