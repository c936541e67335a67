// The data path with every way to wait on both sides: order, exactly once, batches, wake-ups, deadlines.
#include <future>

#include "conformance/backend.hpp"

namespace ipcq_test {
namespace {

class DataPath : public BackendTest {};
IPCQ_INSTANTIATE_WITH_ALL_WAITS(DataPath);

// Inline and slot messages in turn.
constexpr std::size_t mixed_bytes(std::uint64_t sequence) { return sequence % 2 == 0 ? 40 : 200 + sequence % 50; }

TEST_P(DataPath, LoanedPublishedAndReceivedBytesAreTheSame) {
  create("q", {.slots = 2, .size = 300});
  auto p = producer();
  auto c = consumer();
  for (unsigned i = 0; i < 5; ++i) {
    auto loan = p.loan(kBound);
    ASSERT_EQ(loan.status(), Status::ok);
    ASSERT_EQ(loan->bytes().size(), 300u);
    stamp(loan->bytes().first(250), 7, i);
    ASSERT_EQ(loan->publish(250, kBound), Status::ok);
    auto m = c.receive(kBound);
    ASSERT_EQ(m.status(), Status::ok);
    EXPECT_THAT(read_stamp(m->bytes()), testing::Optional(testing::Field(&Stamp::sequence, i)));
    EXPECT_EQ(m->sequence(), i);
    EXPECT_EQ(m->ticket(), i);
    EXPECT_EQ(m->producer(), p.id());
    EXPECT_NE(m->published_at_ns(), 0u);
    EXPECT_TRUE(m->processed());
    EXPECT_EQ(m->redeliveries(), 0u);
    EXPECT_EQ(m->release(), Status::ok);
  }
}

TEST_P(DataPath, KeepsPublishOrderOverManyLapsOfATinyRing) {
  create("q", {.slots = 3, .size = 300, .lines = 4});
  constexpr std::uint64_t kMessages = 120;  // 30 laps
  auto c = consumer();
  std::thread sender([&] {
    auto p = producer();
    for (std::uint64_t i = 0; i < kMessages; ++i) ASSERT_EQ(send(p, 1, i, mixed_bytes(i)), Status::ok);
  });
  const Received r = receive_all(c);
  sender.join();
  EXPECT_EQ(r.last, Status::end);
  EXPECT_TRUE(r.intact);
  ASSERT_EQ(r.stamps.size(), kMessages);
  for (std::uint64_t i = 0; i < kMessages; ++i) EXPECT_EQ(r.stamps[i].sequence, i);
}

TEST_P(DataPath, BatchesKeepTheOrderWhateverTheRingHolds) {
  create("q", {.slots = 3, .size = 300, .lines = 8});
  constexpr std::uint64_t kMessages = 100;
  auto c = consumer();
  std::thread sender([&] {
    auto p = producer();
    std::vector<std::vector<std::byte>> bytes;
    // Long runs of inline messages with a slot message now and then.
    for (std::uint64_t i = 0; i < kMessages; ++i) bytes.push_back(stamped(1, i, i % 10 == 9 ? 250 : 30));
    const std::vector<std::span<const std::byte>> batch(bytes.begin(), bytes.end());
    const BatchResult sent = p.send_many(batch, kBound);
    EXPECT_EQ(sent.status, Status::ok);
    EXPECT_EQ(sent.count, kMessages);
  });
  std::vector<Message> batch(16);
  std::uint64_t next = 0;
  for (;;) {
    const BatchResult got = c.receive_many(batch, kBound);
    if (got.status != Status::ok) {
      EXPECT_EQ(got.status, Status::end);
      break;
    }
    ASSERT_GE(got.count, 1u);
    for (std::size_t i = 0; i < got.count; ++i) {
      EXPECT_THAT(read_stamp(batch[i].bytes()), testing::Optional(testing::Field(&Stamp::sequence, next)));
      ++next;
      EXPECT_EQ(batch[i].release(), Status::ok);
    }
  }
  sender.join();
  EXPECT_EQ(next, kMessages);
}

TEST_P(DataPath, ManyProducersAndConsumersDeliverExactlyOnceInOrderPerProducer) {
  create("q", {.slots = 5, .size = 300, .lines = 8});
  constexpr std::uint32_t kProducers = 3;
  constexpr std::uint64_t kEach = 40;
  std::vector<std::future<Received>> readers;
  for (int i = 0; i < 2; ++i) {
    readers.push_back(std::async(std::launch::async, [this, c = consumer()]() mutable { return receive_all(c); }));
  }
  send_from_each(kProducers, kEach, mixed_bytes);
  expect_each_once(readers, kProducers, kEach);
}

TEST_P(DataPath, EachOfTwoGroupsSeesEveryMessage) {
  create("q", {.slots = 3, .size = 300, .lines = 4, .groups = {{"one"}, {"two"}}});
  constexpr std::uint64_t kMessages = 40;
  std::vector<std::future<Received>> readers;
  for (const char* group : {"one", "two"}) {
    readers.push_back(
        std::async(std::launch::async, [this, c = consumer("q", group)]() mutable { return receive_all(c); }));
  }
  auto p = producer();
  for (std::uint64_t i = 0; i < kMessages; ++i) ASSERT_EQ(send(p, 1, i, mixed_bytes(i)), Status::ok);
  p.close();
  for (auto& reader : readers) {
    const Received r = reader.get();
    EXPECT_EQ(r.last, Status::end);
    EXPECT_TRUE(r.intact);
    EXPECT_EQ(r.stamps.size(), kMessages);
    EXPECT_TRUE(std::is_sorted(r.stamps.begin(), r.stamps.end(),
                               [](const Stamp& a, const Stamp& b) { return a.sequence < b.sequence; }));
  }
}

TEST_P(DataPath, AWaitingConsumerGetsWhatIsPublishedLater) {
  create("q");
  auto c = consumer();
  auto p = producer();
  auto waiting = std::async(std::launch::async, [&] { return next_sequence(c); });
  std::this_thread::sleep_for(kMoment);
  ASSERT_EQ(send(p, 1, 5), Status::ok);
  EXPECT_EQ(waiting.get(), 5);
}

TEST_P(DataPath, AWaitingProducerGoesOnWhenALineBecomesFree) {
  create("q", {.slots = 1, .lines = 4});
  auto p = producer();
  auto c = consumer();
  for (std::uint64_t i = 0; i < 4; ++i) ASSERT_EQ(send(p, 1, i), Status::ok);
  auto waiting = std::async(std::launch::async, [&] { return send(p, 1, 4); });
  std::this_thread::sleep_for(kMoment);
  EXPECT_EQ(waiting.wait_for(0s), std::future_status::timeout);
  EXPECT_EQ(next_sequence(c), 0);
  EXPECT_EQ(waiting.get(), Status::ok);
  for (std::int64_t i = 1; i <= 4; ++i) EXPECT_EQ(next_sequence(c), i);
}

TEST_P(DataPath, AWaitingProducerGoesOnWhenASlotBecomesFree) {
  create("q", {.slots = 1, .size = 300});
  auto p = producer();
  auto c = consumer();
  ASSERT_EQ(send(p, 1, 0, 300), Status::ok);
  auto m = c.receive(kBound);
  ASSERT_TRUE(m);
  auto waiting = std::async(std::launch::async, [&] { return send(p, 1, 1, 300); });
  std::this_thread::sleep_for(kMoment);
  EXPECT_EQ(waiting.wait_for(0s), std::future_status::timeout);
  EXPECT_EQ(m->release(), Status::ok);
  EXPECT_EQ(waiting.get(), Status::ok);
  EXPECT_EQ(next_sequence(c), 1);
}

TEST_P(DataPath, AMessageGivenBackWakesAnotherWaitingMember) {
  create("q");
  auto p = producer();
  auto holder = consumer();
  auto other = consumer();
  ASSERT_EQ(send(p, 1, 0), Status::ok);
  auto m = holder.receive(kBound);
  ASSERT_TRUE(m);
  auto waiting = std::async(std::launch::async, [&] {
    auto again = other.receive(kBound);
    return again ? static_cast<int>(again->redeliveries()) : -1;
  });
  std::this_thread::sleep_for(kMoment);
  EXPECT_EQ(m->nack(), Status::ok);
  EXPECT_EQ(waiting.get(), 1);
}

TEST_P(DataPath, AWaitingConsumerHearsOfTheEnd) {
  create("q");
  auto c = consumer();
  auto p = producer();
  auto waiting = std::async(std::launch::async, [&] { return c.receive(kBound).status(); });
  std::this_thread::sleep_for(kMoment);
  p.close();
  EXPECT_EQ(waiting.get(), Status::end);
}

TEST_P(DataPath, WaitersHearOfTheStop) {
  create("q", {.slots = 1, .lines = 4});
  create("full", {.slots = 1, .lines = 2});
  auto c = consumer();
  auto p = producer("full");
  for (std::uint64_t i = 0; i < 2; ++i) ASSERT_EQ(send(p, 1, i), Status::ok);
  auto receiving = std::async(std::launch::async, [&] { return c.receive(kBound).status(); });
  auto sending = std::async(std::launch::async, [&] { return send(p, 1, 2); });
  std::this_thread::sleep_for(kMoment);
  EXPECT_EQ(broker_.stop(), 2u);
  EXPECT_EQ(receiving.get(), Status::closed);
  EXPECT_EQ(sending.get(), Status::closed);
}

TEST_P(DataPath, InterruptEndsEveryWaitUntilResumed) {
  create("q", {.slots = 1, .size = 300, .lines = 2});
  auto c = consumer("q");
  auto p = producer("q");
  auto holder = producer("q");
  auto loan = holder.loan(kBound);
  ASSERT_TRUE(loan);
  auto receiving = std::async(std::launch::async, [&] { return c.receive(kBound).status(); });
  auto loaning = std::async(std::launch::async, [&] { return p.loan(kBound).status(); });
  std::this_thread::sleep_for(kMoment);
  session_.interrupt();
  EXPECT_EQ(receiving.get(), Status::interrupted);
  EXPECT_EQ(loaning.get(), Status::interrupted);
  EXPECT_EQ(c.receive(kBound).status(), Status::interrupted);  // stays so
  session_.resume();
  EXPECT_EQ(c.receive(1ms).status(), Status::timeout);
  EXPECT_EQ(send(p, 1, 3), Status::ok);
  EXPECT_EQ(next_sequence(c), 3);
}

TEST_P(DataPath, DeadlinesAreKept) {
  create("q", {.slots = 1, .size = 300, .lines = 2});
  auto c = consumer();
  auto p = producer();
  const auto took = [](auto call) {
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(call(), Status::timeout);
    return std::chrono::steady_clock::now() - start;
  };
  EXPECT_GE(took([&] { return c.receive(kMoment).status(); }), kMoment);
  EXPECT_EQ(c.receive(0ns).status(), Status::empty);
  EXPECT_EQ(c.receive(-1ns).status(), Status::empty);
  {
    auto loan = p.loan(kBound);
    ASSERT_TRUE(loan);
    EXPECT_GE(took([&] { return p.loan(kMoment).status(); }), kMoment);
  }
  for (std::uint64_t i = 0; i < 2; ++i) ASSERT_EQ(send(p, 1, i), Status::ok);
  EXPECT_GE(took([&] { return send(p, 1, 2, kStampBytes, kMoment); }), kMoment);
  for (std::int64_t i = 0; i < 2; ++i) EXPECT_EQ(next_sequence(c), i);
}

}  // namespace
}  // namespace ipcq_test
