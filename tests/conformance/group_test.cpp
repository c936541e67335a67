// Groups: durable and ephemeral, membership, messages given back.
#include <algorithm>

#include <optional>
#include <stdexcept>

#include "conformance/backend.hpp"

namespace ipcq_test {
namespace {

class Groups : public BackendTest {};
IPCQ_INSTANTIATE_PER_BACKEND(Groups);

TEST_P(Groups, ADurableGroupRetainsWithoutMembers) {
  create("q", {.slots = 4, .size = 100});
  auto p = producer();
  for (std::uint64_t i = 0; i < 4; ++i) ASSERT_EQ(send(p, 1, i, 100), Status::ok);
  EXPECT_EQ(send(p, 1, 4, 100, kMoment), Status::timeout);
  {
    auto c = consumer();
    EXPECT_EQ(next_sequence(c), 0);
  }  // the last member leaves
  EXPECT_EQ(group_stats().members, 0u);
  EXPECT_EQ(group_stats().waiting, 3u);
  auto c = consumer();
  for (std::int64_t i = 1; i < 4; ++i) EXPECT_EQ(next_sequence(c), i);
}

TEST_P(Groups, AnEphemeralGroupStartsAtTheNewestAndVanishes) {
  create("q", {.slots = 4, .size = 100, .lines = 8});
  auto p = producer();
  for (std::uint64_t i = 0; i < 3; ++i) ASSERT_EQ(send(p, 1, i, 100), Status::ok);
  {
    auto late = consumer("q", "late");
    EXPECT_FALSE(group_stats("late").durable);
    EXPECT_EQ(late.receive(kMoment).status(), Status::timeout);
    ASSERT_EQ(send(p, 1, 3, 100), Status::ok);
    EXPECT_EQ(next_sequence(late), 3);
    EXPECT_EQ(group_stats("late").joined_at, 3u);
    EXPECT_EQ(group_stats("late").published, 1u);
  }
  EXPECT_TRUE(eventually([&] { return stats().groups.size() == 1; }));
  auto c = consumer();
  for (std::int64_t i = 0; i < 4; ++i) EXPECT_EQ(next_sequence(c), i);
  EXPECT_EQ(stats().empty, 4u);
  // The same name again is a new group.
  auto again = consumer("q", "late");
  EXPECT_EQ(again.receive(kMoment).status(), Status::timeout);
}

TEST_P(Groups, AnEphemeralGroupThatVanishesGivesItsSlotsBack) {
  create("q", {.slots = 4, .size = 100, .lines = 8});
  auto p = producer();
  auto c = consumer();
  {
    auto a = consumer("q", "short"), b = consumer("q", "short");
    for (std::uint64_t i = 0; i < 4; ++i) ASSERT_EQ(send(p, 1, i, 100), Status::ok);
    auto held = a.receive(kBound);
    ASSERT_TRUE(held);
    auto given_back = b.receive(kBound);
    ASSERT_TRUE(given_back);
    EXPECT_EQ(given_back->nack(), Status::ok);
    EXPECT_EQ(held->release(), Status::ok);
    a.close();
    EXPECT_EQ(group_stats("short").members, 1u);
  }
  for (std::int64_t i = 0; i < 4; ++i) EXPECT_EQ(next_sequence(c), i);
  EXPECT_TRUE(eventually([&] { return stats().empty == 4; })) << broker_.dump("q");
  for (std::int64_t i = 4; i < 20; ++i) {  // several laps
    ASSERT_EQ(send(p, 1, static_cast<std::uint64_t>(i), 100), Status::ok);
    ASSERT_EQ(next_sequence(c), i);
  }
}

TEST_P(Groups, ComingAndGoingGroupsDisturbNobody) {
  create("q", {.slots = 3, .size = 100, .lines = 4});
  constexpr std::uint64_t kMessages = 150;
  auto c = consumer();
  std::atomic<bool> done{false};
  std::thread sender([&] {
    auto p = producer();
    for (std::uint64_t i = 0; i < kMessages; ++i) ASSERT_EQ(send(p, 1, i, i % 2 == 0 ? 100 : 30), Status::ok);
  });
  std::thread visitor([&] {
    while (!done) {
      auto v = consumer("q", "visitor");
      std::int64_t last = -1;
      for (int i = 0; i < 3; ++i) {
        const std::int64_t s = next_sequence(v, 1ms);
        if (s < 0) break;
        EXPECT_GT(s, last);
        last = s;
      }
    }
  });
  const Received r = receive_all(c);
  done = true;
  sender.join();
  visitor.join();
  EXPECT_EQ(r.last, Status::end);
  ASSERT_EQ(r.stamps.size(), kMessages);
  for (std::uint64_t i = 0; i < kMessages; ++i) EXPECT_EQ(r.stamps[i].sequence, i);
  EXPECT_TRUE(eventually([&] { return stats().groups.size() == 1 && stats().empty == 3; })) << broker_.dump("q");
}

TEST_P(Groups, EightGroupsEachSeeAllAndANinthIsRefused) {
  create("q", {.slots = 8, .size = 100, .groups = {{"g0"}, {"g1"}, {"g2"}, {"g3"}, {"g4"}, {"g5"}}});
  std::vector<Consumer> members;
  for (int g = 0; g < 8; ++g) members.push_back(consumer("q", "g" + std::to_string(g)));  // two ephemeral ones
  try {
    (void)consumer("q", "g8");
    ADD_FAILURE() << "a ninth group";
  } catch (const UsageError& e) {
    EXPECT_THAT(e.what(),
                testing::AllOf(testing::HasSubstr("'g8'"), testing::HasSubstr("'q'"), testing::HasSubstr("8")));
  }
  auto p = producer();
  for (std::uint64_t i = 0; i < 3; ++i) ASSERT_EQ(send(p, 1, i, 100), Status::ok);
  for (auto& c : members) {
    for (std::int64_t i = 0; i < 3; ++i) EXPECT_EQ(next_sequence(c), i);
  }
  EXPECT_EQ(stats().empty, 8u);
  members.back().close();  // an ephemeral group makes room
  EXPECT_EQ(consumer("q", "g8").receive(0ns).status(), Status::empty);
  EXPECT_THROW(create("nine", {.groups = std::vector<GroupOptions>(9)}), UsageError);
}

TEST_P(Groups, AMessageGivenBackComesAgainAheadOfNewerOnes) {
  create("q", {.slots = 8, .size = 100});
  auto p = producer();
  auto a = consumer(), b = consumer();
  for (std::uint64_t i = 0; i < 6; ++i) ASSERT_EQ(send(p, 1, i, i % 2 == 0 ? 100 : 30), Status::ok);
  auto m0 = a.receive(kBound), m1 = b.receive(kBound), m2 = a.receive(kBound);
  ASSERT_TRUE(m0 && m1 && m2);
  // Whatever the order of giving back, the oldest comes first.
  EXPECT_EQ(m2->nack(), Status::ok);
  EXPECT_EQ(m0->nack(), Status::ok);
  EXPECT_EQ(m1->nack(), Status::ok);
  EXPECT_EQ(group_stats().held, 3u);
  for (unsigned i = 0; i < 6; ++i) {
    auto m = b.receive(kBound);
    ASSERT_TRUE(m);
    EXPECT_THAT(read_stamp(m->bytes()), testing::Optional(testing::Field(&Stamp::sequence, i)));
    EXPECT_EQ(m->redeliveries(), i < 3 ? 1u : 0u);
    EXPECT_EQ(m->ticket(), i);
  }
  EXPECT_EQ(group_stats().redelivered, 3u);
  EXPECT_EQ(group_stats().delivered, 6u);
}

TEST_P(Groups, RedeliveriesAreCounted) {
  create("q", {.slots = 1, .size = 100});
  auto p = producer();
  auto c = consumer();
  ASSERT_EQ(send(p, 1, 9, 100), Status::ok);
  for (unsigned i = 0; i < 5; ++i) {
    auto m = c.receive(kBound);
    ASSERT_TRUE(m);
    EXPECT_EQ(m->redeliveries(), i);
    EXPECT_TRUE(read_stamp(m->bytes()));
    EXPECT_EQ(m->nack(), Status::ok);
  }
  EXPECT_EQ(next_sequence(c), 9);
  EXPECT_EQ(stats().empty, 1u);
}

TEST_P(Groups, AnExceptionGivesTheMessageBack) {
  create("q", {.slots = 2, .size = 100});
  auto p = producer();
  auto c = consumer();
  ASSERT_EQ(send(p, 1, 3, 100), Status::ok);
  try {
    auto m = c.receive(kBound);
    ASSERT_TRUE(m);
    throw std::runtime_error("processing failed");
  } catch (const std::runtime_error&) {
  }
  auto again = c.receive(kBound);
  ASSERT_TRUE(again);
  EXPECT_EQ(again->redeliveries(), 1u);
}

TEST_P(Groups, AMessageReceivedAndReleasedWhileUnwindingCountsAsProcessed) {
  create("q", {.slots = 2, .size = 100});
  auto p = producer();
  auto c = consumer();
  ASSERT_EQ(send(p, 1, 3, 100), Status::ok);
  struct InDestructor {
    Consumer& c;
    ~InDestructor() { EXPECT_TRUE(c.receive(kBound)); }
  };
  try {
    const InDestructor d{c};
    throw std::runtime_error("unwinding");
  } catch (const std::runtime_error&) {
  }
  EXPECT_EQ(c.receive(kMoment).status(), Status::timeout);
  EXPECT_EQ(group_stats().delivered, 1u);
}

TEST_P(Groups, AClosingConsumerGivesBackWhatItHolds) {
  create("q", {.slots = 4, .size = 100});
  auto p = producer();
  auto c = consumer();
  for (std::uint64_t i = 0; i < 3; ++i) ASSERT_EQ(send(p, 1, i, 100), Status::ok);
  std::optional<Message> held;
  {
    auto leaver = consumer();
    auto m = leaver.receive(kBound);
    ASSERT_TRUE(m);
    held = std::move(*m);
  }
  auto again = c.receive(kBound);
  ASSERT_TRUE(again);
  EXPECT_THAT(read_stamp(again->bytes()), testing::Optional(testing::Field(&Stamp::sequence, 0u)));
  EXPECT_EQ(again->redeliveries(), 1u);
  EXPECT_NE(held->release(), Status::ok);  // it is not the leaver's any more
  EXPECT_THAT(read_stamp(again->bytes()), testing::Optional(testing::Field(&Stamp::sequence, 0u)));
  EXPECT_EQ(again->release(), Status::ok);
  EXPECT_EQ(next_sequence(c), 1);
  EXPECT_EQ(next_sequence(c), 2);
  EXPECT_EQ(group_stats().delivered, 3u);
}

TEST_P(Groups, EndpointsAreLimitedAndComeBack) {
  create("q", {.endpoints = 2});
  auto p = producer();
  {
    auto c = consumer();
    EXPECT_THROW(producer(), UsageError);
  }
  for (int i = 0; i < 10; ++i) EXPECT_EQ(consumer().receive(0ns).status(), Status::empty);
}

}  // namespace
}  // namespace ipcq_test
