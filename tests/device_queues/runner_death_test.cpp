// Queues on a GPU that end: their runner is killed, their broker stops.
#include "device_queues/traffic.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;

class Stop : public PerExecutor {};
INSTANTIATE_TEST_SUITE_P(, Stop, kBoth, executor_name);

class KilledRunner : public PerExecutor {};
INSTANTIATE_TEST_SUITE_P(, KilledRunner, kBoth, executor_name);

TEST_P(KilledRunner, ItsQueuesCloseAndComeBack) {
  QueueOptions o = on_gpu("invert");
  o.size = 1u << 20;
  broker_->create("q", o);
  broker_->create("idle", on_gpu("upper"));
  broker_->create("host", {.handler = "invert", .backend = "host"});
  broker_->create_pool("shared", {.slots = 4, .backend = "cuda"});
  QueueOptions of_pool = on_gpu("upper");
  of_pool.pool = "shared";
  broker_->create("pooled", of_pool);
  ASSERT_EQ(runners().size(), 1u);
  const pid_t first = runners().front();

  // Consumers that wait, each in its own way, and traffic with messages in flight.
  std::vector<std::future<Status>> waiters;
  for (const Wait wait : {Wait::spin(), Wait::hybrid(), Wait::sleep()}) {
    waiters.push_back(std::async(std::launch::async, [this, wait] {
      auto c = session_->consumer("idle", {.wait = wait});
      return c.receive(kBound).status();
    }));
  }
  auto host_producer = session_->producer("host");
  auto host_consumer = session_->consumer("host");
  Traffic traffic(*session_, "q", o.size);
  ASSERT_TRUE(eventually([&] { return traffic.received() > 30 && stats("idle").endpoints.size() == 3; }));
  const auto start = std::chrono::steady_clock::now();
  ASSERT_EQ(::kill(first, SIGKILL), 0);
  for (auto& w : waiters) EXPECT_EQ(w.get(), Status::closed);
  traffic.end();
  EXPECT_EQ(traffic.receiver_ended(), Status::closed);
  EXPECT_EQ(traffic.sender_ended(), Status::closed);
  EXPECT_EQ(traffic.wrong(), 0u);  // what came before was whole and in order
  std::cout << "closed after " << std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count()
            << " s\n";

  // The rest of the broker did not notice.
  ASSERT_EQ(host_producer.send("x", 1, kBound), Status::ok);
  EXPECT_TRUE(host_consumer.receive(kBound));

  for (const char* queue : {"q", "idle", "pooled"}) {
    auto p = session_->producer(queue, {.wait_for = kBound});
    auto c = session_->consumer(queue, {.wait_for = kBound});
    for (std::uint64_t n = 0; n < 10; ++n) {
      ASSERT_EQ(p.send("abcdefgh", n % 2 == 0 ? 8 : 1, kBound), Status::ok) << queue;
      auto m = c.receive(kBound);
      ASSERT_TRUE(m) << queue << ": " << to_string(m.status());
      EXPECT_TRUE(m->processed());
      EXPECT_EQ(static_cast<char>(m->bytes()[0]), queue[0] == 'q' ? static_cast<char>(~'a') : 'A') << queue;
    }
    const auto large = stamped(1, 1, 4000);
    ASSERT_EQ(p.send(large, kBound), Status::ok) << queue;
    EXPECT_TRUE(c.receive(kBound)) << queue;
  }
  EXPECT_EQ(broker_->stats().runner_deaths, 1u);
  ASSERT_EQ(runners().size(), 1u);
  EXPECT_NE(runners().front(), first);
}

TEST_P(KilledRunner, OnceMoreAndOnceMore) {
  broker_->create("q", on_gpu("invert"));
  for (std::uint64_t round = 1; round <= 3; ++round) {
    auto c = session_->consumer("q", {.wait_for = kBound});
    auto p = session_->producer("q", {.wait_for = kBound});
    ASSERT_EQ(p.send("x", 1, kBound), Status::ok);
    ASSERT_TRUE(c.receive(kBound));
    ASSERT_EQ(runners().size(), 1u);
    ASSERT_EQ(::kill(runners().front(), SIGKILL), 0);
    EXPECT_EQ(c.receive(kBound).status(), Status::closed);
    ASSERT_TRUE(eventually([&] { return broker_->stats().runner_deaths == round; }));
  }
}

