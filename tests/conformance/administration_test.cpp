// What administrators do to queues of a running broker: pause, resume, drain and remove them.
#include <future>
#include <thread>
#include <vector>

#include "conformance/backend.hpp"
#include "errors.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;

class Administrated : public BackendTest {
 protected:
  void send_numbers(Producer& p, std::uint64_t from, std::uint64_t to, std::size_t bytes = kStampBytes) {
    for (std::uint64_t i = from; i < to; ++i) ASSERT_EQ(send(p, 1, i, bytes), Status::ok);
  }
  void expect_numbers(Consumer& c, std::int64_t from, std::int64_t to) {
    for (std::int64_t i = from; i < to; ++i) EXPECT_EQ(next_sequence(c), i);
  }
};
IPCQ_INSTANTIATE_PER_BACKEND(Administrated);

TEST_P(Administrated, NothingLeavesAPausedQueue) {
  create("q", {.slots = 8, .size = 100});
  auto p = producer();
  auto c = consumer();
  send_numbers(p, 0, 2);
  expect_numbers(c, 0, 2);
  broker_.pause("q");
  broker_.pause("q");  // idempotent
  send_numbers(p, 2, 5);
  send_numbers(p, 5, 7, 100);
  EXPECT_EQ(c.receive(kMoment).status(), Status::timeout);
  EXPECT_EQ(c.receive(Duration::zero()).status(), Status::empty);
  std::vector<std::byte> buffer(200);
  EXPECT_EQ(c.receive_into(buffer, kMoment).status(), Status::timeout);
  EXPECT_EQ(c.consume([](const MessageView&) { ADD_FAILURE(); }, kMoment).status, Status::timeout);
  EXPECT_TRUE(stats().paused);
  EXPECT_EQ(stats().state, "open");
  EXPECT_EQ(group_stats().waiting, 5u);
  EXPECT_EQ(stats().processed, has_handler() || on_gpu() ? 2u : 0u);
  auto waiting = std::async(std::launch::async, [&] { return next_sequence(c); });
  EXPECT_EQ(waiting.wait_for(kMoment), std::future_status::timeout);
  broker_.resume("q");
  EXPECT_EQ(waiting.get(), 2);
  expect_numbers(c, 3, 7);
  EXPECT_FALSE(stats().paused);
  broker_.resume("q");
}

TEST_P(Administrated, AQueueMayBeginPaused) {
  create("q", {.slots = 4, .size = 100, .groups = {{.name = "a"}, {.name = "b", .paused = true}}, .paused = true});
  auto p = producer();
  auto a = consumer("q", "a"), b = consumer("q", "b"), later = consumer("q", "later");
  send_numbers(p, 0, 3);
  for (Consumer* c : {&a, &b, &later}) EXPECT_EQ(c->receive(kMoment).status(), Status::timeout);
  EXPECT_EQ(stats().processed, 0u);
  broker_.resume("q");
  expect_numbers(a, 0, 3);
  expect_numbers(later, 0, 3);
  EXPECT_EQ(b.receive(kMoment).status(), Status::timeout);
  EXPECT_TRUE(group_stats("b").paused);
  broker_.resume("q", "b");
  expect_numbers(b, 0, 3);
}

TEST_P(Administrated, AGroupIsPausedByItself) {
  create("q", {.slots = 8, .size = 100, .groups = {{.name = "a"}, {.name = "b"}}});
  auto p = producer();
  auto a = consumer("q", "a"), b = consumer("q", "b");
  broker_.pause("q", "a");
  send_numbers(p, 0, 3, 100);
  expect_numbers(b, 0, 3);
  EXPECT_EQ(a.receive(kMoment).status(), Status::timeout);
  broker_.pause("q");
  broker_.resume("q");
  EXPECT_EQ(a.receive(kMoment).status(), Status::timeout);  // it was paused itself
  broker_.resume("q", "a");
  expect_numbers(a, 0, 3);
  EXPECT_THAT(error_of<NotFoundError>([&] { broker_.pause("q", "c"); }), HasSubstr("it has a, b"));
  EXPECT_THROW(broker_.pause("nobody"), NotFoundError);
}

