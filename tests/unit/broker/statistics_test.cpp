// What a view has from the broker's records and the queues' cursors. What scan() adds: stats_view_test.cpp.
#include "broker/statistics.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/deadline.hpp"
#include "broker/parts.hpp"

namespace ipcq::detail {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class StatisticsTest : public testing::Test {
 protected:
  static QueueOptions two_groups() {
    QueueOptions o = Parts::small();
    o.groups = {{"first", GroupPolicy::must}, {"second", GroupPolicy::lossy}};
    return o;
  }
  QueueView view() const { return view_of(q_, {}); }
  // Has endpoint `index` open, as a member of group `g` or as a producer.
  void open(std::size_t index, EndpointKind kind, unsigned g = 0) {
    EndpointEntry& e = q_.endpoints[index];
    e.client = static_cast<std::uint32_t>(10 + index);
    e.kind = kind;
    e.group = g;
    e.pid = 1000;
    e.uid = 33;
    e.session = 77;
  }
  Endpoint& shared(std::uint32_t index) const { return q_.map->endpoint(index); }
  // Has the group's cursor pass one message.
  void take(unsigned g) const {
    std::uint32_t entry = kNone;
    ASSERT_EQ(q_.map->member(g, 0, 10).take_one(entry).count, 1u);
  }

