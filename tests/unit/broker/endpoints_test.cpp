#include "broker/endpoints.hpp"

#include <gmock/gmock.h>

#include "broker/parts.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class EndpointsTest : public testing::Test {
 protected:
  Reply producer() { return parts_.open(client_, Op::open_producer, "q"); }
  Reply consumer(const std::string& group = "default") { return parts_.open(client_, Op::open_consumer, "q", group); }
  void close(const Reply& r, Closing how) { parts_.endpoints.close(client_, r.client, how); }

  Parts parts_;
  QueueEntry& q_ = parts_.create("q", Parts::small());
  ConnectedClient& client_ = parts_.connect();
};

TEST_F(EndpointsTest, OneThatOpensIsInTheBooksAndInSharedMemory) {
  const Reply r = consumer();
  ASSERT_EQ(r.refusal, Refusal::none);
  EXPECT_EQ(r.durable, 1u);
  EXPECT_EQ(std::string(r.queue_segment), q_.map->segment().name());
  const Endpoint& shared = q_.map->endpoint(r.endpoint);
  EXPECT_EQ(shared.client.load(std::memory_order_relaxed), r.client);
  EXPECT_EQ(shared.pid, getpid());
  EXPECT_EQ(q_.groups[0].members, 1u);
  EXPECT_TRUE(parts_.registry.ids().is_in_use(r.client));
  EXPECT_EQ(parts_.endpoints.open_of(client_), Endpoints::Open::some);
  close(r, Closing::clean);
  EXPECT_EQ(shared.client.load(std::memory_order_relaxed), 0u);
  EXPECT_EQ(q_.groups[0].members, 0u);
  EXPECT_FALSE(parts_.registry.ids().is_in_use(r.client));
  EXPECT_EQ(parts_.endpoints.open_of(client_), Endpoints::Open::none);
}

TEST_F(EndpointsTest, OnlyAnAttachedClientOfALivingBrokerOpensOne) {
  client_.attached = false;
  EXPECT_THAT(producer().text, HasSubstr("said no hello"));
  client_.attached = true;
  EXPECT_THROW(parts_.open(client_, Op::open_producer, "other"), NotFoundError);
  parts_.context.stopped = true;
  EXPECT_THAT(producer().text, HasSubstr("its broker is stopping"));
}

TEST_F(EndpointsTest, AreAsManyAsTheQueueHas) {
  for (int i = 0; i < 4; ++i) ASSERT_EQ(producer().refusal, Refusal::none);
  EXPECT_THAT(producer().text, HasSubstr("all 4 endpoints are in use"));
}

TEST_F(EndpointsTest, TheLastProducerThatClosesEndsTheStream) {
  const Reply a = producer();
  const Reply b = producer();
  close(a, Closing::clean);
  EXPECT_EQ(end_ticket(q_), kNoTicket);
  close(b, Closing::clean);
  EXPECT_EQ(end_ticket(q_), 0u);
  (void)producer();
  EXPECT_EQ(end_ticket(q_), kNoTicket) << "a new one takes the end back";
}

TEST_F(EndpointsTest, AProducerThatBreaksOffLeavesItsPlaceToTheNext) {
  close(producer(), Closing::broken_off);
  EXPECT_EQ(q_.producers_lost, 1u);
  EXPECT_EQ(end_ticket(q_), kNoTicket);
  const Reply successor = producer();
  EXPECT_EQ(q_.producers_lost, 0u);
  close(successor, Closing::never_used);
  EXPECT_EQ(q_.producers_lost, 1u) << "it has not come in that place after all";
  close(producer(), Closing::clean);
  EXPECT_EQ(end_ticket(q_), 0u);
}

TEST_F(EndpointsTest, AProducerThatWasNeverUsedBeganNoStream) {
  close(producer(), Closing::never_used);
  EXPECT_EQ(q_.producers_opened, 0u);
  EXPECT_EQ(end_ticket(q_), kNoTicket);
}

TEST_F(EndpointsTest, OnlyItsOwnSessionClosesOne) {
  const Reply r = producer();
  const ConnectedClient& other = parts_.connect();
  parts_.endpoints.close(other, r.client, Closing::clean);
  EXPECT_EQ(q_.producers, 1u);
}

TEST_F(EndpointsTest, AnEphemeralGroupIsDissolvedBehindItsLastMember) {
  const Reply r = consumer("audit");
  EXPECT_EQ(r.durable, 0u);
  EXPECT_FALSE(parts_.endpoints.is_dissolving());
  close(r, Closing::clean);
  EXPECT_TRUE(parts_.endpoints.is_dissolving());
  EXPECT_FALSE(parts_.endpoints.dissolve());
  EXPECT_TRUE(q_.groups[1].name.empty());
}