TEST_P(Administrated, AMessageThatIsGivenBackWaitsForTheEndOfThePause) {
  create("q", {.slots = 4, .size = 100});
  auto p = producer();
  auto c = consumer();
  send_numbers(p, 0, 1);
  auto held = c.receive(kBound);
  ASSERT_TRUE(held);
  broker_.pause("q");
  EXPECT_TRUE(read_stamp(held->bytes()));  // what a consumer holds is its own
  ASSERT_EQ(held->nack(), Status::ok);
  EXPECT_EQ(c.receive(kMoment).status(), Status::timeout);
  broker_.resume("q");
  auto again = c.receive(kBound);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->redeliveries(), 1u);
}

TEST_P(Administrated, APausedLossyGroupHoldsNobodyUp) {
  create("q",
         {.slots = 4, .size = 100, .lines = 4, .groups = {{.name = "a"}, {.name = "b", .policy = GroupPolicy::lossy}}});
  auto p = producer();
  auto a = consumer("q", "a"), b = consumer("q", "b");
  broker_.pause("q", "b");
  for (std::uint64_t i = 0; i < 12; ++i) {
    ASSERT_EQ(send(p, 1, i, 100), Status::ok);
    ASSERT_EQ(next_sequence(a), static_cast<std::int64_t>(i));
  }
  EXPECT_GT(group_stats("b").dropped, 0u);
  EXPECT_EQ(b.receive(kMoment).status(), Status::timeout);  // a discard leaves it paused
  broker_.resume("q", "b");
  EXPECT_EQ(next_sequence(b), static_cast<std::int64_t>(group_stats("b").dropped));
}

TEST_P(Administrated, APausedGroupFillsItsQueue) {
  create("q", {.slots = 4, .size = 100, .lines = 4});
  auto p = producer();
  broker_.pause("q", "default");
  send_numbers(p, 0, 4, 100);
  EXPECT_EQ(send(p, 1, 4, 100, kMoment), Status::timeout);
  auto c = consumer();
  auto sending = std::async(std::launch::async, [&] { return send(p, 1, 4, 100); });
  broker_.resume("q", "default");
  expect_numbers(c, 0, 5);
  EXPECT_EQ(sending.get(), Status::ok);
}

// Two members take while the queue is paused again and again: each message comes once, and none during a pause.
TEST_P(Administrated, PausesUnderTrafficKeepTheOrder) {
  create("q", {.slots = 16, .size = 100});
  constexpr std::uint64_t kEach = 400;
  std::vector<std::future<Received>> readers;
  std::vector<Consumer> members;
  for (int i = 0; i < 2; ++i) members.push_back(consumer());
  for (auto& c : members) readers.push_back(std::async(std::launch::async, [&c] { return receive_all(c); }));
  auto sending = std::async(std::launch::async, [&] {
    send_from_each(2, kEach, [](std::uint64_t i) { return i % 5 == 0 ? std::size_t{100} : kStampBytes; });
  });
  do {
    broker_.pause("q");
    const std::uint64_t before = group_stats().waiting;
    const std::uint64_t ready = stats().ready;
    std::this_thread::sleep_for(1ms);
    EXPECT_GE(group_stats().waiting, before);
    EXPECT_GE(stats().ready, ready);
    broker_.resume("q");
  } while (sending.wait_for(1ms) != std::future_status::ready);
  sending.get();
  expect_each_once(readers, 2, kEach);
}

TEST_P(Administrated, ADrainClosesTheIntakeAndWaitsForAllGroups) {
  create("q", {.slots = 8, .size = 100});
  auto p = producer();
  auto c = consumer();
  send_numbers(p, 0, 3);
  EXPECT_EQ(broker_.drain("q", Duration::zero()), 3u);
  EXPECT_EQ(send(p, 1, 3), Status::closed);
  EXPECT_EQ(stats().state, "draining");
  auto held = c.receive(kBound);
  expect_numbers(c, 1, 3);
  EXPECT_EQ(broker_.drain("q", kMoment), 1u);  // it is still held
  auto draining = std::async(std::launch::async, [&] { return broker_.drain("q", kBound); });
  EXPECT_EQ(held->release(), Status::ok);
  EXPECT_EQ(draining.get(), 0u);
  broker_.resume("q");
  broker_.resume("q");
  EXPECT_EQ(stats().state, "open");
  send_numbers(p, 4, 5);
  expect_numbers(c, 4, 5);
}