  Parts parts_;
  QueueEntry& q_ = parts_.create("q", two_groups());
};

TEST_F(StatisticsTest, AQueueIsDescribedByItsOptions) {
  const QueueView v = view();
  EXPECT_EQ(v.stats.name, "q");
  EXPECT_EQ(v.stats.pool, "q");
  EXPECT_EQ(v.stats.handler, "");
  EXPECT_EQ(v.stats.backend, "host");
  EXPECT_EQ(v.stats.executor, "none");
  EXPECT_EQ(v.stats.backpressure, to_string(Backpressure::block));
  EXPECT_EQ(v.stats.state, "open");
  EXPECT_EQ(v.stats.slots, 4u);
  EXPECT_GE(v.stats.slot_bytes, 64u);
  EXPECT_EQ(v.stats.lines, 4u);
  EXPECT_EQ(v.stats.batch, "messages");
  EXPECT_THAT(v.stats.endpoints, IsEmpty());
  EXPECT_EQ(v.map, q_.map);
  EXPECT_EQ(v.pool, q_.pool->map);
}

TEST_F(StatisticsTest, AQueueWithAHandlerHasAnExecutorAndOneThatSharesNamesItsPool) {
  QueueOptions o = Parts::small();
  o.handler = "invert";
  o.pool = "q";
  const QueueStats s = view_of(parts_.create("handled", o), {}).stats;
  EXPECT_EQ(s.handler, "invert");
  EXPECT_EQ(s.executor, "host");
  EXPECT_EQ(s.pool, "q");
}

TEST_F(StatisticsTest, TheStateIsThatOfTheSharedWord) {
  auto& state = q_.map->control().state;
  state.store(static_cast<std::uint64_t>(QueueState::draining), std::memory_order_relaxed);
  EXPECT_EQ(view().stats.state, "draining");
  state.store(static_cast<std::uint64_t>(QueueState::closed), std::memory_order_relaxed);
  EXPECT_EQ(view().stats.state, "closed");
  state.store(99, std::memory_order_relaxed);
  EXPECT_EQ(view().stats.state, "unknown");
}

TEST_F(StatisticsTest, MessagesAreCountedWithoutTombstones) {
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(send(q_, 2));
  take(0);
  add_tombstones(q_, {0, 2});
  q_.groups[1].joined_at = 1;
  const QueueView v = view();
  EXPECT_EQ(v.next, 4u);
  EXPECT_EQ(v.stats.tombstones, 2u);
  EXPECT_EQ(v.stats.published, 2u);
  ASSERT_EQ(v.stats.groups.size(), 2u);
  EXPECT_EQ(v.stats.groups[0].published, 2u);
  EXPECT_EQ(v.stats.groups[0].waiting, 2u) << "of tickets 1 to 3, ticket 2 is a tombstone";
  EXPECT_EQ(v.taken[0], 1u);
  EXPECT_EQ(v.stats.groups[1].joined_at, 1u);
  EXPECT_EQ(v.stats.groups[1].published, 2u) << "tombstones from before it joined are not its own";
  EXPECT_EQ(v.stats.groups[1].waiting, 2u);
  EXPECT_EQ(v.taken[1], 0u);
}

TEST_F(StatisticsTest, AGroupThatIsBeingDissolvedIsNotThere) {
  EXPECT_TRUE(view().keeps[0]);
  q_.groups[0].leaving = true;
  open(2, EndpointKind::consumer, 1);
  q_.groups[1].members = 1;
  shared(2).redelivered.store(3, std::memory_order_relaxed);
  const QueueView v = view();
  ASSERT_EQ(v.stats.groups.size(), 1u);
  EXPECT_EQ(v.stats.groups[0].name, "second");
  EXPECT_EQ(v.groups[0], 1u);
  EXPECT_FALSE(v.keeps[0]) << "a lossy one";
  EXPECT_TRUE(v.stats.groups[0].lossy);
  EXPECT_TRUE(v.stats.groups[0].durable);
  EXPECT_EQ(v.stats.groups[0].members, 1u);
  EXPECT_EQ(v.stats.groups[0].redelivered, 3u);
}

TEST_F(StatisticsTest, WhereTheOldestIsDroppedNoGroupIsWaitedFor) {
  q_.options.backpressure = Backpressure::drop_oldest;
  EXPECT_FALSE(view().keeps[0]);
}

TEST_F(StatisticsTest, LossesAreThoseOfTheGroupItsMembersAndTheExecutorSinceItJoined) {
  q_.groups[0].lost = 1;
  q_.groups[0].redelivered = 100;
  q_.groups[0].damaged_before = 5;
  q_.map->control().damaged.store(7, std::memory_order_relaxed);
  q_.map->control().group[0].dropped.store(50, std::memory_order_relaxed);
  open(0, EndpointKind::consumer);
  open(1, EndpointKind::consumer);
  open(2, EndpointKind::producer);
  for (std::uint32_t i = 0; i < 4; ++i) {  // the last endpoint is not open
    shared(i).damaged.store(10, std::memory_order_relaxed);
    shared(i).redelivered.store(1000, std::memory_order_relaxed);
  }
  const GroupStats g = view().stats.groups[0];
  EXPECT_EQ(g.lost, 1u + 2u + 20u);
  EXPECT_EQ(g.redelivered, 2100u);
  EXPECT_EQ(g.dropped, 50u);
  EXPECT_EQ(view().stats.groups[1].lost, 7u);
}

TEST_F(StatisticsTest, OpenEndpointsAreDescribed) {
  open(1, EndpointKind::producer);
  open(3, EndpointKind::consumer, 1);
  shared(1).messages.store(8, std::memory_order_relaxed);
  shared(1).bytes.store(800, std::memory_order_relaxed);
  const auto all = view().stats.endpoints;
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].id, 11u);
  EXPECT_EQ(all[0].pid, 1000);
  EXPECT_EQ(all[0].uid, 33u);
  EXPECT_EQ(all[0].role, "producer");
  EXPECT_EQ(all[0].group, "");
  EXPECT_EQ(all[0].state, "running");
  EXPECT_EQ(all[0].messages, 8u);
  EXPECT_EQ(all[0].bytes, 800u);
  EXPECT_EQ(all[1].role, "consumer");
  EXPECT_EQ(all[1].group, "second");
  EXPECT_THAT(view().blocks, ElementsAre(3)) << "of consumers only";
  q_.endpoints[3].session = 78;
  const auto with_suspect = view_of(q_, {78}).stats.endpoints;
  EXPECT_EQ(with_suspect[0].state, "running");
  EXPECT_EQ(with_suspect[1].state, "suspect");
}

TEST_F(StatisticsTest, EachMessageIsOneRecordWhereNoneArePacked) {
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(send(q_, 11));
  add_tombstones(q_, {1});
  open(1, EndpointKind::producer);
  open(2, EndpointKind::consumer);
  q_.groups[0].records = 100;
  for (std::uint32_t i = 0; i < 4; ++i) {
    shared(i).messages.store(10 + i, std::memory_order_relaxed);
    shared(i).more_records.store(5000, std::memory_order_relaxed);  // nobody stores it there
  }
  const QueueStats s = view().stats;
  EXPECT_EQ(s.records, 2u) << "as many as published, also by a producer that was killed";
  EXPECT_EQ(s.groups[0].records, 112u);
  EXPECT_EQ(s.groups[1].records, 0u);
  ASSERT_EQ(s.endpoints.size(), 2u);
  EXPECT_EQ(s.endpoints[0].records, 11u);
  EXPECT_EQ(s.endpoints[1].records, 12u);
}

