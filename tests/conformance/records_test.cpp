// Record batches: what send_many() sends in a queue with batch=records arrives as it was sent, record by record, by
// every way to receive; a batch is held, released, given back and counted as one message.
#include <array>
#include <future>
#include <map>
#include <ranges>
#include <span>
#include <stdexcept>
#include <thread>

#include "conformance/backend.hpp"

namespace ipcq_test {
namespace {

class RecordBatches : public BackendTest {
 protected:
  using Payloads = std::vector<std::vector<std::byte>>;

  void create_records(const std::string& queue, QueueOptions options = {}) {
    options.batch = Batch::records;
    create(queue, options);
  }
  static Payloads payloads(std::size_t count, std::size_t bytes = kStampBytes, std::uint64_t first = 0) {
    Payloads all;
    while (all.size() < count) all.push_back(stamped(1, first + all.size(), bytes));
    return all;
  }
  // Of one call that packs them all into one batch.
  void send_batch(std::size_t count, const std::string& queue = "q", std::uint64_t first = 0) {
    if (!sender_.id()) sender_ = producer(queue);
    ASSERT_EQ(sender_.send_many(payloads(count, kStampBytes, first), kBound).count, count);
    ASSERT_TRUE(all_processed(queue));
  }
  void TearDown() override {
    sender_.close();
    BackendTest::TearDown();
  }
  static std::uint64_t sequence_in(std::span<const std::byte> bytes) {
    return read_stamp(bytes).value_or(Stamp{}).sequence;
  }
  static bool is(std::span<const std::byte> got, const std::vector<std::byte>& expected) {
    return std::equal(got.begin(), got.end(), expected.begin(), expected.end());
  }
  // Each call of receive_into() takes one, of consume() up to 7, of receive_many() up to 5.
  enum class By { receive, receive_many, receive_into, consume };
  // All that comes until the end, as a copy.
  static Payloads receive_payloads(Consumer& c, By by) {
    Payloads all;
    const auto keep = [&all](const MessageView& m) { all.emplace_back(m.bytes().begin(), m.bytes().end()); };
    std::array<std::byte, 4096> buffer{};
    std::array<Message, 5> batch;
    for (;;) {
      if (by == By::consume) {
        const BatchResult got = c.consume(keep, kBound, 7);
        EXPECT_LE(got.count, 7u);
        if (got.status != Status::ok) return all;
      } else if (by == By::receive_many) {
        const BatchResult got = c.receive_many(batch, kBound);
        if (got.status != Status::ok) return all;
        for (Message& m : std::span(batch).first(got.count)) {
          keep(m);
          EXPECT_EQ(m.release(), Status::ok);
        }
      } else if (by == By::receive_into) {
        const auto view = c.receive_into(buffer, kBound);
        if (!view) return all;
        keep(*view);
      } else {
        const auto m = c.receive(kBound);
        if (!m) return all;
        keep(*m);
      }
    }
  }

