// Several queues in one pool: a message moves on without a copy.
#include <future>

#include "conformance/backend.hpp"

namespace ipcq_test {
namespace {

constexpr std::uint32_t kSlots = 16;

class Forward : public BackendTest {
 protected:
  void SetUp() override {
    BackendTest::SetUp();
    if (IsSkipped()) return;
    create_pool("pool", {.slots = kSlots, .size = 100});
    create_as_is("in", {.pool = "pool", .lines = 8, .groups = {{"default"}, {"tap"}}});
    create("out", {.pool = "pool", .lines = 8});
    create_as_is("direct", {.pool = "pool", .lines = 8});
  }
  std::uint64_t empty_slots() const { return stats("in").empty; }
};
IPCQ_INSTANTIATE_PER_BACKEND(Forward);

TEST_P(Forward, ThePayloadStaysWhereItIsAndTheSlotIsFreeAfterBothQueues) {
  auto p = producer("in");
  auto tap = consumer("in", "tap");
  auto c = consumer("in");
  auto next = producer("direct");
  auto last = consumer("direct");
  ASSERT_EQ(send(p, 1, 5, 100), Status::ok);
  auto tapped = tap.receive(kBound);
  auto m = c.receive(kBound);
  ASSERT_TRUE(tapped && m);
  const std::byte* const payload = m->bytes().data();
  EXPECT_EQ(tapped->bytes().data(), payload);
  ASSERT_EQ(next.forward(*m, kBound), Status::ok);
  EXPECT_FALSE(static_cast<bool>(*m));
  EXPECT_EQ(m->release(), Status::not_held);
  auto forwarded = last.receive(kBound);
  ASSERT_TRUE(forwarded);
  EXPECT_EQ(forwarded->bytes().data(), payload);
  EXPECT_EQ(forwarded->bytes().size(), 100u);
  EXPECT_EQ(forwarded->producer(), next.id());
  EXPECT_EQ(empty_slots(), kSlots - 1);
  EXPECT_EQ(forwarded->release(), Status::ok);
  EXPECT_EQ(empty_slots(), kSlots - 1);  // the tap still reads it
  EXPECT_TRUE(read_stamp(tapped->bytes()));
  EXPECT_EQ(tapped->release(), Status::ok);
  EXPECT_EQ(empty_slots(), kSlots);
  EXPECT_EQ(group_stats("default", "in").delivered, 1u);
  EXPECT_EQ(group_stats("default", "direct").delivered, 1u);
}

TEST_P(Forward, AMessageThatNobodyElseReadsGoesOnWithoutACopyToAnyQueue) {
  create_as_is("alone", {.pool = "pool", .lines = 8});
  auto p = producer("alone");
  auto c = consumer("alone");
  auto next = producer("out");
  auto last = consumer("out");
  for (std::uint64_t i = 0; i < 30; ++i) {
    ASSERT_EQ(send(p, 1, i, 100), Status::ok);
    auto m = c.receive(kBound);
    ASSERT_TRUE(m);
    const std::byte* const payload = m->bytes().data();
    ASSERT_EQ(next.forward(*m, kBound), Status::ok);
    auto forwarded = last.receive(kBound);
    ASSERT_TRUE(forwarded);
    EXPECT_EQ(forwarded->bytes().data(), payload);
    EXPECT_THAT(read_stamp(forwarded->bytes()), testing::Optional(testing::Field(&Stamp::sequence, i)));
  }
  EXPECT_EQ(empty_slots(), kSlots);
}

// A handler changes the payload in place: others who still read it must not see that.
TEST_P(Forward, AHandlerNeverChangesWhatAnotherGroupStillReads) {
  create_as_is("inverted", {.pool = "pool", .lines = 8, .handler = "invert"});
  auto p = producer("in");
  auto tap = consumer("in", "tap");
  auto c = consumer("in");
  auto next = producer("inverted");
  auto last = consumer("inverted");
  ASSERT_EQ(send(p, 1, 5, 100), Status::ok);
  auto m = c.receive(kBound);
  ASSERT_TRUE(m);
  ASSERT_EQ(next.forward(*m, kBound), Status::ok);
  auto inverted = last.receive(kBound);
  ASSERT_TRUE(inverted);
  auto expected = stamped(1, 5, 100);
  for (auto& b : expected) b = ~b;
  EXPECT_TRUE(std::equal(expected.begin(), expected.end(), inverted->bytes().begin(), inverted->bytes().end()));
  auto tapped = tap.receive(kBound);
  ASSERT_TRUE(tapped);
  EXPECT_THAT(read_stamp(tapped->bytes()), testing::Optional(testing::Field(&Stamp::sequence, 5u)));
}

TEST_P(Forward, InlineMessagesMoveOnToo) {
  auto p = producer("in");
  auto c = consumer("in");
  auto tap = consumer("in", "tap");
  auto next = producer("out");
  auto last = consumer("out");
  ASSERT_EQ(send(p, 1, 5, 40), Status::ok);
  auto m = c.receive(kBound);
  ASSERT_TRUE(m);
  ASSERT_EQ(next.forward(*m, kBound), Status::ok);
  EXPECT_EQ(next_sequence(last), 5);
  EXPECT_EQ(next_sequence(tap), 5);
  EXPECT_EQ(group_stats("default", "in").held, 0u);
}

TEST_P(Forward, AChainOfQueuesEndsInOneFreeSlot) {
  std::vector<Producer> producers;
  std::vector<Consumer> consumers;
  for (int i = 0; i < 6; ++i) {
    const std::string name = "stage" + std::to_string(i);
    create_as_is(name, {.pool = "pool", .lines = 4, .groups = {{"default"}, {"tap"}}});
    producers.push_back(producer(name));
    consumers.push_back(consumer(name));
  }
  ASSERT_EQ(send(producers[0], 1, 5, 100), Status::ok);
  for (int i = 0; i < 5; ++i) {
    auto m = consumers[i].receive(kBound);
    ASSERT_TRUE(m) << i;
    ASSERT_EQ(producers[i + 1].forward(*m, kBound), Status::ok) << i;
  }
  EXPECT_EQ(next_sequence(consumers[5]), 5);
  EXPECT_EQ(empty_slots(), kSlots - 1);
  for (int i = 5; i >= 0; --i) {  // the taps let go, last stage first
    auto tap = consumer("stage" + std::to_string(i), "tap");
    EXPECT_EQ(next_sequence(tap), 5);
    EXPECT_EQ(empty_slots(), i == 0 ? kSlots : kSlots - 1) << i;
  }
}

TEST_P(Forward, WhatCannotBeForwardedStaysHeld) {
  create("elsewhere", {.slots = 1, .size = 80});
  create_as_is("tight", {.pool = "pool", .lines = 2, .backpressure = Backpressure::reject});
  auto p = producer("in");
  auto c = consumer("in");
  auto tap = consumer("in", "tap");
  ASSERT_EQ(send(p, 1, 5, 100), Status::ok);
  auto m = c.receive(kBound);
  ASSERT_TRUE(m);
  auto elsewhere = producer("elsewhere");
  EXPECT_EQ(elsewhere.forward(*m, kBound), Status::too_large);
  auto tight = producer("tight");
  for (std::uint64_t i = 0; i < 2; ++i) ASSERT_EQ(send(tight, 1, i), Status::ok);
  EXPECT_EQ(tight.forward(*m, kForever), Status::full);
  EXPECT_TRUE(static_cast<bool>(*m));
  EXPECT_TRUE(read_stamp(m->bytes()));
  EXPECT_EQ(m->release(), Status::ok);
  EXPECT_EQ(next_sequence(tap), 5);
  EXPECT_EQ(empty_slots(), kSlots);
}

// While another group reads the message, forward() waits for a slot to copy it to. Once the group has released it the
// message goes on in its own slot: with every slot so held, it would wait for ever for another.
TEST_P(Forward, ToAHandlerGoesOnOnceNobodyElseReads) {
  create_as_is("one", {.slots = 1, .size = 100, .groups = {{"default"}, {"tap"}}});
  create_as_is("inverted", {.pool = "one", .handler = "invert"});
  auto p = producer("one");
  auto c = consumer("one"), tap = consumer("one", "tap"), last = consumer("inverted");
  auto next = producer("inverted");
  ASSERT_EQ(send(p, 1, 5, 100), Status::ok);
  auto m = c.receive(kBound), tapped = tap.receive(kBound);
  ASSERT_TRUE(m && tapped);
  auto forwarding = std::async(std::launch::async, [&] { return next.forward(*m, 2s); });
  std::this_thread::sleep_for(kMoment);
  EXPECT_EQ(tapped->release(), Status::ok);
  EXPECT_EQ(forwarding.get(), Status::ok);
  EXPECT_TRUE(last.receive(kBound));
}

// Stages in a row: what waits between the first two must leave the second its aliases.
TEST_P(Forward, StagesInARowDoNotWaitForEachOthersAliases) {
  constexpr std::uint64_t kStages = 8;
  create_as_is("stage0", {.slots = 4, .size = 100});
  for (std::uint64_t i = 1; i <= kStages; ++i) create_as_is("stage" + std::to_string(i), {.pool = "stage0"});
  auto p = producer("stage0");
  for (std::uint64_t n = 0; n < 4; ++n) ASSERT_EQ(send(p, 1, n, 100), Status::ok);
  for (std::uint64_t i = 0; i < kStages; ++i) {
    auto c = consumer("stage" + std::to_string(i));
    auto next = producer("stage" + std::to_string(i + 1));
    for (unsigned n = 0; n < 4; ++n) {
      auto m = c.receive(kBound);
      ASSERT_TRUE(m) << to_string(m.status());
      ASSERT_EQ(next.forward(*m, kBound), Status::ok) << "stage " << i << ", message " << n;
    }
  }
  auto last = consumer("stage" + std::to_string(kStages));
  for (std::int64_t n = 0; n < 4; ++n) EXPECT_EQ(next_sequence(last), n);
}

TEST_P(Forward, WaitsForAnAliasWhereTheQueueBlocks) {
  create_as_is("one", {.slots = 1, .size = 100, .groups = {{"default"}, {"tap"}}});
  create_as_is("first", {.pool = "one"});
  create_as_is("second", {.pool = "one"});
  auto p = producer("one"), to_first = producer("first"), to_second = producer("second");
  auto c = consumer("one"), tap = consumer("one", "tap"), first = consumer("first"), second = consumer("second");
  ASSERT_EQ(send(p, 1, 5, 100), Status::ok);
  auto m = c.receive(kBound), tapped = tap.receive(kBound);
  ASSERT_TRUE(m && tapped);
  ASSERT_EQ(to_first.forward(*m, kBound), Status::ok);
  auto forwarded = first.receive(kBound);
  for (unsigned n = 1; n < 8; ++n) {  // a pool of one slot has eight aliases
    ASSERT_TRUE(forwarded);
    ASSERT_EQ(to_first.forward(*forwarded, kBound), Status::ok);
    forwarded = first.receive(kBound);
  }
  ASSERT_TRUE(forwarded);
  EXPECT_EQ(to_second.forward(*tapped, kMoment), Status::timeout);
  auto forwarding = std::async(std::launch::async, [&] { return to_second.forward(*tapped, 2s); });
  std::this_thread::sleep_for(kMoment);
  EXPECT_EQ(forwarded->release(), Status::ok);
  EXPECT_EQ(forwarding.get(), Status::ok);
  EXPECT_EQ(next_sequence(second), 5);
}

TEST_P(Forward, APipelineOfThreadsMovesEveryMessageOnce) {
  constexpr std::uint64_t kMessages = 80;
  auto p = producer("in");
  auto last = consumer("out");
  std::vector<std::thread> stages;
  for (int i = 0; i < 2; ++i) {
    stages.emplace_back([c = consumer("in"), next = producer("out")]() mutable {
      for (;;) {
        auto m = c.receive(kBound);
        if (!m) {
          EXPECT_EQ(m.status(), Status::end);
          return;
        }
        EXPECT_EQ(next.forward(*m, kBound), Status::ok);
      }
    });
  }
  auto tapping = std::async(std::launch::async, [c = consumer("in", "tap")]() mutable { return receive_all(c); });
  std::thread sender([&] {
    for (std::uint64_t i = 0; i < kMessages; ++i) ASSERT_EQ(send(p, 1, i, i % 4 == 0 ? 40 : 90), Status::ok);
    p.close();
  });
  const Received r = receive_all(last);
  sender.join();
  for (auto& s : stages) s.join();
  const Received tapped = tapping.get();
  EXPECT_EQ(r.last, Status::end);
  EXPECT_TRUE(r.intact && tapped.intact);
  EXPECT_EQ(tapped.stamps.size(), kMessages);
  auto s = sequences_of(r.stamps, 1);
  std::sort(s.begin(), s.end());
  ASSERT_EQ(s.size(), kMessages);
  for (std::uint64_t i = 0; i < kMessages; ++i) EXPECT_EQ(s[i], i);
}

}  // namespace
}  // namespace ipcq_test