// Two brokers hear of one death.
TEST_P(KilledRunner, EveryBrokerOfTheProcessRecoversOnce) {
  Broker other({.name = name_ + "-other", .log = log()});
  broker_->create("q", on_gpu("invert"));
  other.create("q", on_gpu("invert"));
  Session other_session = connect({.broker = name_ + "-other"});
  ASSERT_EQ(runners().size(), 1u);
  ASSERT_EQ(::kill(runners().front(), SIGKILL), 0);
  ASSERT_TRUE(eventually([&] { return broker_->stats().runner_deaths != 0 && other.stats().runner_deaths != 0; }));
  for (Session* s : {&*session_, &other_session}) {
    auto p = s->producer("q", {.wait_for = kBound});
    auto c = s->consumer("q", {.wait_for = kBound});
    ASSERT_EQ(p.send("x", 1, kBound), Status::ok);
    EXPECT_TRUE(c.receive(kBound));
  }
  std::this_thread::sleep_for(500ms);
  EXPECT_EQ(broker_->stats().runner_deaths, 1u);
  EXPECT_EQ(other.stats().runner_deaths, 1u);
  EXPECT_EQ(runners().size(), 1u);
}

TEST_P(KilledRunner, OneThatIsStoppedAndKilledIsNoHang) {
  broker_->create("q", on_gpu("invert"));
  auto c = session_->consumer("q", {.wait = Wait::sleep()});
  auto p = session_->producer("q");
  const pid_t runner = runners().at(0);
  ASSERT_EQ(::kill(runner, SIGSTOP), 0);
  for (int n = 0; n < 20; ++n) ASSERT_EQ(p.send("x", 1, kBound), Status::ok);
  std::this_thread::sleep_for(50ms);
  ASSERT_EQ(::kill(runner, SIGKILL), 0);
  Status last = Status::ok;
  while (last == Status::ok) last = c.receive(kBound).status();
  EXPECT_EQ(last, Status::closed);
}

TEST_P(Stop, StopEndsWithMessagesInFlight) {
  QueueOptions o = on_gpu("invert");
  o.size = 1u << 20;
  broker_->create("q", o);
  broker_->create("unread", o);
  auto p = session_->producer("unread");
  for (int n = 0; n < 8; ++n) ASSERT_EQ(p.send(stamped(1, 0, 100'000), kBound), Status::ok);
  Traffic traffic(*session_, "q", o.size);
  ASSERT_TRUE(eventually([&] { return traffic.received() > 30; }));
  const std::uint64_t left = broker_->stop();
  EXPECT_GE(left, 8u);
  traffic.end();
  EXPECT_EQ(traffic.sender_ended(), Status::closed);
  // The end, where the one producer heard of the stop and closed cleanly before the broker was gone.
  EXPECT_THAT(traffic.receiver_ended(), testing::AnyOf(Status::closed, Status::end));
  EXPECT_EQ(traffic.wrong(), 0u);
  EXPECT_EQ(p.send("x", 1, kBound), Status::closed);
}

TEST_P(Stop, StopDrainsWhatIsInFlight) {
  QueueOptions o = on_gpu("invert");
  o.size = 1u << 20;
  broker_->create("q", o);
  Traffic traffic(*session_, "q", o.size);
  ASSERT_TRUE(eventually([&] { return traffic.received() > 30; }));
  EXPECT_EQ(broker_->stop(kBound), 0u);
  traffic.end();
  EXPECT_EQ(traffic.received(), traffic.sent());
  EXPECT_EQ(traffic.wrong(), 0u);
}

}  // namespace
}  // namespace ipcq_test