  Producer sender_;
};
IPCQ_INSTANTIATE_PER_BACKEND(RecordBatches);

TEST_P(RecordBatches, PayloadsOfEveryLengthComeInOrderByEveryCall) {
  for (const By by : {By::receive, By::receive_many, By::receive_into, By::consume}) {
    const std::string queue = "q" + std::to_string(static_cast<int>(by));
    create_records(queue, {.slots = 3, .size = 512, .lines = 16});
    Payloads sent;
    for (unsigned i = 0; i < 200; ++i) {
      constexpr std::size_t kLengths[] = {0, 1, 15, 16, 17, 48, 64, 100, 250, 476, 477, 500, 512};
      sent.push_back(patterned(kLengths[i % std::size(kLengths)], i));
    }
    auto c = consumer(queue);
    std::thread sender([&, p = producer(queue)]() mutable {
      const auto done = p.send_many(sent, kBound);
      EXPECT_EQ(done.status, Status::ok);
      EXPECT_EQ(done.count, sent.size());
    });
    const Payloads got = receive_payloads(c, by);
    sender.join();
    ASSERT_EQ(got.size(), sent.size()) << queue;
    for (std::size_t i = 0; i < sent.size(); ++i) EXPECT_TRUE(is(got[i], sent[i])) << queue << " " << i;
  }
}

TEST_P(RecordBatches, ManyPayloadsTakeOneMessage) {
  create_records("q", {.slots = 2, .size = 64 << 10});
  auto c = consumer();
  constexpr std::size_t kPayloads = 900;  // several chunks of the call for ranges
  send_batch(kPayloads);
  EXPECT_EQ(stats().published, 1u);
  EXPECT_EQ(stats().records, kPayloads);
  std::uint32_t record = 0;
  std::uint64_t ticket = 0;
  const auto see = [&](const MessageView& m) {
    if (record == 0) ticket = m.ticket();
    EXPECT_EQ(m.record(), record);
    EXPECT_EQ(m.ticket(), ticket);
    EXPECT_EQ(sequence_in(m.bytes()), record);
    EXPECT_TRUE(m.processed());
    ++record;
  };
  EXPECT_EQ(c.consume(see, kBound, 2 * kPayloads).count, kPayloads);
  EXPECT_EQ(record, kPayloads);
  const GroupStats g = group_stats();
  EXPECT_EQ(g.delivered, 1u);
  EXPECT_EQ(g.records, kPayloads);
}

TEST_P(RecordBatches, OneByOneTheyAreMessages) {
  create_records("q", {.slots = 2, .size = 4096});
  auto c = consumer();
  auto p = producer();
  for (std::uint64_t i = 0; i < 3; ++i) ASSERT_EQ(send(p, 1, i, i == 1 ? 500 : kStampBytes), Status::ok);
  for (std::uint64_t n : {1u, 2u}) EXPECT_EQ(p.send_many(payloads(n, kStampBytes, 2 + n), kBound).count, n);
  ASSERT_TRUE(all_processed());
  EXPECT_EQ(stats().published, 5u);
  EXPECT_EQ(stats().records, 6u);
  for (std::int64_t i = 0; i < 6; ++i) EXPECT_EQ(next_sequence(c), i);
}

TEST_P(RecordBatches, ABatchIsHeldUntilItsLastRecordIsReleased) {
  create_records("q", {.slots = 1, .size = 4096});
  auto c = consumer();
  send_batch(4);
  std::array<Message, 3> first;
  ASSERT_EQ(c.receive_many(first, kBound).count, 3u);
  for (Message& m : first) EXPECT_EQ(m.release(), Status::ok);
  EXPECT_EQ(stats().empty, 0u);
  EXPECT_EQ(group_stats().held, 1u);
  auto last = c.receive(kBound);
  ASSERT_TRUE(last);
  EXPECT_EQ(sequence_in(last->bytes()), 3u);
  EXPECT_EQ(stats().empty, 0u);
  std::thread([m = std::move(*last)]() mutable { EXPECT_EQ(m.release(), Status::ok); }).join();
  EXPECT_EQ(stats().empty, 1u);
  EXPECT_EQ(group_stats().delivered, 1u);
}

TEST_P(RecordBatches, ARecordThatIsGivenBackBringsItsBatchAgain) {
  create_records("q", {.slots = 1, .size = 4096});
  auto c = consumer();
  send_batch(5);
  auto first = c.receive(kBound);
  auto second = c.receive(kBound);
  ASSERT_TRUE(first && second);
  EXPECT_EQ(second->nack(), Status::ok);
  EXPECT_EQ(c.receive(Duration::zero()).status(), Status::empty);  // the rest comes with the batch
  EXPECT_EQ(first->release(), Status::ok);
  for (std::uint32_t i = 0; i < 5; ++i) {
    auto m = c.receive(kBound);
    ASSERT_TRUE(m);
    EXPECT_EQ(m->record(), i);
    EXPECT_EQ(sequence_in(m->bytes()), i);
    EXPECT_EQ(m->redeliveries(), 1u);
  }
  EXPECT_EQ(group_stats().records, 5u);  // each counts once
  EXPECT_EQ(group_stats().redelivered, 1u);
}

TEST_P(RecordBatches, MembersShareBatches) {
  create_records("q", {.slots = 4, .size = 200, .lines = 16});
  std::vector<std::future<Received>> readers;
  for (int i = 0; i < 2; ++i) {
    readers.push_back(std::async(std::launch::async, [c = consumer()]() mutable { return receive_all(c); }));
  }
  constexpr std::uint64_t kPayloads = 100;
  {
    auto p = producer();
    EXPECT_EQ(p.send_many(payloads(kPayloads), kBound).count, kPayloads);
  }
  std::map<std::uint64_t, int> seen;
  for (auto& reader : readers) {
    const Received r = reader.get();
    EXPECT_EQ(r.last, Status::end);
    EXPECT_TRUE(r.intact);
    for (const auto& s : r.stamps) ++seen[s.sequence];
  }
  EXPECT_EQ(seen.size(), kPayloads);
  for (const auto& [sequence, times] : seen) EXPECT_EQ(times, 1) << sequence;
}

TEST_P(RecordBatches, EveryGroupGetsThem) {
  create_records("q", {.slots = 2, .size = 4096, .groups = {{"a"}, {"b"}}});
  send_batch(3);
  for (const char* const group : {"a", "b"}) {
    auto c = consumer("q", group);
    for (std::int64_t i = 0; i < 3; ++i) EXPECT_EQ(next_sequence(c), i) << group;
  }
  EXPECT_EQ(stats().empty, 2u);
}

TEST_P(RecordBatches, ACallbackMayStopAmongThem) {
  create_records("q", {.slots = 2, .size = 4096});
  auto c = consumer();
  send_batch(6);
  std::vector<std::uint64_t> seen;
  const auto see = [&](const MessageView& m) {
    seen.push_back(sequence_in(m.bytes()));
    return seen.size() % 2 != 0;
  };
  EXPECT_EQ(c.consume(see, kBound).count, 2u);
  EXPECT_EQ(c.consume(see, kBound, 1).count, 1u);
  EXPECT_EQ(next_sequence(c), 3);
  EXPECT_EQ(c.consume(see, kBound, 2).count, 1u);  // the fourth that it sees
  EXPECT_EQ(next_sequence(c), 5);
  EXPECT_THAT(seen, testing::ElementsAre(0, 1, 2, 4));
  EXPECT_EQ(stats().empty, 2u);
  EXPECT_EQ(c.consume(see, Duration::zero()).status, Status::empty);
}

TEST_P(RecordBatches, ACallbackThatThrowsGivesTheBatchBack) {
  create_records("q", {.slots = 2, .size = 4096});
  auto c = consumer();
  send_batch(3);
  const auto see = [](const MessageView& m) {
    if (m.record() == 1 && m.redeliveries() == 0) throw std::runtime_error("not this one");
  };
  EXPECT_THROW((void)c.consume(see, kBound), std::runtime_error);
  EXPECT_EQ(c.consume(see, kBound).count, 3u);
  EXPECT_EQ(group_stats().redelivered, 1u);
}

TEST_P(RecordBatches, WithinACallbackNothingElseIsReceived) {
  create_records("q", {.slots = 2, .size = 4096});
  auto c = consumer();
  send_batch(2);
  std::array<std::byte, 64> buffer{};
  const auto see = [&](const MessageView&) {
    EXPECT_EQ(c.receive(kBound).status(), Status::full);
    EXPECT_EQ(c.receive_into(buffer, kBound).status(), Status::full);
  };
  EXPECT_EQ(c.consume(see, kBound).count, 2u);
}

TEST_P(RecordBatches, AConsumerThatClosesAmongThemGivesTheBatchBack) {
  create_records("q", {.slots = 2, .size = 4096});
  send_batch(3);
  Message kept;
  {
    auto c = consumer();
    EXPECT_EQ(next_sequence(c), 0);
    auto second = c.receive(kBound);
    ASSERT_TRUE(second);
    kept = std::move(*second);
  }
  EXPECT_EQ(kept.release(), Status::closed);
  {
    auto c = consumer();
    EXPECT_EQ(next_sequence(c), 0);  // and none of them is kept
  }
  auto c = consumer();
  const auto see = [&](const MessageView& m) {
    EXPECT_GE(m.redeliveries(), 1u);
    c.close();
  };
  EXPECT_EQ(c.consume(see, kBound).count, 1u);
  auto last = consumer();
  for (std::int64_t i = 0; i < 3; ++i) EXPECT_EQ(next_sequence(last), i);
}

TEST_P(RecordBatches, OneThatDoesNotFitTheBufferIsTheNextAgain) {
  create_records("q", {.slots = 2, .size = 4096});
  auto c = consumer();
  auto p = producer();
  const Payloads sent = {patterned(10, 1), patterned(300, 2), patterned(20, 3), patterned(200, 4)};
  ASSERT_EQ(p.send_many(sent, kBound).count, 4u);
  std::array<std::byte, 64> buffer{};
  EXPECT_TRUE(c.receive_into(buffer, kBound));
  EXPECT_EQ(c.receive_into(buffer, kBound).status(), Status::too_large);
  EXPECT_EQ(c.receive_into(buffer, kBound).status(), Status::too_large);
  EXPECT_TRUE(is(c.receive(kBound)->bytes(), sent[1]));
  EXPECT_TRUE(c.receive_into(buffer, kBound));
  EXPECT_EQ(c.receive_into(buffer, kBound).status(), Status::too_large);  // the last of its batch
  EXPECT_TRUE(is(c.receive(kBound)->bytes(), sent[3]));
  EXPECT_EQ(stats().empty, 2u);
}

TEST_P(RecordBatches, OneIsForwardedAsAMessage) {
  create_records("q", {.slots = 2, .size = 4096});
  create("to", {.slots = 2, .size = 4096});
  auto c = consumer();
  auto there = consumer("to");
  auto out = producer("to");
  send_batch(3);
  for (std::uint64_t i = 0; i < 3; ++i) {
    auto m = c.receive(kBound);
    ASSERT_TRUE(m);
    EXPECT_EQ(out.forward(*m, kBound), Status::ok);
    EXPECT_FALSE(*m);
  }
  EXPECT_EQ(stats().empty, 2u);
  for (std::int64_t i = 0; i < 3; ++i) EXPECT_EQ(next_sequence(there), i);
}

TEST_P(RecordBatches, WhatWasNotSentIsNotCounted) {
  create_records("q", {.slots = 1, .size = 4096});
  auto c = consumer();
  auto p = producer();
  Payloads all = payloads(2);
  all.push_back(patterned(5000, 1));  // exceeds a slot
  all.push_back(stamped(1, 2));
  auto sent = p.send_many(all, kBound);
  EXPECT_EQ(sent.status, Status::too_large);
  EXPECT_EQ(sent.count, 2u);
  sent = p.send_many(payloads(200, 100, 7), Duration::zero());  // a second slot is needed
  EXPECT_EQ(sent.status, Status::full);
  EXPECT_EQ(sent.count, 0u);
  for (std::int64_t i = 0; i < 2; ++i) EXPECT_EQ(next_sequence(c), i);
  sent = p.send_many(payloads(200, 100, 7), Duration::zero());
  EXPECT_EQ(sent.status, Status::full);
  EXPECT_GT(sent.count, 30u);
  EXPECT_LT(sent.count, 41u);
  ASSERT_TRUE(all_processed());
  for (std::size_t i = 0; i < sent.count; ++i) EXPECT_EQ(next_sequence(c), static_cast<std::int64_t>(7 + i));
  EXPECT_EQ(c.receive(Duration::zero()).status(), Status::empty);
}

TEST_P(RecordBatches, ARangeThatThrowsLeavesNothingOpen) {
  create_records("q", {.slots = 1, .size = 16 << 10});
  auto p = producer();
  const Payloads all = payloads(100);
  const auto numbers = std::views::iota(0, 100) | std::views::transform([&](int i) -> const std::vector<std::byte>& {
                         if (i == 80) throw std::runtime_error("no more");
                         return all[static_cast<std::size_t>(i)];
                       });
  EXPECT_THROW((void)p.send_many(numbers, kBound), std::runtime_error);
  EXPECT_EQ(stats().claimed, 0u);
  EXPECT_EQ(stats().published, 0u);
}

}  // namespace
}  // namespace ipcq_test
