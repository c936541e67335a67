// What a scan finds in the shared words of a queue and its pool. The broker's own books are given.
#include "broker/stats_view.hpp"

#include <gtest/gtest.h>
#include <signal.h>

#include "eventually.hpp"
#include "unit/child.hpp"
#include "unit/segments.hpp"

namespace ipcq::detail {
namespace {

constexpr std::uint32_t kProducer = 5;
constexpr std::uint32_t kConsumer = 6;

class StatsScan : public testing::Test {
 protected:
  StatsScan() : s_(Segments::small()) {}
  // As the broker copies them, for group 0.
  QueueView view() {
    QueueView q;
    q.map = std::shared_ptr<const QueueMap>(std::shared_ptr<void>(), &s_.queue());
    q.pool = std::shared_ptr<const PoolMap>(std::shared_ptr<void>(), &s_.pool_map());
    q.stats.slots = s_.pool().payload_slots();
    GroupStats g;
    g.name = "g0";
    g.published = s_.ring().cursor(kProducers).next;
    q.next = g.published;
    q.taken[0] = s_.ring().cursor(1).next;
    g.waiting = q.next - q.taken[0];
    q.keeps[0] = true;
    q.stats.groups = {g};
    q.stats.endpoints = {endpoint(kProducer, "producer"), endpoint(kConsumer, "consumer")};
    q.blocks = {0, 1};
    q.before_ns = now_ns();
    return q;
  }
  static EndpointStats endpoint(std::uint32_t id, const char* role) {
    EndpointStats e;
    e.id = id;
    e.pid = ::getpid();
    e.role = role;
    e.state = "running";
    return e;
  }
  QueueStats scan_one() { return scan_one(view()); }
  static QueueStats scan_one(QueueView q) {
    StatsView v;
    v.queues.push_back(std::move(q));
    return scan(std::move(v)).queues.at(0);
  }

