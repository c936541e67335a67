// Queues on a GPU as clients without one see them: what kernels make of payloads, executors that are switched, and
// parked, queues that come and go beside one that is busy.
#include <cstring>
#include <tuple>

#include "device_queues/traffic.hpp"
#include "ipcq/builtin_handlers.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;

INSTANTIATE_TEST_SUITE_P(, PerExecutor, kBoth, executor_name);

// ---- results ----

// Numbers that add without rounding or NaNs, for vector_add; as bytes they are of every kind.
std::vector<std::byte> numbers(std::size_t bytes, std::uint64_t seed) {
  std::vector<std::byte> out = patterned(bytes, static_cast<unsigned>(seed));
  for (std::size_t i = 0; i + sizeof(float) <= bytes; i += sizeof(float)) {
    const float f = static_cast<float>((i * 7 + seed * 13) % 100'000) * 0.25f - 1000.0f;
    std::memcpy(out.data() + i, &f, sizeof f);
  }
  return out;
}

class Results : public GpuTest, public testing::WithParamInterface<std::tuple<ExecutorKind, const char*>> {};
INSTANTIATE_TEST_SUITE_P(, Results,
                         testing::Combine(kBoth, testing::Values("identity", "invert", "upper", "vector_add")),
                         [](const auto& info_) {
                           return std::string(name_of(std::get<0>(info_.param))) + "_" + std::get<1>(info_.param);
                         });

TEST_P(Results, AreThoseOfTheHostForEveryLength) {
  const auto [executor, handler] = GetParam();
  QueueOptions o = on_gpu(handler, executor);
  o.slots = 2;  // each slot serves many messages: stale bytes of an earlier one show
  o.size = 2u << 20;
  broker_->create("q", o);
  auto p = session_->producer("q");
  auto c = session_->consumer("q");
  const HostHandler reference = find_host_handler(handler);
  for (unsigned round = 0; round < 3; ++round) {
    for (const std::size_t bytes :
         {0u, 1u, 7u, 8u, 15u, 16u, 17u, 64u, 72u, 73u, 4096u, 65535u, 65536u, 65544u, 1u << 20, (1u << 20) + 3}) {
      const bool floats = std::string(handler) == "vector_add";
      const auto sent = floats ? numbers(bytes, round) : patterned(bytes, round * 97 + 1);
      auto expected = sent;
      const bool accepted = reference(expected.data(), expected.size());
      ASSERT_EQ(p.send(sent, kBound), Status::ok) << bytes;
      auto m = c.receive(kBound);
      ASSERT_TRUE(m) << bytes << " bytes: " << to_string(m.status());
      ASSERT_EQ(m->bytes().size(), bytes);
      EXPECT_EQ(m->processed(), accepted) << bytes;
      EXPECT_TRUE(std::equal(expected.begin(), expected.end(), m->bytes().begin()))
          << bytes << " bytes, round " << round;
    }
  }
  EXPECT_EQ(stats().executor, to_string(executor));
  EXPECT_TRUE(eventually([&] { return stats().processed == 3u * 16u; })) << stats().processed;
}

TEST_P(PerExecutor, ALengthThatTheHandlerRefusesIsPassedOnAndSaid) {
  broker_->create("q", on_gpu("vector_add"));
  auto p = session_->producer("q");
  auto c = session_->consumer("q");
  for (const std::size_t bytes : {7u, 4001u}) {  // inline, in a slot
    const auto sent = patterned(bytes, 3);
    ASSERT_EQ(p.send(sent, kBound), Status::ok);
    auto m = c.receive(kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    EXPECT_FALSE(m->processed());
    EXPECT_TRUE(std::equal(sent.begin(), sent.end(), m->bytes().begin(), m->bytes().end()));
  }
  EXPECT_TRUE(eventually([&] { return stats().handler_errors == 2; })) << stats().handler_errors;
}

// As many blocks as the GPU can have at work on one message, and the scout beside them.
TEST_P(PerExecutor, AMessageOfAWholeFrameComesThrough) {
  QueueOptions o = on_gpu("invert");
  o.slots = 2;
  o.size = 3840 * 2160 * 3;
  broker_->create("q", o);
  auto p = session_->producer("q");
  auto c = session_->consumer("q");
  for (std::uint64_t n = 0; n < 6; ++n) {
    const auto sent = stamped(1, n, o.size);
    ASSERT_EQ(p.send(sent, kBound), Status::ok);
    auto m = c.receive(kBound);
    ASSERT_TRUE(m) << "message " << n << ": " << to_string(m.status());
    std::vector<std::byte> copy(m->bytes().begin(), m->bytes().end());
    for (auto& b : copy) b ^= kInvert;
    EXPECT_TRUE(copy == sent) << "message " << n;
  }
}

// ---- several queues on one device ----

TEST_P(PerExecutor, AQueueCanBeCreatedBesideABusyOne) {
  QueueOptions o = on_gpu("invert");
  o.size = 256 * 1024;
  broker_->create("q", o);
  Traffic busy(*session_, "q", o.size);
  ASSERT_TRUE(eventually([&] { return busy.received() > 100; }));
  for (int round = 0; round < 3; ++round) {
    const std::string name = "q" + std::to_string(round);
    QueueOptions other = on_gpu("upper");
    other.size = 1u << 20;
    broker_->create(name, other);  // allocates and pins behind a kernel that works
    auto p = session_->producer(name);
    auto c = session_->consumer(name);
    const auto before = busy.received();
    for (int n = 0; n < 50; ++n) {
      const std::string text = "message " + std::to_string(n) + std::string(n % 2 == 0 ? 0 : 100'000, 'x');
      ASSERT_EQ(p.send(text.data(), text.size(), kBound), Status::ok);
      auto m = c.receive(kBound);
      ASSERT_TRUE(m) << to_string(m.status());
      ASSERT_EQ(m->bytes().size(), text.size());
      EXPECT_EQ(std::memcmp(m->bytes().data(), "MESSAGE", 7), 0);
      EXPECT_EQ(static_cast<char>(m->bytes().back()), n % 2 == 0 ? text.back() : 'X');
    }
    EXPECT_TRUE(eventually([&] { return busy.received() > before; })) << "the first queue stands still";
  }
  busy.end();
  EXPECT_EQ(busy.receiver_ended(), Status::end);
  EXPECT_EQ(busy.received(), busy.sent());
  EXPECT_EQ(busy.wrong(), 0u);
}

// Each of them may want the whole GPU, and none of them ever has nothing to do.
TEST_P(PerExecutor, SeveralBusyQueuesOfLargeMessagesShareTheDevice) {
  QueueOptions o = on_gpu("invert");
  o.slots = 3;
  o.size = 8u << 20;
  std::vector<std::unique_ptr<Traffic>> all;
  for (const char* name : {"a", "b", "c"}) {
    broker_->create(name, o);
    all.push_back(std::make_unique<Traffic>(*session_, name, o.size));
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    EXPECT_TRUE(eventually([&] { return all[i]->received() >= 30; })) << "queue " << i << ": " << all[i]->received();
  }
  for (auto& t : all) t->end();
  for (auto& t : all) {
    EXPECT_EQ(t->receiver_ended(), Status::end);
    EXPECT_EQ(t->received(), t->sent());
    EXPECT_EQ(t->wrong(), 0u);
  }
}

TEST_F(GpuTest, TwoBrokersOfOneProcessShareARunner) {
  broker_->create("q", on_gpu("invert"));
  Broker other({.name = name_ + "-other"});
  other.create("q", on_gpu("upper"));
  EXPECT_EQ(runners().size(), 1u);
  other.stop();
  auto p = session_->producer("q");
  auto c = session_->consumer("q");
  ASSERT_EQ(p.send("x", 1, kBound), Status::ok);
  EXPECT_TRUE(c.receive(kBound));
}

// ---- switching, parking ----

TEST_F(GpuTest, SwitchingExecutorsUnderLoadKeepsEveryMessageAndTheOrder) {
  QueueOptions o = on_gpu("invert");
  o.size = 128 * 1024;
  o.lines = 4096;  // a switch takes a line: there is one while the slots limit the traffic
  broker_->create("q", o);
  Traffic traffic(*session_, "q", o.size);
  for (int n = 0; n < 20; ++n) {
    const auto kind = n % 2 == 0 ? ExecutorKind::stream : ExecutorKind::persistent;
    const auto before = traffic.received();
    ASSERT_NO_THROW(set_executor("q", kind, name_)) << "switch " << n;
    EXPECT_EQ(stats().executor, to_string(kind));
    ASSERT_TRUE(eventually([&] { return traffic.received() > before + 20; })) << "stands still after switch " << n;
  }
  traffic.end();
  EXPECT_EQ(traffic.receiver_ended(), Status::end);
  EXPECT_EQ(traffic.received(), traffic.sent());
  EXPECT_EQ(traffic.wrong(), 0u);
  EXPECT_TRUE(eventually([&] { return stats().processed == traffic.sent(); })) << stats().processed;
  EXPECT_EQ(stats().tombstones, 20u);  // the switches' places
}

TEST_F(GpuTest, AnExecutorIsSwitchedWhileNothingIsToDo) {
  broker_->create("q", on_gpu("invert"));
  ASSERT_TRUE(eventually([&] { return stats().parked; }));
  auto p = session_->producer("q");
  auto c = session_->consumer("q");
  for (int n = 0; n < 6; ++n) {
    const auto kind = n % 2 == 0 ? ExecutorKind::stream : ExecutorKind::persistent;
    ASSERT_NO_THROW(set_executor("q", kind, name_)) << "switch " << n;
    ASSERT_NO_THROW(set_executor("q", kind, name_)) << "again";
    ASSERT_EQ(p.send("x", 1, kBound), Status::ok);
    ASSERT_TRUE(c.receive(kBound));
  }
}

TEST_F(GpuTest, WhatCannotBeSwitchedIsSaid) {
  broker_->create("device", on_gpu("invert"));
  broker_->create("host", {.handler = "invert", .backend = "host"});
  const auto error = [&](const char* queue, ExecutorKind kind) -> std::string {
    try {
      set_executor(queue, kind, name_);
    } catch (const UsageError& e) {
      return e.what();
    }
    return {};
  };
  EXPECT_THAT(error("host", ExecutorKind::stream), HasSubstr("'host'"));
  EXPECT_THAT(error("device", ExecutorKind::auto_), HasSubstr("persistent or stream"));
}

TEST_F(GpuTest, AParkedExecutorHearsOfTheNextMessage) {
  broker_->create("q", on_gpu("invert"));
  auto p = session_->producer("q", {.wait = Wait::spin()});
  auto c = session_->consumer("q", {.wait = Wait::spin()});
  for (int round = 0; round < 10; ++round) {
    ASSERT_TRUE(eventually([&] { return stats().parked; })) << "round " << round;
    for (std::size_t bytes : {std::size_t{48}, std::size_t{4000}}) {
      ASSERT_EQ(p.send(stamped(1, static_cast<std::uint64_t>(round), bytes), kBound), Status::ok);
      const auto start = std::chrono::steady_clock::now();
      ASSERT_TRUE(c.receive(kBound)) << "round " << round;
      EXPECT_LT(std::chrono::steady_clock::now() - start, kPrompt) << "the bell was not heard";
    }
  }
}

// Messages that come just when the kernel is about to end: it does so after 20 ms of nothing.
TEST_F(GpuTest, NoMessageFallsBetweenTwoLivesOfTheKernel) {
  broker_->create("q", on_gpu("invert"));
  auto p = session_->producer("q", {.wait = Wait::spin()});
  auto c = session_->consumer("q", {.wait = Wait::spin()});
  for (int round = 0; round < 150; ++round) {
    std::this_thread::sleep_for(19'500us + round * 10us);
    ASSERT_EQ(p.send("x", 1, kBound), Status::ok);
    const auto start = std::chrono::steady_clock::now();
    ASSERT_TRUE(c.receive(kBound)) << "round " << round;
    EXPECT_LT(std::chrono::steady_clock::now() - start, kPrompt) << "round " << round;
  }
}

// ---- dropping ----

TEST_P(PerExecutor, DropOldestKeepsTheNewestAndCountsTheRest) {
  QueueOptions o = on_gpu("invert");
  o.slots = 4;
  o.lines = 8;
  o.backpressure = Backpressure::drop_oldest;
  broker_->create("q", o);
  auto c = session_->consumer("q");
  auto p = session_->producer("q");
  constexpr std::uint64_t kMessages = 500;
  for (std::uint64_t n = 0; n < kMessages; ++n) {
    ASSERT_EQ(p.send(stamped(1, n, n % 2 == 0 ? 40 : 3000), kBound), Status::ok) << n;
  }
  p.close();
  std::uint64_t last = 0, count = 0;
  for (;;) {
    auto m = c.receive(kBound);
    if (!m) {
      EXPECT_EQ(m.status(), Status::end);
      break;
    }
    std::vector<std::byte> copy(m->bytes().begin(), m->bytes().end());
    for (auto& b : copy) b ^= kInvert;
    const auto s = read_stamp(copy);
    ASSERT_TRUE(s);
    EXPECT_TRUE(count == 0 || s->sequence > last);
    last = s->sequence;
    ++count;
  }
  EXPECT_EQ(last, kMessages - 1);
  const GroupStats g = group_stats();
  EXPECT_GT(g.dropped, 0u);
  EXPECT_EQ(g.delivered, count);
  EXPECT_EQ(g.delivered + g.dropped, kMessages);
  EXPECT_EQ(g.lost, 0u);
}

TEST_P(PerExecutor, ALossyGroupHoldsNobodyUp) {
  QueueOptions o = on_gpu("invert");
  o.slots = 4;
  o.lines = 8;
  o.groups = {{"default"}, {"slow", GroupPolicy::lossy}};
  broker_->create("q", o);
  auto slow = session_->consumer("q", {.group = "slow"});
  Traffic fast(*session_, "q", 4096);
  ASSERT_TRUE(eventually([&] { return fast.received() > 300; })) << fast.received();
  fast.end();
  EXPECT_EQ(fast.received(), fast.sent());
  EXPECT_EQ(fast.wrong(), 0u);
  std::uint64_t last = 0, count = 0;
  for (;;) {
    auto m = slow.receive(kBound);
    if (!m) {
      EXPECT_EQ(m.status(), Status::end);
      break;
    }
    EXPECT_TRUE(count == 0 || m->sequence() > last);
    last = m->sequence();
    ++count;
  }
  const GroupStats g = group_stats("slow");
  EXPECT_GT(g.dropped, 0u);
  EXPECT_EQ(g.delivered + g.dropped, fast.sent());
  EXPECT_EQ(g.delivered, count);
}

}  // namespace
}  // namespace ipcq_test