// Its entry in device memory has no room for more.
TEST_F(EndpointsTest, AConsumerWithAGpuIsRefusedWhereLinesCarryMoreThanItsEntriesHold) {
  const auto with_gpu = [&](const char* queue, Op op) { return parts_.open(client_, op, queue, "default", kUsesCuda); };
  for (const std::uint32_t line : {64u, 128u, 192u, 2048u}) {
    const std::string name = "line" + std::to_string(line);
    QueueOptions options = Parts::small();
    options.line = line;
    (void)parts_.create(name, options);
    const Reply reply = with_gpu(name.c_str(), Op::open_consumer);
    EXPECT_EQ(reply.refusal, line <= 128 ? Refusal::none : Refusal::backend) << line;
    if (line > 128) {
      EXPECT_THAT(reply.text, AllOf(HasSubstr("queue '" + name + "'"), HasSubstr("line=128 or less")));
    }
    EXPECT_EQ(with_gpu(name.c_str(), Op::open_producer).refusal, Refusal::none) << line;
    EXPECT_EQ(parts_.open(client_, Op::open_consumer, name.c_str()).refusal, Refusal::none) << line;
  }
}

TEST_F(EndpointsTest, OnlyAClientThatIsLetInSwitchesTheExecutor) {
  q_.map = QueueMap::create(parts_.context.name.segment("queue", "q", 7), "q", q_.options,
                            QueueMap::Executed::by_device, q_.pool->map->config(), 7, {});
  q_.asked = ExecutorKind::persistent;
  const auto with_gpu = [&](const std::string& group, std::uint32_t flags) {
    return parts_.open(client_, Op::open_consumer, "q", group, kUsesCuda | flags);
  };
  EXPECT_THAT(with_gpu("default", kLossy).text, HasSubstr("is not lossy"));
  EXPECT_THROW((void)with_gpu("-", 0), UsageError);
  EXPECT_EQ(q_.asked, ExecutorKind::persistent);
  EXPECT_EQ(q_.map->ring().cursor(kProducers).next, 0u);
  ASSERT_EQ(with_gpu("default", 0).refusal, Refusal::none);
  EXPECT_EQ(q_.asked, ExecutorKind::stream);
}

TEST_F(EndpointsTest, WhatADeadConsumerHeldIsGivenBack) {
  const Reply p = producer();
  const Reply c = consumer();
  ASSERT_TRUE(send(q_, p.client));
  std::uint32_t entry = kNone;
  ASSERT_EQ(q_.map->member(0, c.endpoint, c.client).take_one(entry).count, 1u);
  parts_.endpoints.close_all({&client_}, Closing::broken_off);
  EXPECT_EQ(q_.producers_lost, 1u);
  EXPECT_EQ(q_.kept[c.endpoint], 1u);
  const Reply next = consumer();
  EXPECT_NE(next.endpoint, c.endpoint) << "there are endpoints with all entries free";
  ASSERT_EQ(q_.map->member(0, next.endpoint, next.client).take_one(entry).count, 1u);
}

TEST_F(EndpointsTest, WhatAnEndpointCountedOutlivesIt) {
  QueueOptions o = Parts::small();
  o.batch = Batch::records;
  QueueEntry& packed = parts_.create("packed", o);
  const auto count = [](const QueueEntry& q, const Reply& r, std::uint64_t messages, std::uint64_t records) {
    q.map->endpoint(r.endpoint).messages.store(messages, std::memory_order_relaxed);
    q.map->endpoint(r.endpoint).more_records.store(records - messages, std::memory_order_relaxed);
  };
  const Reply p = parts_.open(client_, Op::open_producer, "packed");
  const Reply c = parts_.open(client_, Op::open_consumer, "packed");
  count(packed, p, 1, 30);
  count(packed, c, 1, 20);
  close(p, Closing::clean);
  close(c, Closing::clean);
  EXPECT_EQ(packed.records, 30u);
  EXPECT_EQ(packed.groups[0].records, 20u);
  // Two that die. Their endpoints are those of the others, and count from 0.
  const Reply killed_producer = parts_.open(client_, Op::open_producer, "packed");
  const Reply killed_consumer = parts_.open(client_, Op::open_consumer, "packed");
  for (std::uint32_t i = 0; i < 4; ++i) EXPECT_TRUE(packed.endpoints[i].client == 0 || records_of(packed, i) == 0) << i;
  count(packed, killed_producer, 1, 4);
  count(packed, killed_consumer, 1, 3);
  parts_.endpoints.close_all({&client_}, Closing::broken_off);
  EXPECT_EQ(packed.records, 34u);
  EXPECT_EQ(packed.groups[0].records, 23u);
}

TEST_F(EndpointsTest, WhereNoRecordsArePackedMessagesAreCounted) {
  const Reply c = consumer();
  q_.map->endpoint(c.endpoint).messages.store(7, std::memory_order_relaxed);
  close(c, Closing::clean);
  EXPECT_EQ(q_.groups[0].records, 7u);
}

TEST_F(EndpointsTest, ATicketThatADeadProducerTookBecomesATombstone) {
  const Reply p = producer();
  std::uint64_t limit = 0;
  ASSERT_EQ(q_.map->ring().claim_publish(p.client, 1, limit).outcome, ClaimOutcome::ok);
  parts_.endpoints.close_all({&client_}, Closing::broken_off);
  EXPECT_THAT(q_.tombstones, testing::ElementsAre(0));
}

}  // namespace
}  // namespace ipcq::detail