  Segments s_;
};

TEST_F(StatsScan, OfAnEmptyQueueAllSlotsAreEmpty) {
  const QueueStats q = scan_one();
  EXPECT_EQ(q.empty, 4u);
  EXPECT_EQ(q.claimed + q.ready + q.inflight + q.done + q.reading + q.quarantined, 0u);
  EXPECT_EQ(q.publish_rate, 0.0);
  EXPECT_EQ(q.blocked_by_pid, 0);
  EXPECT_EQ(q.blocked_by_group, "");
}

TEST_F(StatsScan, TheRateOfMessagesWithoutATimeIsThatSinceTheLastView) {
  for (std::uint64_t n = 0; n < 4; ++n) ASSERT_EQ(s_.send(kProducer, n), n);
  QueueView q = view();
  q.stats.published = 4;
  q.before_published = 2;
  q.before_ns = now_ns() - 2'000'000'000;
  EXPECT_NEAR(scan_one(q).publish_rate, 1.0, 0.1);
  q.before_ns = now_ns() - 100'000'000'000;
  EXPECT_NEAR(scan_one(q).publish_rate, 0.02, 0.002);
}

TEST_F(StatsScan, CountsSlotsByTheirState) {
  (void)s_.borrow(kProducer);
  (void)s_.send_slot(kProducer, 1);
  const QueueStats q = scan_one();
  EXPECT_EQ(q.empty, 2u);
  EXPECT_EQ(q.claimed, 1u);
  EXPECT_EQ(q.done, 1u);
  EXPECT_EQ(q.endpoints[0].held, 1u);  // the loan
  EXPECT_EQ(q.endpoints[1].held, 0u);
}

TEST_F(StatsScan, EachMessageStandsUnderOneTerm) {
  ASSERT_EQ(s_.send(kProducer, 1), 0u);
  ASSERT_EQ(s_.send(kProducer, 2), 1u);
  ASSERT_EQ(s_.send(kProducer, 3), 2u);
  const std::uint32_t first = s_.take(0, 1, kConsumer);
  ASSERT_NE(first, kNone);
  ASSERT_TRUE(s_.release(0, 1, kConsumer, first));
  ASSERT_NE(s_.take(0, 1, kConsumer), kNone);
  QueueStats q = scan_one();
  EXPECT_EQ(q.groups[0].waiting, 1u);
  EXPECT_EQ(q.groups[0].held, 1u);
  EXPECT_EQ(q.groups[0].delivered, 1u);
  EXPECT_EQ(q.reading, 1u);
  EXPECT_EQ(q.done, 1u);
  EXPECT_EQ(q.endpoints[1].held, 1u);
  // What was taken after the view was made still waits, in the view's terms.
  QueueView before = view();
  ASSERT_NE(s_.take(0, 1, kConsumer), kNone);
  q = scan_one(before);
  EXPECT_EQ(q.groups[0].held, 1u);
  EXPECT_EQ(q.groups[0].waiting, 1u);
  EXPECT_EQ(q.groups[0].delivered, 1u);
}

TEST_F(StatsScan, NamesWhoTookAPlaceAndHasNotPublished) {
  ASSERT_EQ(s_.send(kProducer, 1), 0u);
  EXPECT_EQ(scan_one().blocked_by_pid, 0);
  ASSERT_EQ(s_.claim(kProducer).outcome, ClaimOutcome::ok);
  EXPECT_EQ(scan_one().blocked_by_pid, ::getpid());
  QueueView q = view();
  q.stats.endpoints[0].id = 99;  // it is gone
  EXPECT_EQ(scan_one(q).blocked_by_pid, 0);
}

TEST_F(StatsScan, NamesAGroupThatNobodyReadsWhenItIsInTheWay) {
  for (std::uint64_t n = 1; n <= 3; ++n) ASSERT_NE(s_.send(kProducer, n), kNoTicket);
  EXPECT_EQ(scan_one().blocked_by_group, "");
  ASSERT_NE(s_.send(kProducer, 4), kNoTicket);  // all lines are taken
  EXPECT_EQ(scan_one().blocked_by_group, "g0");
  QueueView q = view();
  q.stats.groups[0].members = 1;
  EXPECT_EQ(scan_one(q).blocked_by_group, "");
  q = view();
  q.keeps[0] = false;
  EXPECT_EQ(scan_one(q).blocked_by_group, "");
}

TEST_F(StatsScan, NamesAGroupThatKeepsTheLastSlot) {
  (void)s_.send_slot(kProducer, 1);
  EXPECT_EQ(scan_one().blocked_by_group, "");
  for (int i = 0; i < 3; ++i) (void)s_.borrow(kProducer);
  EXPECT_EQ(scan_one().blocked_by_group, "g0");
}

TEST_F(StatsScan, SaysWhoIsStopped) {
  ipcq_test::Child child([] {
    ::raise(SIGSTOP);
    ::pause();
  });
  ASSERT_TRUE(ipcq_test::eventually([&] { return is_stopped(child.pid()); }));
  QueueView q = view();
  q.stats.endpoints[1].pid = child.pid();
  const QueueStats stats = scan_one(q);
  EXPECT_EQ(stats.endpoints[0].state, "running");
  EXPECT_EQ(stats.endpoints[1].state, "stopped");
}

TEST_F(StatsScan, CountsASharedPoolForEachOfItsQueues) {
  (void)s_.borrow(kProducer);
  StatsView v;
  v.stats.name = "b";
  v.queues.push_back(view());
  v.queues.push_back(view());
  const BrokerStats stats = scan(std::move(v));
  EXPECT_EQ(stats.name, "b");
  ASSERT_EQ(stats.queues.size(), 2u);
  EXPECT_EQ(stats.queues[0].claimed, 1u);
  EXPECT_EQ(stats.queues[1].claimed, 1u);
  EXPECT_EQ(stats.queues[1].empty, 3u);
}

TEST(StatsScanOfAnExecutor, TellsWhatWaitsIsWorkedOnAndDone) {
  QueueOptions o = Segments::small();
  o.handler = "invert";
  Segments s(o);
  for (std::uint64_t n = 1; n <= 3; ++n) ASSERT_NE(s.send(kProducer, n), kNoTicket);
  s.control().taken.store(2, std::memory_order_relaxed);
  s.ring().write_out(0, Segments::inline_message(1), nullptr);
  QueueView q;
  q.map = std::shared_ptr<const QueueMap>(std::shared_ptr<void>(), &s.queue());
  q.pool = std::shared_ptr<const PoolMap>(std::shared_ptr<void>(), &s.pool_map());
  q.next = 3;
  q.stats.groups.resize(1);
  StatsView v;
  v.queues.push_back(q);
  const QueueStats stats = scan(std::move(v)).queues.at(0);
  EXPECT_EQ(stats.done, 1u);
  EXPECT_EQ(stats.inflight, 1u);
  EXPECT_EQ(stats.ready, 1u);
}

TEST(Minus, EndsAtZero) {
  EXPECT_EQ(minus(5, 3), 2u);
  EXPECT_EQ(minus(3, 5), 0u);
}

}  // namespace
}  // namespace ipcq::detail
