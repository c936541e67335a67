// Receiving without a Message: consume() shows messages to a callback, receive_into() copies them to the caller's
// buffer. Both keep order, groups and exactly-once as receive() does.
#include <array>
#include <future>
#include <stdexcept>

#include "conformance/backend.hpp"

namespace ipcq_test {
namespace {

class InPlace : public BackendTest {
 protected:
  // Inline and slot messages in runs of three.
  static constexpr std::size_t mixed_bytes(std::uint64_t sequence) { return sequence / 3 % 2 == 0 ? 40 : 250; }

  // As receive_all(), by consume() of up to `limit` messages, or by receive_into() if that is 0.
  static Received take_all(Consumer& c, std::size_t limit) {
    Received r;
    const auto see = [&r](const MessageView& m) {
      const auto s = read_stamp(m.bytes());
      r.intact = r.intact && s.has_value() && s->sequence == m.sequence() && m.redeliveries() == 0;
      if (s) r.stamps.push_back(*s);
    };
    std::array<std::byte, 300> buffer{};
    while (r.last == Status::ok) {
      if (limit != 0) {
        const BatchResult got = c.consume(see, kBound, limit);
        r.last = got.status;
        r.intact = r.intact && got.count <= limit && (got.status != Status::ok || got.count != 0);
      } else if (const auto view = c.receive_into(buffer, kBound)) {
        see(*view);
      } else {
        r.last = view.status();
      }
    }
    return r;
  }
  // By a producer that stays open: the close of one has every group look for messages given back, which are not shown
  // in place.
  void send_all(std::uint64_t count, const std::string& queue = "q", std::size_t bytes = kStampBytes) {
    sender_ = producer(queue);
    for (std::uint64_t i = 0; i < count; ++i) ASSERT_EQ(send(sender_, 1, i, bytes), Status::ok);
    ASSERT_TRUE(all_processed(queue));
  }
  void TearDown() override {
    sender_.close();
    BackendTest::TearDown();
  }
  // A queue for each length, with a message in its line and one in a slot.
  static constexpr std::pair<const char*, std::size_t> kLengths[] = {{"inline", kStampBytes}, {"slots", 250}};
  // Of all that is left, until the end.
  std::vector<std::uint64_t> sequences(Consumer& c, std::vector<std::uint32_t>* redeliveries = nullptr) {
    sender_.close();
    std::vector<std::uint64_t> all;
    for (;;) {
      auto m = c.receive(kBound);
      if (!m) return all;
      all.push_back(m->sequence());
      if (redeliveries != nullptr) redeliveries->push_back(m->redeliveries());
    }
  }

