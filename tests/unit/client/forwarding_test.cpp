// What a forward does where it cannot go on, and when it gives the received message up. That messages move on without a
// copy on every backend: conformance/forward_test.cpp.
#include "client/forwarding.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/crash_point.hpp"
#include "eventually.hpp"
#include "ipcq/ipcq.hpp"
#include "queue/queue_map.hpp"
#include "stamped.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;

// The queue "in" and the pool of its name, which the test's other queues share.
class ForwardingTest : public testing::Test {
 protected:
  explicit ForwardingTest(std::uint32_t slots = 1)
      : broker_({.name = "forwarding-" + std::to_string(getpid())}),
        session_(connect({.broker = broker_.stats().name})) {
    broker_.create("in", {.slots = slots, .size = 100, .lines = 8});
    in_ = session_.producer("in");
    consumer_ = session_.consumer("in");
  }
  ~ForwardingTest() override {
    detail::set_crash_point_hook(nullptr);
    at_step_ = nullptr;
  }
  static void at_step(std::function<void(std::string_view)> call) {
    at_step_ = std::move(call);
    detail::set_crash_point_hook([](const char* step) {
      if (at_step_) at_step_(step);
    });
  }
  QueueOptions shared(std::uint32_t lines = 8) const {
    QueueOptions o;
    o.pool = "in";
    o.lines = lines;
    return o;
  }
  // A message in a slot, received.
  Message received(std::size_t bytes = 100) {
    EXPECT_EQ(in_.send(stamped(1, 5, bytes), kBound), Status::ok);
    return std::move(*consumer_.receive(kBound));
  }
  QueueStats stats(const std::string& queue = "in") {
    for (const auto& q : broker_.stats().queues) {
      if (q.name == queue) return q;
    }
    ADD_FAILURE() << "no queue " << queue;
    return {};
  }

  Broker broker_;
  Session session_;
  Producer in_;
  Consumer consumer_;

 private:
  static inline std::function<void(std::string_view)> at_step_;
};

TEST_F(ForwardingTest, WhatIsNotHeldIsNotForwarded) {
  broker_.create("out", shared());
  auto out = session_.producer("out");
  Message none;
  EXPECT_EQ(out.forward(none, kBound), Status::not_held);
  Message once = received();
  EXPECT_EQ(once.release(), Status::ok);
  EXPECT_EQ(out.forward(once, kBound), Status::not_held);
  EXPECT_EQ(stats("out").published, 0u);
}

TEST_F(ForwardingTest, NothingGoesOnOnceProducerOrConsumerIsClosed) {
  broker_.create("out", shared());
  auto out = session_.producer("out");
  auto closed = session_.producer("out");
  closed.close();
  Message message = received();
  EXPECT_EQ(closed.forward(message, kBound), Status::closed);
  EXPECT_TRUE(static_cast<bool>(message));
  consumer_.close();
  EXPECT_EQ(out.forward(message, kBound), Status::closed);
  EXPECT_EQ(stats("out").published, 0u);
}

TEST_F(ForwardingTest, TheReceivedMessageIsHeldUntilTheNextIsPublished) {
  broker_.create("out", shared());
  auto out = session_.producer("out");
  Message message = received();
  std::vector<std::string> seen;
  at_step([&](std::string_view step) {
    if (step != "forward.alias_borrowed" && step != "forward.published") return;
    seen.push_back(std::to_string(stats("in").groups.at(0).held) + " held, " + std::to_string(stats("out").published) +
                   " published");
    EXPECT_TRUE(static_cast<bool>(message));
  });
  EXPECT_EQ(out.forward(message, kBound), Status::ok);
  EXPECT_EQ(seen, (std::vector<std::string>{"1 held, 0 published", "1 held, 1 published"}));
  EXPECT_FALSE(static_cast<bool>(message));
  EXPECT_EQ(stats("in").groups.at(0).held, 0u);
  EXPECT_EQ(stats("in").empty, 0u) << "the next queue's group has yet to read it";
}

TEST_F(ForwardingTest, AQueueWithoutReadersEndsTheMessage) {
  QueueOptions none = shared();
  none.groups.clear();
  broker_.create("nobody", none);
  auto out = session_.producer("nobody");
  Message message = received();
  EXPECT_EQ(out.forward(message, kBound), Status::ok);
  EXPECT_FALSE(static_cast<bool>(message));
  EXPECT_EQ(stats("in").empty, 1u);
  EXPECT_EQ(stats("in").groups.at(0).held, 0u);
}

TEST_F(ForwardingTest, AnAliasThatFindsNoLineGoesBack) {
  QueueOptions tight = shared(2);
  tight.backpressure = Backpressure::reject;
  broker_.create("tight", tight);
  auto out = session_.producer("tight");
  auto reader = session_.consumer("tight");
  for (std::uint64_t i = 0; i < 2; ++i) ASSERT_EQ(out.send(stamped(2, i, kStampBytes), kBound), Status::ok);
  Message message = received();
  for (int i = 0; i < 20; ++i) ASSERT_EQ(out.forward(message, kBound), Status::full);  // of the pool's eight aliases
  EXPECT_TRUE(read_stamp(message.bytes()));
  ASSERT_EQ(reader.receive(kBound).status(), Status::ok);
  EXPECT_EQ(out.forward(message, kBound), Status::ok);
}

