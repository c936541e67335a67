// The stop of a broker: what members still take, and what is left.
#include <atomic>
#include <future>
#include <vector>

#include "conformance/backend.hpp"

namespace ipcq_test {
namespace {

class Stopping : public BackendTest {};
IPCQ_INSTANTIATE_PER_BACKEND(Stopping);

TEST_P(Stopping, AStopDrainsWhatMembersTakeInTime) {
  create("q", {.slots = 4, .size = 100});
  create("unread");
  auto p = producer();
  auto u = producer("unread");
  ASSERT_EQ(send(u, 1, 0), Status::ok);
  for (std::uint64_t i = 0; i < 4; ++i) ASSERT_EQ(send(p, 1, i, 100), Status::ok);
  auto c = consumer();
  auto stopping = std::async(std::launch::async, [&] { return broker_.stop(kBound); });
  ASSERT_TRUE(eventually([&] { return stats().state == "draining"; }));
  EXPECT_EQ(send(p, 1, 4), Status::closed);  // the intake is closed at once
  for (std::int64_t i = 0; i < 4; ++i) EXPECT_EQ(next_sequence(c), i);
  EXPECT_EQ(stopping.get(), 1u);  // of the queue that has no member
  EXPECT_EQ(c.receive(kBound).status(), Status::closed);
  EXPECT_EQ(broker_.stop(kBound), 1u);  // idempotent
  EXPECT_TRUE(eventually([&] { return !session_.connected(); }));
  EXPECT_THROW(create("late"), UsageError);
}

TEST_P(Stopping, AStopWithoutDrainingSaysWhatWasLeft) {
  create("q", {.slots = 8, .size = 100});
  auto p = producer();
  auto c = consumer();
  for (std::uint64_t i = 0; i < 5; ++i) ASSERT_EQ(send(p, 1, i, 100), Status::ok);
  auto held = c.receive(kBound);
  ASSERT_TRUE(held);
  EXPECT_EQ(broker_.stop(), 4u);
  EXPECT_EQ(c.receive(kBound).status(), Status::closed);  // what was left is not handed out
  EXPECT_EQ(c.receive(Duration::zero()).status(), Status::closed);
  // What was received is not among that: it can still be read and released.
  EXPECT_TRUE(read_stamp(held->bytes()));
  EXPECT_EQ(held->release(), Status::ok);
  EXPECT_EQ(broker_.stats().queues.at(0).groups.at(0).waiting, 4u);
  EXPECT_EQ(send(p, 1, 5, 100, kBound), Status::closed);
}

TEST_P(Stopping, WhatWasGivenBackIsLeftToo) {
  create("q", {.slots = 8, .size = 100});
  auto p = producer();
  auto c = consumer();
  for (std::uint64_t i = 0; i < 3; ++i) ASSERT_EQ(send(p, 1, i, 100), Status::ok);
  auto first = c.receive(kBound);
  ASSERT_TRUE(first);
  ASSERT_EQ(first->nack(), Status::ok);
  EXPECT_EQ(broker_.stop(), 3u);
  EXPECT_EQ(c.receive(kBound).status(), Status::closed);
}

// Consumers take while the broker stops: each message was received, or is left, and none is both.
TEST_P(Stopping, WhatIsLeftIsHandedOutToNobody) {
  constexpr std::uint64_t kMessages = 1000;
  create("q", {.slots = 8, .size = 100, .lines = 1024});
  auto p = producer();
  for (std::uint64_t i = 0; i < kMessages; ++i) ASSERT_EQ(send(p, 1, i), Status::ok);
  std::atomic<std::uint64_t> received{0};
  std::atomic<int> attached{0};
  std::vector<std::future<Status>> readers;
  for (int n = 0; n < 3; ++n) {
    readers.push_back(std::async(std::launch::async, [&] {
      auto session = connect({.broker = name_});
      auto c = session.consumer("q");
      ++attached;
      for (;;) {
        auto m = c.receive(kBound);
        if (!m) return m.status();
        ++received;
        if (m->ticket() % 7 == 3 && m->redeliveries() == 0) {
          --received;
          (void)m->nack();
        }
      }
    }));
  }
  ASSERT_TRUE(eventually([&] { return received.load() > 5 && attached == 3; }));
  const std::uint64_t left = broker_.stop();
  for (auto& reader : readers) EXPECT_EQ(reader.get(), Status::closed);
  // A message that is given back after the count is nobody's any more: one a reader at most.
  EXPECT_LE(received + left, kMessages);
  EXPECT_GE(received + left + readers.size(), kMessages);
}

}  // namespace
}  // namespace ipcq_test