  Producer sender_;
};
IPCQ_INSTANTIATE_WITH_ALL_WAITS(InPlace);

using testing::ElementsAre;

TEST_P(InPlace, MessagesOfEveryKindComeInOrder) {
  for (const std::size_t limit : {0u, 1u, 5u}) {
    const std::string queue = "q" + std::to_string(limit);
    create(queue, {.slots = 3, .size = 300, .lines = 16});
    constexpr std::uint64_t kMessages = 60;
    auto c = consumer(queue);
    std::thread sender([&] {
      auto p = producer(queue);
      for (std::uint64_t i = 0; i < kMessages; ++i) ASSERT_EQ(send(p, 1, i, mixed_bytes(i)), Status::ok);
    });
    const Received r = take_all(c, limit);
    sender.join();
    EXPECT_EQ(r.last, Status::end);
    EXPECT_TRUE(r.intact);
    ASSERT_EQ(r.stamps.size(), kMessages) << limit;
    for (std::uint64_t i = 0; i < kMessages; ++i) EXPECT_EQ(r.stamps[i].sequence, i);
    EXPECT_EQ(group_stats("default", queue).delivered, kMessages);
  }
}

TEST_P(InPlace, MembersShareTheWorkWhateverCallTheyReceiveBy) {
  create("q", {.slots = 5, .size = 300, .lines = 16});
  constexpr std::uint32_t kProducers = 2;
  constexpr std::uint64_t kEach = 50;
  std::vector<std::future<Received>> readers;
  for (const std::size_t limit : {0u, 4u, 99u}) {
    readers.push_back(std::async(std::launch::async, [c = consumer(), limit]() mutable {
      return limit == 99 ? receive_all(c) : take_all(c, limit);
    }));
  }
  send_from_each(kProducers, kEach, mixed_bytes);
  expect_each_once(readers, kProducers, kEach);
}

TEST_P(InPlace, ACallbackThatStopsLeavesTheRestToTheGroup) {
  for (const auto& [queue, bytes] : kLengths) {
    create(queue, {.slots = 6, .size = 300, .lines = 32});
    auto c = consumer(queue);
    send_all(6, queue, bytes);
    std::uint64_t seen = 0;
    const BatchResult r = c.consume([&](const MessageView&) { return ++seen < 2; }, kBound);
    EXPECT_EQ(r.status, Status::ok);
    EXPECT_EQ(r.count, 2u);
    EXPECT_EQ(seen, 2u);
    std::vector<std::uint32_t> redeliveries;
    EXPECT_THAT(sequences(c, &redeliveries), ElementsAre(2, 3, 4, 5));
    EXPECT_THAT(redeliveries, ElementsAre(0, 0, 0, 0));
    EXPECT_EQ(group_stats("default", queue).delivered, 6u);
  }
}

TEST_P(InPlace, ACallbackThatThrowsGivesItsMessageBack) {
  for (const auto& [queue, bytes] : kLengths) {
    create(queue, {.slots = 4, .size = 300, .lines = 32});
    auto c = consumer(queue);
    send_all(4, queue, bytes);
    const auto refuse_the_second = [](const MessageView& m) {
      if (m.sequence() == 1) throw std::runtime_error("cannot work on this");
    };
    EXPECT_THROW((void)c.consume(refuse_the_second, kBound), std::runtime_error);
    std::vector<std::uint32_t> redeliveries;
    EXPECT_THAT(sequences(c, &redeliveries), ElementsAre(1, 2, 3));
    EXPECT_THAT(redeliveries, ElementsAre(1, 0, 0));
  }
}

TEST_P(InPlace, APayloadThatExceedsTheBufferStaysTheNext) {
  create("q", {.slots = 2, .size = 300, .lines = 8});
  auto c = consumer();
  {
    auto p = producer();
    ASSERT_EQ(send(p, 1, 0, 40), Status::ok);
    ASSERT_EQ(send(p, 1, 1, 250), Status::ok);
  }
  std::array<std::byte, 300> buffer{};
  for (const std::size_t bytes : {40u, 250u}) {
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(c.receive_into(std::span(buffer).first(bytes - 1), kBound).status(), Status::too_large);
    }
    const auto m = c.receive_into(std::span(buffer).first(bytes), kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    EXPECT_EQ(m->bytes().data(), buffer.data());
    EXPECT_EQ(m->bytes().size(), bytes);
    EXPECT_TRUE(read_stamp(m->bytes()).has_value());
    EXPECT_EQ(m->redeliveries(), 0u);
  }
  EXPECT_EQ(c.receive_into(buffer, kBound).status(), Status::end);
  EXPECT_EQ(group_stats().delivered, 2u);
}

TEST_P(InPlace, WithinACallbackTheConsumerReceivesNothingElse) {
  create("q", {.slots = 2, .size = 300, .lines = 32});
  auto c = consumer();
  send_all(3);
  std::array<std::byte, 100> buffer{};
  std::vector<Message> batch(2);
  unsigned refused = 0;
  const BatchResult r = c.consume(
      [&](const MessageView&) {
        refused += c.receive(kBound).status() == Status::full ? 1 : 0;
        refused += c.receive_many(batch, kBound).status == Status::full ? 1 : 0;
        refused += c.receive_into(buffer, kBound).status() == Status::full ? 1 : 0;
        refused += c.consume([](const MessageView&) { FAIL(); }, kBound).status == Status::full ? 1 : 0;
      },
      kBound, 3);
  EXPECT_GE(r.count, 1u);
  EXPECT_EQ(refused, 4 * r.count);
}

TEST_P(InPlace, ACallbackMayCloseItsConsumer) {
  for (const auto& [queue, bytes] : kLengths) {
    create(queue, {.slots = 4, .size = 300, .lines = 32});
    auto other = consumer(queue);
    {
      auto c = consumer(queue);
      send_all(4, queue, bytes);
      std::uint64_t seen = 0;
      const auto close_at_the_second = [&](const MessageView& m) {
        ++seen;
        if (m.sequence() != 1) return;
        c.close();
        EXPECT_TRUE(read_stamp(m.bytes()).has_value());
      };
      (void)c.consume(close_at_the_second, kBound);
      EXPECT_EQ(seen, 2u);
      EXPECT_EQ(c.receive(kBound).status(), Status::closed);
    }
    std::vector<std::uint32_t> redeliveries;
    EXPECT_THAT(sequences(other, &redeliveries), ElementsAre(1, 2, 3));
    EXPECT_EQ(redeliveries.at(0), 1u);
  }
}

TEST_P(InPlace, AProducerThatWaitsGoesOnAsSoonAsALineIsFree) {
  create("q", {.slots = 2, .lines = 16});
  auto c = consumer();
  auto p = producer();
  for (std::uint64_t i = 0; i < 16; ++i) ASSERT_EQ(send(p, 1, i), Status::ok);
  ASSERT_TRUE(all_processed());
  auto late = std::async(std::launch::async, [&] { return send(p, 1, 16); });
  bool went_on = false;
  // Sooner than a sleeper looks by itself, after 5 s.
  const auto wait = [&](const MessageView& m) {
    if (m.sequence() == 0) std::this_thread::sleep_for(kMoment);
    if (m.sequence() == 1) went_on = late.wait_for(2s) == std::future_status::ready;
  };
  while (!went_on && c.consume(wait, kBound, 1).status == Status::ok && group_stats().waiting > 14) {
  }
  EXPECT_TRUE(went_on);
  EXPECT_EQ(late.get(), Status::ok);
  p.close();
  EXPECT_EQ(sequences(c).back(), 16u);
}

TEST_P(InPlace, WhatIsShownCountsAsHeld) {
  create("q", {.slots = 2, .lines = 32});
  auto c = consumer();
  send_all(6);
  const BatchResult r = c.consume(
      [&](const MessageView& m) {
        const GroupStats g = group_stats();
        EXPECT_EQ(g.delivered, m.sequence());
        EXPECT_EQ(g.waiting + g.held, 6 - m.sequence());
        EXPECT_GE(g.held, 1u);
      },
      kBound, 6);
  EXPECT_EQ(r.count, 6u);
  EXPECT_EQ(group_stats().delivered, 6u);
}

// Where producers must never wait for a reader, the callback sees a copy.
TEST_P(InPlace, ASlowCallbackHoldsUpNoProducerThatDropsTheOldest) {
  create("q", {.slots = 2, .lines = 4, .backpressure = Backpressure::drop_oldest});
  auto c = consumer();
  auto p = producer();
  ASSERT_EQ(send(p, 1, 0), Status::ok);
  ASSERT_TRUE(all_processed());
  (void)c.consume(
      [&](const MessageView&) {
        for (std::uint64_t i = 1; i < 20; ++i) {
          ASSERT_EQ(send(p, 1, i), Status::ok);
          ASSERT_TRUE(all_processed());
        }
      },
      kBound, 1);
  p.close();
  EXPECT_EQ(sequences(c).back(), 19u);
}

TEST_P(InPlace, AnyCallableIsACallback) {
  create("q", {.slots = 2, .lines = 32});
  auto c = consumer();
  send_all(4);
  static unsigned seen;
  seen = 0;
  struct Counter {
    static void count(const MessageView&) { ++seen; }
    bool operator()(const MessageView&) const { return ++seen != 0; }
  };
  const Counter constant;
  EXPECT_EQ(c.consume(Counter::count, kBound, 1).count, 1u);
  EXPECT_EQ(c.consume(&Counter::count, kBound, 1).count, 1u);
  EXPECT_EQ(c.consume(constant, kBound, 1).count, 1u);
  EXPECT_EQ(c.consume([](const MessageView&) { ++seen; }, kBound, 1).count, 1u);
  EXPECT_EQ(seen, 4u);
  EXPECT_EQ(c.consume(constant, kBound, 0).count, 0u);
}

}  // namespace
}  // namespace ipcq_test