TEST_F(ForwardingTest, WithoutTimeAFullQueueIsFullAndWithTimeItTimesOut) {
  broker_.create("tight", shared(2));
  auto out = session_.producer("tight");
  for (std::uint64_t i = 0; i < 2; ++i) ASSERT_EQ(out.send(stamped(2, i, kStampBytes), kBound), Status::ok);
  Message message = received();
  EXPECT_EQ(out.forward(message, Duration::zero()), Status::full);
  EXPECT_EQ(out.forward(message, std::chrono::milliseconds(10)), Status::timeout);
  EXPECT_TRUE(static_cast<bool>(message));
}

TEST_F(ForwardingTest, WithoutAnAliasAQueueThatRejectsIsFull) {
  broker_.create("long", shared());
  auto longer = session_.producer("long");
  auto reader = session_.consumer("long");
  Message message = received();
  for (int n = 0; n < 8; ++n) {  // a pool of one slot has eight aliases
    ASSERT_EQ(longer.forward(message, kBound), Status::ok) << n;
    message = std::move(*reader.receive(kBound));
    ASSERT_TRUE(static_cast<bool>(message)) << n;
  }
  QueueOptions rejecting = shared();
  rejecting.backpressure = Backpressure::reject;
  broker_.create("rejecting", rejecting);
  auto out = session_.producer("rejecting");
  EXPECT_EQ(out.forward(message, kBound), Status::full);
  EXPECT_TRUE(read_stamp(message.bytes()));
  EXPECT_EQ(longer.forward(message, std::chrono::milliseconds(10)), Status::timeout) << "that one waits";
  EXPECT_EQ(message.release(), Status::ok);
  EXPECT_EQ(stats("in").empty, 1u) << "the end of the chain frees the slot";
}

TEST_F(ForwardingTest, AMessageWhoseHeldEntryIsDamagedIsNotForwarded) {
  broker_.create("out", shared());
  auto out = session_.producer("out");
  Message message = received();
  std::unique_ptr<detail::QueueMap> map;
  for (const auto& b : list_brokers()) {
    if (b.name != broker_.stats().name) continue;
    for (const auto& s : b.segments) {
      if (s.find("+queue+in+") != std::string::npos) map = detail::QueueMap::open(s, 0);
    }
  }
  ASSERT_NE(map, nullptr);
  int damaged = 0;
  for (std::uint32_t i = 0; i < map->config().endpoints * map->config().held_per_endpoint; ++i) {
    auto& held = map->held()[i];
    if (detail::unpack_held(held.word.load(std::memory_order_acquire)).state != detail::HeldState::held) continue;
    detail::Descriptor d = held.descriptor.load();
    d.slot = 999;
    held.descriptor.store(d);
    ++damaged;
  }
  ASSERT_EQ(damaged, 1);
  EXPECT_EQ(out.forward(message, kBound), Status::not_held);
  EXPECT_EQ(stats("out").published, 0u);
}

TEST_F(ForwardingTest, AMessageOfAnotherPoolIsCopiedAndReleased) {
  broker_.create("elsewhere", {.slots = 1, .size = 100});
  auto out = session_.producer("elsewhere");
  auto reader = session_.consumer("elsewhere");
  Message message = received();
  ASSERT_EQ(out.forward(message, kBound), Status::ok);
  EXPECT_FALSE(static_cast<bool>(message));
  EXPECT_EQ(stats("in").empty, 1u);
  EXPECT_EQ(stats("elsewhere").empty, 0u);
  auto copy = reader.receive(kBound);
  ASSERT_TRUE(copy);
  EXPECT_TRUE(read_stamp(copy->bytes()));
}

class ForwardingInACircle : public ForwardingTest {
 protected:
  ForwardingInACircle() : ForwardingTest(16) {}
};

TEST_F(ForwardingInACircle, CopiesThePayloadOnceItsChainOfAliasesHasReachedItsLimit) {
  constexpr unsigned kMost = detail::Pool<detail::SharedAtomics>::kMaxDepth;
  Message message = received();
  const std::byte* const payload = message.bytes().data();
  for (unsigned n = 1; n <= kMost; ++n) {
    ASSERT_EQ(in_.forward(message, kBound), Status::ok) << n;
    message = std::move(*consumer_.receive(kBound));
    ASSERT_TRUE(static_cast<bool>(message)) << n;
    EXPECT_EQ(message.bytes().data() == payload, n < kMost) << n;
  }
  EXPECT_TRUE(read_stamp(message.bytes()));
  EXPECT_EQ(stats().empty, 15u) << "the first slot is free again, with the whole chain";
  EXPECT_EQ(message.release(), Status::ok);
  EXPECT_EQ(stats().empty, 16u);
}

}  // namespace
}  // namespace ipcq_test
