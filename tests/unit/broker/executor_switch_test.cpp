#include "broker/executor_switch.hpp"

#include <gmock/gmock.h>

#include "broker/parts.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

using testing::ElementsAre;

// A queue that says of itself that a runner has its executor; no runner is there, so nothing is processed.
class ExecutorSwitchTest : public testing::Test {
 protected:
  QueueEntry& on_device() {
    QueueEntry& q = parts_.create("q", Parts::small());
    q.map = QueueMap::create(parts_.context.name.segment("queue", "q", 7), "q", q.options,
                             QueueMap::Executed::by_device, q.pool->map->config(), 7, {});
    q.asked = ExecutorKind::persistent;
    return q;
  }
  std::uint64_t next(const QueueEntry& q) { return q.map->ring().cursor(kProducers).next; }

  Parts parts_;
  ExecutorSwitch& switches_ = parts_.switches;
};

TEST_F(ExecutorSwitchTest, ThereIsNothingToSwitchOnTheHost) {
  EXPECT_THROW((void)switches_.set(parts_.create("q", Parts::small()), ExecutorKind::stream), UsageError);
}

TEST_F(ExecutorSwitchTest, AutoIsNoExecutorToSwitchTo) {
  EXPECT_THROW((void)switches_.set(on_device(), ExecutorKind::auto_), UsageError);
}

TEST_F(ExecutorSwitchTest, TakesATicketThatIsNoMessage) {
  QueueEntry& q = on_device();
  EXPECT_EQ(switches_.set(q, ExecutorKind::stream).refusal, Refusal::none);
  EXPECT_EQ(next(q), 1u);
  EXPECT_THAT(q.tombstones, ElementsAre(0));
  EXPECT_EQ(q.asked, ExecutorKind::stream);
  EXPECT_EQ(q.options.executor, ExecutorKind::stream) << "it holds when the queue is created anew";
}

TEST_F(ExecutorSwitchTest, AFullQueueIsBusy) {
  QueueEntry& q = on_device();
  while (send(q, 2)) {
  }
  EXPECT_EQ(switches_.set(q, ExecutorKind::stream).refusal, Refusal::busy);
  EXPECT_EQ(q.asked, ExecutorKind::persistent);
}

TEST_F(ExecutorSwitchTest, AClientWithAGpuAsksForStreamsOnce) {
  QueueEntry& q = on_device();
  switches_.prefer_stream(q);
  switches_.prefer_stream(q);
  EXPECT_EQ(next(q), 1u);
  EXPECT_FALSE(switches_.is_waiting());
}

TEST_F(ExecutorSwitchTest, WhatAUserChoseStays) {
  QueueEntry& q = on_device();
  q.options.executor = ExecutorKind::persistent;
  switches_.prefer_stream(q);
  EXPECT_EQ(next(q), 0u);
}

TEST_F(ExecutorSwitchTest, OneThatWaitsForAPlaceIsTriedAgainWhileItIsWanted) {
  QueueEntry& q = on_device();
  while (send(q, 2)) {
  }
  q.endpoints[0].client = 9;
  q.endpoints[0].uses_cuda = true;
  switches_.prefer_stream(q);
  EXPECT_TRUE(switches_.is_waiting());
  EXPECT_TRUE(switches_.try_again()) << "it is full still";
  q.endpoints[0] = EndpointEntry{};
  EXPECT_FALSE(switches_.try_again()) << "the client with the GPU has gone";
  EXPECT_FALSE(q.wants_stream);
  EXPECT_EQ(q.asked, ExecutorKind::persistent);
}

}  // namespace
}  // namespace ipcq::detail
