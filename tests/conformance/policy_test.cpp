// What happens when there is no room: backpressure of the queue, policy of the group, and that every term is counted.
#include <algorithm>
#include <future>

#include "conformance/backend.hpp"
#include "errors.hpp"

namespace ipcq_test {
namespace {

class Policy : public BackendTest {
 protected:
  // published = delivered + filtered + dropped + expired + dead-lettered + lost, and what is still under way.
  static void expect_identity(const GroupStats& g) {
    EXPECT_EQ(g.published,
              g.waiting + g.held + g.delivered + g.filtered + g.dropped + g.expired + g.dead_lettered + g.lost)
        << g.name;
  }
};
IPCQ_INSTANTIATE_PER_BACKEND(Policy);

TEST_P(Policy, BlockTimesOutAndLosesNothing) {
  create("q", {.slots = 2, .size = 100, .lines = 4});
  auto p = producer();
  auto c = consumer();
  for (std::uint64_t i = 0; i < 2; ++i) ASSERT_EQ(send(p, 1, i, 100), Status::ok);
  EXPECT_EQ(send(p, 1, 2, 100, kMoment), Status::timeout);  // no slot
  for (std::uint64_t i = 2; i < 4; ++i) ASSERT_EQ(send(p, 1, i, 30), Status::ok);
  EXPECT_EQ(send(p, 1, 4, 30, kMoment), Status::timeout);  // no line
  EXPECT_THAT(send(p, 1, 4, 30, 0ns), testing::AnyOf(Status::timeout, Status::full));
  for (std::int64_t i = 0; i < 4; ++i) EXPECT_EQ(next_sequence(c), i);
  EXPECT_EQ(group_stats().dropped, 0u);
  EXPECT_EQ(group_stats().delivered, 4u);
}

TEST_P(Policy, ALoanWaitsForALineAndIsKept) {
  create("q", {.slots = 3, .size = 100, .lines = 2});
  auto p = producer();
  auto c = consumer();
  for (std::uint64_t i = 0; i < 2; ++i) ASSERT_EQ(send(p, 1, i, 100), Status::ok);
  auto loan = p.loan(kBound);
  ASSERT_TRUE(loan);
  stamp(loan->bytes().first(100), 1, 2);
  EXPECT_EQ(loan->publish(100, kMoment), Status::timeout);
  EXPECT_EQ(next_sequence(c), 0);
  EXPECT_EQ(loan->publish(100, kBound), Status::ok);
  EXPECT_EQ(next_sequence(c), 1);
  EXPECT_EQ(next_sequence(c), 2);
}

TEST_P(Policy, RejectSaysFullAtOnce) {
  create("q", {.slots = 2, .size = 100, .lines = 4, .backpressure = Backpressure::reject});
  auto p = producer();
  auto c = consumer();
  for (std::uint64_t i = 0; i < 2; ++i) ASSERT_EQ(send(p, 1, i, 100), Status::ok);
  EXPECT_EQ(p.loan(kForever).status(), Status::full);
  EXPECT_EQ(send(p, 1, 2, 100, kForever), Status::full);
  for (std::uint64_t i = 2; i < 4; ++i) ASSERT_EQ(send(p, 1, i, 30), Status::ok);
  EXPECT_EQ(send(p, 1, 4, 30, kForever), Status::full);
  EXPECT_EQ(next_sequence(c), 0);
  EXPECT_EQ(send(p, 1, 4, 30, kForever), Status::ok);
  for (std::int64_t i = 1; i < 5; ++i) EXPECT_EQ(next_sequence(c), i);
}

TEST_P(Policy, RejectedBatchesSayHowFarTheyCame) {
  create("q", {.slots = 1, .lines = 4, .backpressure = Backpressure::reject});
  auto p = producer();
  auto c = consumer();
  std::vector<std::vector<std::byte>> bytes;
  for (std::uint64_t i = 0; i < 6; ++i) bytes.push_back(stamped(1, i));
  const std::vector<std::span<const std::byte>> batch(bytes.begin(), bytes.end());
  const BatchResult sent = p.send_many(batch, kForever);
  EXPECT_EQ(sent.status, Status::full);
  EXPECT_EQ(sent.count, 4u);
  for (std::int64_t i = 0; i < 4; ++i) EXPECT_EQ(next_sequence(c), i);
}

TEST_P(Policy, DropOldestKeepsTheNewestLines) {
  create("q", {.slots = 1, .lines = 4, .backpressure = Backpressure::drop_oldest});
  auto p = producer();
  for (std::uint64_t i = 0; i < 10; ++i) ASSERT_EQ(send(p, 1, i), Status::ok);
  auto c = consumer();
  for (std::int64_t i = 6; i < 10; ++i) EXPECT_EQ(next_sequence(c), i);
  const GroupStats g = group_stats();
  EXPECT_EQ(g.dropped, 6u);
  EXPECT_EQ(g.delivered, 4u);
  expect_identity(g);
}

TEST_P(Policy, DropOldestFreesSlots) {
  create("q", {.slots = 3, .size = 100, .lines = 16, .backpressure = Backpressure::drop_oldest});
  auto p = producer();
  for (std::uint64_t i = 0; i < 10; ++i) ASSERT_EQ(send(p, 1, i, 100), Status::ok);
  auto c = consumer();
  for (std::int64_t i = 7; i < 10; ++i) EXPECT_EQ(next_sequence(c), i);
  EXPECT_EQ(group_stats().dropped, 7u);
  EXPECT_EQ(stats().empty, 3u);
}

TEST_P(Policy, DropOldestTakesFromTheGroupThatLags) {
  create("q", {.slots = 1, .lines = 4, .backpressure = Backpressure::drop_oldest, .groups = {{"fast"}, {"slow"}}});
  auto p = producer();
  auto fast = consumer("q", "fast"), slow = consumer("q", "slow");
  for (std::int64_t i = 0; i < 10; ++i) {
    ASSERT_EQ(send(p, 1, static_cast<std::uint64_t>(i)), Status::ok);
    EXPECT_EQ(next_sequence(fast), i);
  }
  for (std::int64_t i = 6; i < 10; ++i) EXPECT_EQ(next_sequence(slow), i);
  EXPECT_EQ(group_stats("fast").dropped, 0u);
  EXPECT_EQ(group_stats("fast").delivered, 10u);
  EXPECT_EQ(group_stats("slow").dropped, 6u);
  EXPECT_EQ(group_stats("slow").delivered, 4u);
}

TEST_P(Policy, DropOldestLeavesHeldMessagesAlone) {
  create("q", {.slots = 2, .size = 100, .lines = 4, .backpressure = Backpressure::drop_oldest});
  auto p = producer();
  auto c = consumer();
  ASSERT_EQ(send(p, 1, 0, 100), Status::ok);
  auto held = c.receive(kBound);
  ASSERT_TRUE(held);
  for (std::uint64_t i = 1; i < 8; ++i) ASSERT_EQ(send(p, 1, i, 100), Status::ok);
  EXPECT_THAT(read_stamp(held->bytes()), testing::Optional(testing::Field(&Stamp::sequence, 0u)));
  EXPECT_EQ(held->release(), Status::ok);
  EXPECT_EQ(next_sequence(c), 7);
  const GroupStats g = group_stats();
  EXPECT_EQ(g.dropped, 6u);
  expect_identity(g);
}

TEST_P(Policy, ABatchMakesRoomWithoutWaiting) {
  create("drops", {.slots = 1, .lines = 16, .backpressure = Backpressure::drop_oldest});
  create("lossy",
         {.slots = 1, .lines = 16, .backpressure = Backpressure::reject, .groups = {{"default", GroupPolicy::lossy}}});
  std::vector<std::vector<std::byte>> bytes;
  for (std::uint64_t i = 0; i < 16; ++i) bytes.push_back(stamped(1, i));
  const std::vector<std::span<const std::byte>> batch(bytes.begin(), bytes.end());
  for (const char* queue : {"drops", "lossy"}) {
    for (const Wait wait : {Wait::spin(), Wait::hybrid(), Wait::sleep()}) {
      auto p = session_.producer(queue, {.wait = wait});
      for (int i = 0; i < 3; ++i) {
        ASSERT_TRUE(all_processed(queue));  // what is not processed yet cannot be dropped
        const BatchResult sent = p.send_many(batch, 0ns);
        EXPECT_EQ(sent.status, Status::ok) << queue << " " << to_string(wait.kind());
        EXPECT_EQ(sent.count, batch.size()) << queue << " " << to_string(wait.kind());
      }
    }
    auto c = consumer(queue);
    for (std::int64_t i = 0; i < 16; ++i) EXPECT_EQ(next_sequence(c), i);
    EXPECT_EQ(group_stats("default", queue).dropped, 8u * 16u);
  }
}

// Sends 400 messages to a queue that makes room by itself. A producer that nobody wakes would be late each time; the
// first such time ends it.
void send_without_help(Producer p, std::size_t slot_bytes) {
  for (std::uint64_t i = 0; i < 400; ++i) {
    const auto start = std::chrono::steady_clock::now();
    ASSERT_EQ(p.send(stamped(1, i, i % 3 == 0 ? slot_bytes : 30), kBound), Status::ok) << i;
    ASSERT_LT(std::chrono::steady_clock::now() - start, kBound / 8) << "nobody woke the producer of message " << i;
  }
}

// A producer that waits for the oldest message to be processed must be woken then: nobody else will free anything.
TEST_P(Policy, DropOldestNeedsNoConsumerToGoOn) {
  create("q", {.slots = 2, .size = 4096, .lines = 4, .backpressure = Backpressure::drop_oldest});
  for (const Wait wait : {Wait::sleep(), Wait::hybrid()})
    send_without_help(session_.producer("q", {.wait = wait}), 4096);
}

TEST_P(Policy, ALossyGroupNeedsNoConsumerToGoOn) {
  create("q", {.slots = 2, .size = 4096, .lines = 4, .groups = {{"lossy", GroupPolicy::lossy}}});
  for (const Wait wait : {Wait::sleep(), Wait::hybrid()})
    send_without_help(session_.producer("q", {.wait = wait}), 4096);
}

TEST_P(Policy, AQueueWithoutGroupsNeverHoldsItsProducers) {
  create("q", {.slots = 2, .size = 100, .lines = 4, .groups = {}});
  for (const Wait wait : {Wait::sleep(), Wait::hybrid()})
    send_without_help(session_.producer("q", {.wait = wait}), 100);
  EXPECT_EQ(stats().published, 800u);
  EXPECT_EQ(stats().empty, 2u);
}

TEST_P(Policy, ALossyGroupSkipsWhereAMustGroupHolds) {
  create("q", {.slots = 1, .lines = 4, .groups = {{"must", GroupPolicy::must}, {"lossy", GroupPolicy::lossy}}});
  auto p = producer();
  auto must = consumer("q", "must"), lossy = consumer("q", "lossy");
  for (std::int64_t i = 0; i < 10; ++i) {
    ASSERT_EQ(send(p, 1, static_cast<std::uint64_t>(i), kStampBytes, kBound), Status::ok);
    EXPECT_EQ(next_sequence(must), i);
  }
  // The must group stands still: now the producer waits.
  for (std::uint64_t i = 10; i < 14; ++i) ASSERT_EQ(send(p, 1, i), Status::ok);
  EXPECT_EQ(send(p, 1, 14, kStampBytes, kMoment), Status::timeout);
  for (std::int64_t i = 10; i < 14; ++i) EXPECT_EQ(next_sequence(must), i);
  for (std::int64_t i = 10; i < 14; ++i) EXPECT_EQ(next_sequence(lossy), i);
  EXPECT_EQ(group_stats("must").dropped, 0u);
  EXPECT_EQ(group_stats("must").delivered, 14u);
  EXPECT_EQ(group_stats("lossy").dropped, 10u);
  EXPECT_EQ(group_stats("lossy").delivered, 4u);
  expect_identity(group_stats("lossy"));
}

TEST_P(Policy, AnEphemeralLossyGroupHoldsNobody) {
  create("q", {.slots = 1, .lines = 4});
  auto p = producer();
  auto must = consumer();
  auto viewer = session_.consumer("q", {.group = "viewer", .lossy = true});
  for (std::int64_t i = 0; i < 20; ++i) {
    ASSERT_EQ(send(p, 1, static_cast<std::uint64_t>(i)), Status::ok);
    EXPECT_EQ(next_sequence(must), i);
  }
  EXPECT_EQ(next_sequence(viewer), 16);
  EXPECT_TRUE(group_stats("viewer").lossy);
  EXPECT_EQ(group_stats("viewer").dropped, 16u);
}

TEST_P(Policy, WhoAsksForLossyInAGroupThatIsNotIsRefused) {
  create("q", {.slots = 1, .lines = 4, .groups = {{"must"}, {"drops", GroupPolicy::lossy}}});
  const auto open = [&](const char* group, bool lossy) {
    return session_.consumer("q", {.group = group, .lossy = lossy});
  };
  const auto refusal = [&](const char* group) { return error_of<UsageError>([&] { (void)open(group, true); }); };
  EXPECT_THAT(refusal("must"), testing::AllOf(testing::HasSubstr("'must'"), testing::HasSubstr("'q'"),
                                              testing::HasSubstr("group=must:lossy")));
  const auto founder = open("viewers", false);
  EXPECT_THAT(refusal("viewers"), testing::AllOf(testing::HasSubstr("'viewers'"), testing::HasSubstr("founded")));
  // Nothing stands against members that leave it open, nor against the same wish twice.
  const auto a = open("drops", false), b = open("drops", true);
  const auto c = open("others", true), d = open("others", true);
  EXPECT_EQ(group_stats("must").members, 0u);
  EXPECT_EQ(group_stats("viewers").members, 1u);
}

TEST_P(Policy, EveryTermOfTheIdentityIsCountedUnderLoad) {
  create("q", {.slots = 4,
               .size = 100,
               .lines = 8,
               .backpressure = Backpressure::drop_oldest,
               .groups = {{"a"}, {"b", GroupPolicy::lossy}}});
  constexpr std::uint64_t kEach = 200;
  std::vector<std::future<Received>> readers;
  for (const char* group : {"a", "a", "b"}) {
    readers.push_back(std::async(std::launch::async, [c = consumer("q", group)]() mutable { return receive_all(c); }));
  }
  std::vector<Producer> producers;
  for (int id = 0; id < 2; ++id) producers.push_back(producer());
  std::vector<std::thread> senders;
  for (std::uint32_t id = 0; id < 2; ++id) {
    senders.emplace_back([id, p = std::move(producers[id])]() mutable {
      for (std::uint64_t i = 0; i < kEach; ++i) ASSERT_EQ(send(p, id, i, i % 2 == 0 ? 100 : 30), Status::ok);
    });
  }
  for (auto& s : senders) s.join();
  std::vector<std::size_t> counts;
  for (auto& reader : readers) {
    const Received r = reader.get();
    EXPECT_EQ(r.last, Status::end);
    EXPECT_TRUE(r.intact);
    for (std::uint32_t id = 0; id < 2; ++id) {
      const auto s = sequences_of(r.stamps, id);
      EXPECT_EQ(std::adjacent_find(s.begin(), s.end(), std::greater_equal<>()), s.end()) << "order or duplicate";
    }
    counts.push_back(r.stamps.size());
  }
  EXPECT_EQ(stats().published, 2 * kEach);
  for (const char* group : {"a", "b"}) {
    const GroupStats g = group_stats(group);
    EXPECT_EQ(g.published, 2 * kEach);
    EXPECT_EQ(g.waiting + g.held, 0u);
    EXPECT_EQ(g.delivered, *group == 'a' ? counts[0] + counts[1] : counts[2]);
    EXPECT_EQ(g.delivered + g.filtered + g.dropped, 2 * kEach);
    expect_identity(g);
  }
}

}  // namespace
}  // namespace ipcq_test