TEST_F(StatisticsTest, RecordsAreThoseThatEndpointsCount) {
  QueueOptions o = two_groups();
  o.batch = Batch::records;
  QueueEntry& packed = parts_.create("packed", o);
  const auto open = [&](std::size_t i, EndpointKind kind, unsigned group = 0) {
    packed.endpoints[i].client = static_cast<std::uint32_t>(10 + i);
    packed.endpoints[i].kind = kind;
    packed.endpoints[i].group = group;
    packed.map->endpoint(static_cast<std::uint32_t>(i)).messages.store(1, std::memory_order_relaxed);
    packed.map->endpoint(static_cast<std::uint32_t>(i)).more_records.store(19 + i, std::memory_order_relaxed);
  };
  open(0, EndpointKind::producer);
  open(1, EndpointKind::producer);
  open(2, EndpointKind::consumer);
  open(3, EndpointKind::consumer, 1);
  packed.records = 300;
  packed.groups[1].records = 4000;
  ASSERT_TRUE(send(packed, 10));
  QueueStats s = view_of(packed, {}).stats;
  EXPECT_EQ(s.batch, "records");
  EXPECT_EQ(s.published, 1u);
  EXPECT_EQ(s.records, 300u + 20 + 21);
  EXPECT_EQ(s.groups[0].records, 22u);
  EXPECT_EQ(s.groups[1].records, 4023u);
  EXPECT_EQ(s.endpoints[1].messages, 1u);
  EXPECT_EQ(s.endpoints[1].records, 21u);
  packed.endpoints[1].client = 0;
  s = view_of(packed, {}).stats;
  EXPECT_EQ(s.records, 300u + 20) << "one that is not open is in the sum of the closed ones, if at all";
}

TEST_F(StatisticsTest, TheRateCountsFromTheViewBefore) {
  const std::uint64_t created = q_.rate_at_ns;
  const QueueView first = view();
  EXPECT_EQ(first.before_published, 0u);
  EXPECT_EQ(first.before_ns, created);
  const std::uint64_t between = now_ns();
  ASSERT_TRUE(send(q_, 2));
  ASSERT_TRUE(send(q_, 2));
  const QueueView second = view();
  EXPECT_EQ(second.before_published, 0u);
  EXPECT_GE(second.before_ns, created);
  EXPECT_LE(second.before_ns, between);
  const QueueView third = view();
  EXPECT_EQ(third.before_published, 2u);
  EXPECT_GE(third.before_ns, between);
}

TEST_F(StatisticsTest, ABrokersViewHasAllQueuesAndTheSizeOfEachSegmentOnce) {
  QueueOptions sharing = Parts::small();
  sharing.pool = "q";
  const QueueEntry& other = parts_.create("other", sharing);
  parts_.registry.create_pool("lone", {.slots = 2, .size = 64});
  const StatsView v = parts_.statistics.view();
  ASSERT_EQ(v.queues.size(), 2u);
  EXPECT_EQ(v.queues[0].stats.name, "other");
  EXPECT_EQ(v.queues[1].stats.name, "q");
  EXPECT_EQ(v.stats.name, parts_.context.name.name());
  EXPECT_EQ(v.stats.pid, ::getpid());
  EXPECT_EQ(v.stats.abi, kAbiVersion);
  EXPECT_EQ(v.stats.runner_deaths, 0u);
  EXPECT_LE(v.stats.uptime_ns, now_ns());
  EXPECT_EQ(v.stats.shm_bytes, q_.map->segment().size() + other.map->segment().size() + q_.pool->map->segment().size() +
                                   parts_.registry.pools().at("lone")->map->segment().size());
}

TEST_F(StatisticsTest, ClientsCountOnceTheyAreAttachedAndDeathsAsTheyAreTold) {
  ConnectedClient& suspect = parts_.connect();
  parts_.connect();
  ConnectedClient& half_open = parts_.connect();
  half_open.attached = false;
  suspect.suspect = true;
  open(0, EndpointKind::producer);
  open(1, EndpointKind::producer);
  q_.endpoints[0].session = suspect.socket.get();
  parts_.statistics.count_death();
  parts_.statistics.count_death();
  const StatsView v = parts_.statistics.view();
  EXPECT_EQ(v.stats.clients, 2u);
  EXPECT_EQ(v.stats.deaths, 2u);
  EXPECT_EQ(v.queues.at(0).stats.endpoints.at(0).state, "suspect");
  EXPECT_EQ(v.queues.at(0).stats.endpoints.at(1).state, "running");
}

}  // namespace
}  // namespace ipcq::detail
