// Ends: of the stream, of a queue, of a broker (its stop is in stop_test.cpp); and a session that was inherited through
// fork.
#include <sys/wait.h>

#include <csignal>
#include <future>
#include <mutex>
#include <stdexcept>
#include <vector>

#include "conformance/backend.hpp"

namespace ipcq_test {
namespace {

class Lifecycle : public BackendTest {
 protected:
  // As a producer ends whose process meets an exception: broken off.
  void break_off(const std::string& queue = "q") {
    try {
      auto p = producer(queue);
      ASSERT_EQ(send(p, 9, 0), Status::ok);
      throw std::runtime_error("the producer fails");
    } catch (const std::runtime_error&) {
    }
  }
};
IPCQ_INSTANTIATE_PER_BACKEND(Lifecycle);

TEST_P(Lifecycle, TheEndComesAfterTheLastProducerAndTheLastMessage) {
  create("q");
  auto c = consumer();
  EXPECT_EQ(c.receive(kMoment).status(), Status::timeout);  // no producer yet is no end
  auto p = producer(), q = producer();
  ASSERT_EQ(send(p, 1, 0), Status::ok);
  p.close();
  EXPECT_EQ(next_sequence(c), 0);
  EXPECT_EQ(c.receive(kMoment).status(), Status::timeout);  // one is still open
  ASSERT_EQ(send(q, 2, 1), Status::ok);
  q.close();
  EXPECT_EQ(next_sequence(c), 1);
  EXPECT_EQ(c.receive(kBound).status(), Status::end);
  EXPECT_EQ(c.receive(kBound).status(), Status::end);
  EXPECT_EQ(c.receive(0ns).status(), Status::end);
  EXPECT_EQ(p.send(stamped(1, 1), kBound), Status::closed);  // it was closed by its owner
}

TEST_P(Lifecycle, TheEndWaitsForWhatOthersStillHold) {
  create("q");
  auto p = producer();
  auto holder = consumer(), other = consumer();
  ASSERT_EQ(send(p, 1, 0), Status::ok);
  auto held = holder.receive(kBound);
  ASSERT_TRUE(held);
  p.close();
  EXPECT_EQ(other.receive(kMoment).status(), Status::timeout);  // it may be given back
  auto waiting = std::async(std::launch::async, [&] { return next_sequence(other); });
  EXPECT_EQ(held->nack(), Status::ok);
  EXPECT_EQ(waiting.get(), 0);
  EXPECT_EQ(other.receive(kBound).status(), Status::end);
}

TEST_P(Lifecycle, UntilForeverOutlivesProducers) {
  create("q");
  auto c = consumer("q", "default", Until::forever);
  { auto p = producer(); }
  EXPECT_EQ(c.receive(kMoment).status(), Status::timeout);
  auto p = producer();
  ASSERT_EQ(send(p, 1, 8), Status::ok);
  EXPECT_EQ(next_sequence(c), 8);
}

TEST_P(Lifecycle, ANewProducerAfterTheEndStartsTheStreamAgain) {
  create("q");
  auto c = consumer();
  { auto p = producer(); }
  EXPECT_EQ(c.receive(kBound).status(), Status::end);
  auto p = producer();
  EXPECT_EQ(c.receive(kMoment).status(), Status::timeout);
  ASSERT_EQ(send(p, 1, 8), Status::ok);
  EXPECT_EQ(next_sequence(c), 8);
}

TEST_P(Lifecycle, AProducerThatBrokeOffGivesNoEndUntilReplaced) {
  create("q");
  auto c = consumer();
  auto other = producer();
  break_off();
  EXPECT_EQ(next_sequence(c), 0);
  other.close();
  EXPECT_EQ(c.receive(kMoment).status(), Status::timeout);
  auto replacement = producer();
  ASSERT_EQ(send(replacement, 1, 1), Status::ok);
  EXPECT_EQ(next_sequence(c), 1);
  replacement.close();
  EXPECT_EQ(c.receive(kBound).status(), Status::end);
}

// A stage that has failed says so without an exception.
TEST_P(Lifecycle, AProducerMayBreakOff) {
  create("q");
  auto c = consumer();
  auto p = producer();
  ASSERT_EQ(send(p, 1, 0), Status::ok);
  p.break_off();
  EXPECT_EQ(send(p, 1, 1), Status::closed);
  p.close();
  EXPECT_EQ(next_sequence(c), 0);
  EXPECT_EQ(c.receive(kMoment).status(), Status::timeout);
  EXPECT_EQ(broker_.stats().queues.at(0).producers_lost, 1u);
  auto replacement = producer();
  EXPECT_EQ(broker_.stats().queues.at(0).producers_lost, 0u);
  replacement.close();
  EXPECT_EQ(c.receive(kBound).status(), Status::end);
}

TEST_P(Lifecycle, TheBrokerCanSayThatNoOtherProducerComes) {
  create("q");
  auto c = consumer();
  break_off();
  EXPECT_EQ(next_sequence(c), 0);
  EXPECT_EQ(c.receive(kMoment).status(), Status::timeout);
  auto waiting = std::async(std::launch::async, [&] { return c.receive(kBound).status(); });
  broker_.end_of_stream("q");
  EXPECT_EQ(waiting.get(), Status::end);
  EXPECT_THROW(broker_.end_of_stream("other"), NotFoundError);
  create("never");  // also where none has ever come
  auto n = consumer("never");
  broker_.end_of_stream("never");
  EXPECT_EQ(n.receive(kBound).status(), Status::end);
}

// A reader of the statistics sees the same rate when another has read them just before.
TEST_P(Lifecycle, ARateIsThereAtOnceAndForEverybody) {
  create("q", {.slots = 8, .size = 100});
  auto p = producer();
  auto c = consumer();
  std::uint64_t i = 0;
  EXPECT_TRUE(eventually([&] {
    EXPECT_EQ(send(p, 1, i++, 100, kBound), Status::ok);
    EXPECT_TRUE(c.receive(kBound));
    (void)stats();
    return stats().publish_rate > 0;
  }));
}

// A group that keeps its messages and that nobody reads: a producer that waits for it logs a warning, and the
// statistics name the group.
TEST_P(Lifecycle, AProducerThatWaitsForAGroupThatNobodyReadsIsTold) {
  create("q", {.slots = 4, .size = 100, .groups = {{.name = "a"}, {.name = "b"}}});
  std::mutex mutex;
  std::vector<std::string> said;
  Session session = connect({.broker = name_, .log = [&](LogLevel level, std::string_view text) {
                               const std::scoped_lock lock(mutex);
                               if (level == LogLevel::warning) said.emplace_back(text);
                             }});
  auto c = session.consumer("q", {.group = "a"});
  auto p = session.producer("q");
  const auto warnings = [&] {
    const std::scoped_lock lock(mutex);
    return said;
  };
  EXPECT_EQ(stats().blocked_by_group, "");
  for (std::uint64_t i = 0; i < 4; ++i) {
    ASSERT_EQ(send(p, 1, i, 100), Status::ok);
    ASSERT_EQ(next_sequence(c), static_cast<std::int64_t>(i));
  }
  EXPECT_TRUE(eventually([&] { return stats().blocked_by_group == "b"; }));
  EXPECT_THAT(warnings(), testing::IsEmpty());
  for (int i = 0; i < 2; ++i) EXPECT_EQ(send(p, 1, 4, 100, std::chrono::milliseconds(1500)), Status::timeout);
  EXPECT_TRUE(eventually([&] { return !warnings().empty(); }));
  EXPECT_THAT(warnings(), testing::ElementsAre(testing::AllOf(testing::HasSubstr("'q'"), testing::HasSubstr("'b'"))));
  auto other = session.consumer("q", {.group = "b"});
  EXPECT_EQ(next_sequence(other), 0);
  EXPECT_EQ(stats().blocked_by_group, "");
}

TEST_P(Lifecycle, ABrokerLeavesNoNamesBehind) {
  create("q");
  auto p = producer();
  const auto entries_of = [&] {
    std::vector<std::string> names;
    for (const auto& b : list_brokers()) {
      if (b.name == name_) names.push_back(b.name + (b.alive ? " alive" : " dead"));
    }
    return names;
  };
  EXPECT_THAT(entries_of(), testing::ElementsAre(name_ + " alive"));
  EXPECT_NE(access(broker_.socket_path().c_str(), F_OK), -1);
  broker_.stop();
  EXPECT_THAT(entries_of(), testing::IsEmpty());
  EXPECT_EQ(access(broker_.socket_path().c_str(), F_OK), -1);
  const Broker again(BrokerOptions{.name = name_});  // the name is free
}

// `default` keeps its messages for whoever comes; that nobody does is said once.
TEST_P(Lifecycle, ABrokerWarnsOfADefaultGroupThatNobodyReads) {
  std::mutex mutex;  // the broker has a thread of its own
  std::vector<std::string> said;
  const auto warnings = [&] {
    const std::scoped_lock lock(mutex);
    return said;
  };
  Broker broker({.name = name_ + "-warns", .log = [&](LogLevel level, std::string_view text) {
                   const std::scoped_lock lock(mutex);
                   if (level == LogLevel::warning) said.emplace_back(text);
                 }});
  broker.create("q", {.slots = 2, .backend = "host"});
  broker.create("declared", {.slots = 2, .backend = "host", .groups = {{.name = "a"}, {.name = "b"}}});
  Session session = connect({.broker = name_ + "-warns"});
  { auto c = session.consumer("declared", {.group = "a"}); }
  {
    auto reader = session.consumer("q");
    auto c = session.consumer("q", {.group = "mine"});
  }
  EXPECT_THAT(warnings(), testing::IsEmpty());
  for (const char* group : {"mine", "another"}) auto c = session.consumer("q", {.group = group});
  EXPECT_TRUE(eventually([&] { return !warnings().empty(); }));
  broker.stop();
  EXPECT_THAT(warnings(),
              testing::ElementsAre(testing::AllOf(testing::HasSubstr("'q'"), testing::HasSubstr("'default'"),
                                                  testing::HasSubstr("group=NAME"))));
}

TEST_P(Lifecycle, TheFirstConsumerMayComeBeforeTheQueue) {
  auto early = std::async(std::launch::async, [&] {
    auto c = session_.consumer("q", {.wait_for = kBound});
    return next_sequence(c);
  });
  std::this_thread::sleep_for(kMoment);
  create("q");
  auto p = producer();
  ASSERT_EQ(send(p, 1, 6), Status::ok);
  EXPECT_EQ(early.get(), 6);
  EXPECT_THROW((void)session_.consumer("none", {.wait_for = kMoment}), NotFoundError);
}

TEST_P(Lifecycle, AConsumerThatFindsTheStreamOverWaitsForTheNext) {
  create("q");
  for (std::uint64_t i = 0; i < 3; ++i) {
    auto c = session_.consumer("q", {.wait = consumer_wait(), .wait_for = kBound});
    EXPECT_EQ(c.receive(kMoment).status(), Status::timeout);  // the first time there was no stream yet
    auto p = producer();
    ASSERT_EQ(send(p, 1, i), Status::ok);
    p.close();
    EXPECT_EQ(next_sequence(c), i);
    EXPECT_EQ(c.receive(kBound).status(), Status::end);
  }
  auto c = consumer();
  EXPECT_EQ(c.receive(kBound).status(), Status::end);
  auto d = session_.consumer("q", {.wait = consumer_wait(), .wait_for = kMoment});
  EXPECT_EQ(d.receive(0ns).status(), Status::empty);
  EXPECT_EQ(d.receive(kBound).status(), Status::end);
}

// What is left of it comes at once, and then its end.
TEST_P(Lifecycle, AConsumerThatFindsMessagesOfAStreamThatIsOverWaitsForNoOther) {
  create("q");
  auto p = producer();
  ASSERT_EQ(send(p, 1, 7), Status::ok);
  p.close();
  auto c = session_.consumer("q", {.wait = consumer_wait(), .wait_for = 2 * kBound});
  EXPECT_EQ(next_sequence(c), 7);
  EXPECT_EQ(c.receive(kBound).status(), Status::end);
}

TEST_P(Lifecycle, AForkedChildIsRefusedAndTheParentUnaffected) {
  create("q", {.slots = 4, .size = 100});
  auto p = producer();
  auto c = consumer();
  for (std::uint64_t i = 0; i < 2; ++i) ASSERT_EQ(send(p, 1, i, 100), Status::ok);
  auto held = c.receive(kBound);
  auto loan = p.loan(kBound);
  ASSERT_TRUE(held && loan);

  const pid_t child = fork();
  ASSERT_NE(child, -1);
  if (child == 0) {  // no gtest here: the exit code says which expectation failed
    int failed = 0;
    int number = 0;
    const auto expect = [&](bool good) {
      ++number;
      if (!good && failed == 0) failed = number;
    };
    const auto throws_usage_error = [](auto call) {
      try {
        call();
      } catch (const UsageError&) {
        return true;
      }
      return false;
    };
    expect(send(p, 1, 2, 100) == Status::closed);
    expect(send(p, 1, 2, 30) == Status::closed);
    expect(p.loan(kBound).status() == Status::closed);
    expect(c.receive(kBound).status() == Status::closed);
    expect(loan->publish(100, kBound) == Status::closed);
    expect(held->nack() == Status::closed);
    expect(throws_usage_error([&] { (void)session_.producer("q"); }));
    expect(throws_usage_error([&] { (void)session_.consumer("q"); }));
    {
      const Loan drop_loan = std::move(*loan);
      const Producer drop_producer = std::move(p);
      const Consumer drop_consumer = std::move(c);
    }
    _exit(failed);
  }
  int status = 0;
  ASSERT_TRUE(eventually([&] { return waitpid(child, &status, WNOHANG) == child; })) << kill(child, SIGKILL);
  EXPECT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 0);

  stamp(loan->bytes().first(100), 1, 2);
  EXPECT_EQ(loan->publish(100, kBound), Status::ok);
  EXPECT_TRUE(read_stamp(held->bytes()));
  EXPECT_EQ(held->release(), Status::ok);
  EXPECT_EQ(next_sequence(c), 1);
  EXPECT_EQ(next_sequence(c), 2);
  EXPECT_EQ(broker_.stats().clients, 1u);
  EXPECT_EQ(broker_.stats().deaths, 0u);
}

}  // namespace
}  // namespace ipcq_test
