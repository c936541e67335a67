// Payload lengths, loans and what callers may do with the handles.
#include "conformance/backend.hpp"

namespace ipcq_test {
namespace {

class Payload : public BackendTest {};
IPCQ_INSTANTIATE_PER_BACKEND(Payload);

TEST_P(Payload, EveryLengthUpToTheSlotArrivesByteForByte) {
  constexpr std::size_t kSlotBytes = 1000;
  create("q", {.slots = 2, .size = kSlotBytes});
  auto p = producer();
  auto c = consumer();
  const std::size_t in_line = p.inline_bytes();
  EXPECT_EQ(in_line, on_gpu() ? 72u : 96u);
  EXPECT_EQ(p.slot_bytes(), kSlotBytes);
  EXPECT_EQ(p.max_bytes(), kSlotBytes);
  std::vector<std::size_t> lengths = {kSlotBytes - 1, kSlotBytes};
  for (std::size_t n = 0; n <= in_line + 1; ++n) lengths.push_back(n);
  unsigned seed = 0;
  for (const std::size_t length : lengths) {
    const auto bytes = patterned(length, ++seed);
    ASSERT_EQ(p.send(bytes, kBound), Status::ok) << length;
    auto m = c.receive(kBound);
    ASSERT_EQ(m.status(), Status::ok) << length;
    EXPECT_TRUE(std::equal(m->bytes().begin(), m->bytes().end(), bytes.begin(), bytes.end())) << length;
    // Only what does not fit in the line uses a slot.
    EXPECT_EQ(stats().empty, length <= in_line ? 2u : 1u) << length;
  }
}

TEST_P(Payload, ALoanCarriesAnyLengthIncludingNone) {
  create("q", {.slots = 1, .size = 100});
  auto p = producer();
  auto c = consumer();
  for (const std::size_t length : {std::size_t{0}, std::size_t{1}, std::size_t{72}, std::size_t{100}}) {
    auto loan = p.loan(kBound);
    ASSERT_TRUE(loan);
    const auto bytes = patterned(length, 3);
    std::copy(bytes.begin(), bytes.end(), loan->bytes().begin());
    ASSERT_EQ(loan->publish(length, kBound), Status::ok);
    auto m = c.receive(kBound);
    ASSERT_TRUE(m);
    EXPECT_TRUE(std::equal(m->bytes().begin(), m->bytes().end(), bytes.begin(), bytes.end()));
  }
}

TEST_P(Payload, WhatDoesNotFitIsRefusedAndNothingIsLost) {
  create("q", {.slots = 1, .size = 100});
  auto p = producer();
  auto c = consumer();
  EXPECT_EQ(p.send(patterned(101, 0), kBound), Status::too_large);
  EXPECT_EQ(stats().empty, 1u);
  auto loan = p.loan(kBound);
  ASSERT_TRUE(loan);
  EXPECT_EQ(loan->publish(101, kBound), Status::too_large);
  EXPECT_EQ(loan->publish(100, kBound), Status::ok);  // the loan was kept
  auto m = c.receive(kBound);
  ASSERT_TRUE(m);
  EXPECT_EQ(m->bytes().size(), 100u);
}

TEST_P(Payload, ABatchStopsAtWhatDoesNotFit) {
  create("q", {.slots = 2, .size = 100});
  auto p = producer();
  auto c = consumer();
  const auto small = stamped(1, 0), large = patterned(101, 0);
  const std::vector<std::span<const std::byte>> batch = {small, small, large, small};
  const BatchResult sent = p.send_many(batch, kBound);
  EXPECT_EQ(sent.status, Status::too_large);
  EXPECT_EQ(sent.count, 2u);
  EXPECT_EQ(next_sequence(c), 0);
  EXPECT_EQ(next_sequence(c), 0);
  EXPECT_EQ(c.receive(kMoment).status(), Status::timeout);
}

TEST_P(Payload, OnlyQueuesOfTheHostHaveLinesOfAnotherSize) {
  for (const std::uint32_t line : {64u, 256u, 2048u}) {
    const std::string q = "q" + std::to_string(line);
    if (on_gpu()) {
      EXPECT_THROW(create(q, {.line = line}), UsageError) << line;
    } else {
      create(q, {.line = line});
      EXPECT_EQ(producer(q).inline_bytes(), line - 32);
    }
  }
  create("q", {});
  EXPECT_EQ(stats().line_bytes, 128u);
  EXPECT_EQ(stats().inline_bytes, producer().inline_bytes());
}

TEST_P(Payload, AnInlineOnlyQueueHasNoSlots) {
  create("q", {.slots = 0, .size = 1, .lines = 4});
  auto p = producer();
  auto c = consumer();
  EXPECT_EQ(p.max_bytes(), p.inline_bytes());
  EXPECT_EQ(send(p, 1, 4, p.inline_bytes()), Status::ok);
  EXPECT_EQ(send(p, 1, 5, p.inline_bytes() + 1), Status::too_large);
  EXPECT_EQ(p.loan(kMoment).status(), Status::too_large);
  EXPECT_EQ(next_sequence(c), 4);
}

TEST_P(Payload, ADroppedLoanGoesBackToThePool) {
  create("q", {.slots = 2, .size = 100});
  auto p = producer();
  {
    auto a = p.loan(kBound), b = p.loan(kBound);
    ASSERT_TRUE(a && b);
    EXPECT_EQ(stats().claimed, 2u);
    EXPECT_EQ(stats().empty, 0u);
    EXPECT_EQ(p.loan(kMoment).status(), Status::timeout);
  }
  EXPECT_EQ(stats().empty, 2u);
  EXPECT_EQ(stats().published, 0u);
}

TEST_P(Payload, HandlesCanBeUsedOnceAndMoved) {
  create("q", {.slots = 2, .size = 100});
  auto p = producer();
  auto c = consumer();
  auto loan = p.loan(kBound);
  ASSERT_TRUE(loan);
  Loan moved = std::move(*loan);
  EXPECT_EQ(loan->publish(1, kBound), Status::not_held);
  EXPECT_EQ(moved.publish(80, kBound), Status::ok);
  EXPECT_TRUE(moved.bytes().empty());
  EXPECT_EQ(moved.publish(80, kBound), Status::not_held);
  auto m = c.receive(kBound);
  ASSERT_TRUE(m);
  Message taken = std::move(*m);
  EXPECT_FALSE(static_cast<bool>(*m));
  EXPECT_EQ(m->release(), Status::not_held);
  EXPECT_EQ(taken.release(), Status::ok);
  EXPECT_EQ(taken.release(), Status::not_held);
  EXPECT_EQ(taken.nack(), Status::not_held);
  EXPECT_EQ(p.forward(taken, kBound), Status::not_held);
  EXPECT_EQ(Message().release(), Status::not_held);
  EXPECT_EQ(Loan().publish(0, kBound), Status::not_held);
}

TEST_P(Payload, AHeldLoanDelaysNobody) {
  create("q", {.slots = 3, .size = 100, .lines = 4});
  auto holder = producer();
  auto p = producer();
  auto c = consumer();
  auto held = holder.loan(kBound);
  ASSERT_TRUE(held);
  for (std::int64_t i = 0; i < 50; ++i) {
    ASSERT_EQ(send(p, 1, static_cast<std::uint64_t>(i), 100), Status::ok);
    ASSERT_EQ(next_sequence(c), i);
  }
  stamp(held->bytes().first(100), 2, 77);
  EXPECT_EQ(held->publish(100, kBound), Status::ok);  // takes its place in the order now
  EXPECT_EQ(next_sequence(c), 77);
}

TEST_P(Payload, AHeldMessageDelaysNobody) {
  create("q", {.slots = 3, .size = 100, .lines = 4, .groups = {{"a"}, {"b"}}});
  auto p = producer();
  auto a = consumer("q", "a"), b = consumer("q", "b");
  ASSERT_EQ(send(p, 1, 0, 100), Status::ok);
  auto held = a.receive(kBound);
  ASSERT_TRUE(held);
  EXPECT_EQ(next_sequence(b), 0);
  for (std::int64_t i = 1; i < 50; ++i) {
    ASSERT_EQ(send(p, 1, static_cast<std::uint64_t>(i), 100), Status::ok);
    ASSERT_EQ(next_sequence(a), i);
    ASSERT_EQ(next_sequence(b), i);
  }
  EXPECT_THAT(read_stamp(held->bytes()), testing::Optional(testing::Field(&Stamp::sequence, 0u)));
}

TEST_P(Payload, AConsumerThatHoldsAllItMayIsTold) {
  create("q", {.slots = 8, .size = 100, .held = 2});
  auto p = producer();
  auto c = consumer();
  for (std::uint64_t i = 0; i < 3; ++i) ASSERT_EQ(send(p, 1, i), Status::ok);
  auto first = c.receive(kBound), second = c.receive(kBound);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(c.receive(kBound).status(), Status::full);
  EXPECT_EQ(first->release(), Status::ok);
  EXPECT_EQ(next_sequence(c), 2);
}

TEST_P(Payload, RangeForEndsAtTheEndOfTheStream) {
  create("q");
  auto p = producer();
  auto c = consumer();
  for (std::uint64_t i = 0; i < 5; ++i) ASSERT_EQ(send(p, 1, i), Status::ok);
  p.close();
  std::uint64_t n = 0;
  for (auto&& m : c) EXPECT_EQ(m.sequence(), n++);
  EXPECT_EQ(n, 5u);
  create("stopped");
  auto other = consumer("stopped");
  broker_.stop();
  auto closed = [&] {
    for (auto&& m : other) (void)m;
  };
  EXPECT_THROW(closed(), ClosedError);
}

}  // namespace
}  // namespace ipcq_test