TEST_P(Administrated, ADrainEndsWhereTheQueueIsResumed) {
  create("q", {.slots = 8, .size = 100});
  auto p = producer();
  send_numbers(p, 0, 3);
  for (const bool by_client : {false, true}) {
    auto draining = std::async(std::launch::async, [&] {
      return error_of<UsageError>([&] { (void)(by_client ? drain("q", kBound, name_) : broker_.drain("q", kBound)); });
    });
    ASSERT_TRUE(eventually([&] { return stats().state == "draining"; }));
    broker_.resume("q");
    EXPECT_THAT(draining.get(), HasSubstr("was resumed before it was drained"));
    EXPECT_EQ(stats().state, "open");
  }
}

// What is left is that of one group, whatever others have.
TEST_P(Administrated, ADrainCountsTheMostOfOneGroup) {
  create("q", {.slots = 8, .size = 100, .groups = {{.name = "a"}, {.name = "b"}}});
  auto p = producer();
  auto b = consumer("q", "b");
  send_numbers(p, 0, 3);
  std::vector<Message> held;
  for (int i = 0; i < 3; ++i) held.push_back(*b.receive(kBound));
  EXPECT_EQ(broker_.drain("q", Duration::zero()), 3u);
  broker_.resume("q");
  held.clear();
  b.close();
  auto a = consumer("q", "a");
  expect_numbers(a, 0, 3);
}

TEST_P(Administrated, AQueueInUseIsRemovedOnlyIfThatIsSaid) {
  create("q", {.slots = 8, .size = 100});
  auto c = consumer();
  auto p = producer();
  send_numbers(p, 0, 3, 100);
  auto held = c.receive(kBound);
  ASSERT_TRUE(held);
  EXPECT_THAT(error_of<UsageError>([&] { broker_.remove("q"); }), HasSubstr("pid " + std::to_string(getpid())));
  auto waiting = std::async(std::launch::async, [this] {
    auto other = consumer("q", "other");
    return other.receive(kBound).status();
  });
  ASSERT_TRUE(eventually([&] { return stats().groups.size() == 2; }));
  EXPECT_EQ(broker_.remove("q", Removal::at_once), 2u);
  EXPECT_EQ(waiting.get(), Status::closed);
  EXPECT_EQ(c.receive(kBound).status(), Status::closed);
  EXPECT_EQ(send(p, 1, 3, 100), Status::closed);
  EXPECT_TRUE(read_stamp(held->bytes()));  // may still be read and released
  EXPECT_EQ(held->release(), Status::ok);
  EXPECT_THROW(producer(), NotFoundError);
  EXPECT_TRUE(broker_.stats().queues.empty());
  create("q", {.slots = 8, .size = 100});  // the name is free
  auto q = producer();
  auto d = consumer();
  send_numbers(q, 7, 8, 100);
  expect_numbers(d, 7, 8);
}

TEST_P(Administrated, AQueueThatIsEmptyAndUnusedIsRemoved) {
  create("q", {.slots = 4, .size = 100});
  {
    auto p = producer();
    send_numbers(p, 0, 1, 100);
  }
  EXPECT_THAT(error_of<UsageError>([&] { broker_.remove("q"); }), HasSubstr("1 message not"));
  {
    auto c = consumer();
    expect_numbers(c, 0, 1);
  }
  EXPECT_EQ(broker_.remove("q"), 0u);
  EXPECT_THROW(broker_.remove("q"), NotFoundError);
}

TEST_P(Administrated, APoolIsRemovedAfterItsQueues) {
  create_pool("pool", {.slots = 4, .size = 100});
  create("a", {.pool = "pool"});
  create("b", {.pool = "pool"});
  {
    auto p = producer("a");
    send_numbers(p, 0, 1, 100);
  }
  EXPECT_THAT(error_of<UsageError>([&] { broker_.remove_pool("pool"); }), HasSubstr("queue 'a'"));
  EXPECT_THAT(error_of<UsageError>([&] { broker_.remove("a", Removal::at_once); }), HasSubstr("1 message not"));
  {
    auto c = consumer("a");
    expect_numbers(c, 0, 1);
  }
  EXPECT_EQ(broker_.remove("a"), 0u);
  EXPECT_EQ(stats("b").empty, 4u);  // it holds none of the pool's slots
  EXPECT_EQ(broker_.remove("b"), 0u);
  broker_.remove_pool("pool");
  EXPECT_THROW(broker_.remove_pool("pool"), NotFoundError);
  create_pool("pool", {.slots = 4, .size = 100});
}

}  // namespace
}  // namespace ipcq_test
