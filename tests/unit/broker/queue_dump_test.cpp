#include "broker/queue_dump.hpp"

#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <cstddef>
#include <string>

#include "broker/parts.hpp"
#include "broker/stream_end.hpp"
#include "eventually.hpp"
#include "unit/child.hpp"

namespace ipcq::detail {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class QueueDumpTest : public testing::Test {
 protected:
  std::string text() const { return to_text(dump_of(q_)); }
  PublishClaim claim() {
    std::uint64_t limit = 0;
    return q_.map->ring().claim_publish(kProducer, 1, limit);
  }
  SlotLoan borrow() {
    std::uint32_t hint = 0;
    return q_.pool->map->pool().borrow(kProducer, hint);
  }
  static std::size_t count(const std::string& text, const std::string& part) {
    std::size_t n = 0;
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
    return n;
  }

  static constexpr std::uint32_t kProducer = 5;
  static constexpr std::uint32_t kConsumer = 6;
  Parts parts_;
  QueueEntry& q_ = parts_.create("q", Parts::small());
};

TEST_F(QueueDumpTest, AnEmptyQueueHasCursorsAndNothingElse) {
  EXPECT_EQ(text(),
            "queue q: 4 lines, pool q of 4 slots\n"
            "producers' cursor: next 0, last 0 taken by client 0, groups 0x1, live 0x1; 0 open, 0 lost, end ticket -1\n"
            "group 0 default: next 0, last 0 taken by client 0, 0 members, orphan hint 0\n");
}

TEST_F(QueueDumpTest, TellsTheBrokersRecordsAndTheEndOfTheStream) {
  q_.producers = 2;
  q_.producers_lost = 1;
  q_.groups[0].members = 3;
  q_.groups[2].name = "audit";
  q_.map->control().end_ticket.store(7, std::memory_order_relaxed);
  EXPECT_THAT(text(), AllOf(HasSubstr("; 2 open, 1 lost, end ticket 7\n"), HasSubstr("default: next 0, last 0 taken"),
                            HasSubstr(", 3 members"), HasSubstr("group 2 audit: "), Not(HasSubstr("group 1"))));
}

TEST_F(QueueDumpTest, TellsWhichTicketsArePublishedAndWhoHasThem) {
  ASSERT_TRUE(send(q_, kProducer));
  ASSERT_EQ(claim().outcome, ClaimOutcome::ok);
  EXPECT_THAT(text(), AllOf(HasSubstr("next 2, last 1 taken by client 5"),
                            HasSubstr("ticket 0: lap 1, in published, readable, own\n"),
                            HasSubstr("ticket 1: lap 1, in absent, not readable, own\n")));
  std::uint32_t entry = kNone;
  ASSERT_EQ(q_.map->member(0, 0, kConsumer).take_one(entry).count, 1u);
  q_.map->ring().own(kProducers, 1).store(pack_own(1, OwnState::taken, kProducer), std::memory_order_relaxed);
  EXPECT_THAT(text(), AllOf(HasSubstr("ticket 0: lap 1, in published, readable, own [1] lap 1 done by 6\n"),
                            HasSubstr("ticket 1: lap 1, in absent, not readable, own [0] lap 1 taken by 5\n")));
}

TEST_F(QueueDumpTest, TellsThatNoTicketIsTakenAnyMore) {
  EXPECT_THAT(text(), Not(HasSubstr("closed")));
  begin_draining(q_);
  EXPECT_THAT(text(), HasSubstr("live 0x1, closed; "));
}

TEST_F(QueueDumpTest, TellsHeldEntriesOfTheEndpointsInUse) {
  ASSERT_TRUE(send(q_, kProducer));
  std::uint32_t entry = kNone;
  ASSERT_EQ(q_.map->member(0, 1, kConsumer).take_one(entry).count, 1u);
  EXPECT_THAT(text(), Not(HasSubstr("held entry"))) << "nobody has that endpoint";
  q_.endpoints[1].client = kConsumer;
  q_.endpoints[1].kind = EndpointKind::consumer;
  const std::string held = text();
  EXPECT_THAT(held, HasSubstr("held entry " + std::to_string(entry) +
                              ": state 1, client 6, group 0, deliveries 0, ticket 0\n"));
  EXPECT_EQ(count(held, "held entry"), 1u);
}

TEST_F(QueueDumpTest, TellsSlotsInUse) {
  const SlotLoan loan = borrow();
  const SlotLoan published = borrow();
  const PublishClaim c = claim();
  q_.pool->map->pool().mark_message(published, kProducer, c.groups, c.ticket);
  const std::string slots = text();
  EXPECT_THAT(slots, AllOf(HasSubstr("\nslot " + std::to_string(loan.slot) +
                                     ": state 1, lease 1, client 5, groups 0x0, ticket 0\n"),
                           HasSubstr("\nslot " + std::to_string(published.slot) +
                                     ": state 2, lease 1, client 5, groups 0x1, ticket 0\n")));
  EXPECT_EQ(count(slots, "\nslot "), 2u);
  std::uint32_t hint = 0;
  const SlotLoan alias = q_.pool->map->pool().borrow_alias(kProducer, hint, published, 0);
  ASSERT_NE(alias.slot, kNone);
  EXPECT_THAT(text(), HasSubstr("\nalias " + std::to_string(alias.slot) + ": state 1"));
}

TEST_F(QueueDumpTest, OfManyLinesAndSlotsAFewAreTold) {
  QueueOptions o = Parts::small();
  o.slots = 80;
  o.lines = 64;
  QueueEntry& big = parts_.create("big", o);
  for (int i = 0; i < 40; ++i) ASSERT_TRUE(send(big, kProducer));
  std::uint32_t hint = 0;
  for (int i = 0; i < 70; ++i) ASSERT_NE(big.pool->map->pool().borrow(kProducer, hint).slot, kNone);
  const std::string told = to_text(dump_of(big));
  EXPECT_EQ(count(told, "\nticket "), 32u);
  EXPECT_THAT(told, AllOf(HasSubstr("\nticket 8: "), HasSubstr("\nticket 39: "), Not(HasSubstr("\nticket 7: "))));
  EXPECT_EQ(count(told, "\nslot "), 64u);
}

TEST_F(QueueDumpTest, TellsWhoIsThereAndWhoIsStopped) {
  const ipcq_test::Child child([] {
    ::raise(SIGSTOP);
    ::pause();
  });
  ASSERT_TRUE(ipcq_test::eventually([&] { return is_stopped(child.pid()); }));
  q_.endpoints[0].client = kProducer;
  q_.endpoints[0].kind = EndpointKind::producer;
  q_.endpoints[0].pid = ::getpid();
  q_.endpoints[2].client = kConsumer;
  q_.endpoints[2].kind = EndpointKind::consumer;
  q_.endpoints[2].pid = child.pid();
  q_.endpoints[2].group = 3;
  EXPECT_THAT(text(), HasSubstr("producer 5: pid " + std::to_string(::getpid()) + ", group 0\nconsumer 6: pid " +
                                std::to_string(child.pid()) + " (stopped), group 3\n"));
}

TEST_F(QueueDumpTest, OutlivesItsQueueAndDoesNotFollowTheBrokersRecords) {
  q_.producers = 1;
  const QueueDump dump = dump_of(q_);
  q_.producers = 2;
  parts_.registry.queues().clear();
  parts_.registry.pools().clear();
  EXPECT_THAT(to_text(dump), AllOf(HasSubstr("queue q: 4 lines, pool q of 4 slots"), HasSubstr("; 1 open")));
}

}  // namespace
}  // namespace ipcq::detail
