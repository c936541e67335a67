// A persistent kernel that is stopped and started again, with work of every kind left to do, does each message once.
#include <cstring>

#include "cuda_clients/client_fixture.hpp"
#include "device_queues/traffic.hpp"

namespace ipcq_test {
namespace {

class CudaClientStops : public CudaClient {
 protected:
  static constexpr std::size_t kText = 100;  // bytes, in a slot: a handler that comes twice shows

  void SetUp() override {
    CudaClient::SetUp();
    if (IsSkipped()) return;
    QueueOptions o;
    o.slots = 500;
    o.size = kBytes;
    o.lines = 512;
    o.handler = "invert";
    o.backend = "cuda";
    o.executor = ExecutorKind::persistent;
    START_OR_SKIP(o);
  }

  // Creating a queue stops the kernels of all others, twice.
  void stop_kernels() {
    QueueOptions o;
    o.slots = 1;
    o.handler = "identity";
    o.backend = "cuda";
    o.executor = ExecutorKind::stream;
    broker_->create("other" + std::to_string(others_++), o);
  }
  QueueStats stats() const {
    for (const auto& q : broker_->stats().queues) {
      if (q.name == "q") return q;
    }
    return {};
  }
  std::uint64_t processed() const { return stats().processed; }
  static Status send(Producer& p, std::uint64_t n) {
    std::byte text[kText];
    std::memset(text, static_cast<int>(n % 251), sizeof text);
    std::memcpy(text, &n, sizeof n);
    return p.send(text, sizeof text, kBound);
  }
  // Whether `m` holds number n, inverted once.
  static bool holds(const Message& m, std::uint64_t n) {
    std::byte text[kText];
    std::memset(text, static_cast<int>(n % 251), sizeof text);
    std::memcpy(text, &n, sizeof n);
    for (auto& b : text) b = ~b;
    return m.bytes().size() == kText && std::memcmp(m.bytes().data(), text, kText) == 0;
  }

  unsigned others_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Once, CudaClientStops, testing::Values(kKinds[3]), kind_name);

// One payload is late; what was published after it is done before, and must not be done again. When the late one comes,
// readers and writers overtake the kernel, which still goes over the lines that it had left.
TEST_P(CudaClientStops, MessagesBehindALateOneAreDoneOnce) {
  constexpr std::uint64_t kBehind = 450, kAfter = 2000;
  for (unsigned round = 0; round < 3; ++round) {
    auto late = producer();
    auto p = producer(false);
    auto c = consumer(false, "default", Until::forever);
    CUstream out = gpu_->stream();
    std::uint32_t* const held_up = hold_up(out);
    const std::uint64_t before = processed();
    ASSERT_EQ(publish(late, out, 3), Status::ok);
    for (std::uint64_t n = 0; n < kBehind; ++n) ASSERT_EQ(send(p, n), Status::ok);
    ASSERT_TRUE(eventually([&] { return processed() >= before + kBehind; })) << processed();
    for (unsigned n = 0; n < 2; ++n) stop_kernels();
    open(held_up);
    std::thread writer([&] {
      for (std::uint64_t n = kBehind; n < kBehind + kAfter; ++n) {
        if (send(p, n) != Status::ok) return;
      }
    });
    auto first = c.receive(kBound);
    EXPECT_TRUE(first) << to_string(first.status());
    if (first) {
      EXPECT_EQ(wrong_bytes(*first, kBytes, 3, GetParam().mask), 0u);
      (void)first->release();
    }
    std::uint64_t wrong = 0;
    for (std::uint64_t n = 0; n < kBehind + kAfter; ++n) {
      auto m = c.receive(kBound);
      EXPECT_TRUE(m) << "message " << n << ": " << to_string(m.status()) << "\n" << broker_->dump("q").substr(0, 2000);
      if (!m) break;
      wrong += holds(*m, n) ? 0 : 1;
    }
    writer.join();
    ASSERT_EQ(wrong, 0u);
    ASSERT_FALSE(HasFailure());
    EXPECT_TRUE(finish(out));
  }
}

// The writers may need the room that a kernel takes. What is published behind late payloads is done meanwhile, up to as
// many late ones as the kernel keeps in mind.
TEST_P(CudaClientStops, NoKernelStaysForPayloadsThatAreLate) {
  constexpr std::uint64_t kMany = 140, kBehind = 20;  // the kernel keeps 128
  const auto parked = [&] { return eventually([&] { return stats().parked; }); };
  auto late = producer();
  auto p = producer(false);
  auto c = consumer(false, "default", Until::forever);
  CUstream out = gpu_->stream();
  std::uint32_t* const held_up = hold_up(out);
  ASSERT_EQ(publish(late, out, 0), Status::ok);
  EXPECT_TRUE(parked());
  const std::uint64_t before = processed();
  for (std::uint64_t n = 0; n < kBehind; ++n) {
    ASSERT_EQ(send(p, n), Status::ok);
    ASSERT_TRUE(eventually([&] { return processed() == before + n + 1; })) << processed();
    EXPECT_TRUE(n % 4 != 0 || parked());
  }
  for (std::uint64_t n = 1; n < kMany; ++n) ASSERT_EQ(publish(late, out, n), Status::ok);
  ASSERT_EQ(p.send("inline", 6, kBound), Status::ok);
  EXPECT_TRUE(parked());
  EXPECT_EQ(processed(), before + kBehind);
  open(held_up);
  std::uint64_t wrong = 0;
  const auto receive_late = [&](std::uint64_t seed) {
    auto m = c.receive(kBound);
    ASSERT_TRUE(m) << "late message " << seed << ": " << to_string(m.status());
    wrong += wrong_bytes(*m, kBytes, seed, GetParam().mask);
  };
  receive_late(0);
  for (std::uint64_t n = 0; n < kBehind; ++n) {
    auto m = c.receive(kBound);
    ASSERT_TRUE(m) << "message " << n << ": " << to_string(m.status());
    wrong += holds(*m, n) ? 0 : 1;
  }
  for (std::uint64_t n = 1; n < kMany; ++n) receive_late(n);
  auto last = c.receive(kBound);
  ASSERT_TRUE(last) << to_string(last.status());
  EXPECT_EQ(last->bytes().size(), 6u);
  EXPECT_EQ(wrong, 0u);
  EXPECT_TRUE(finish(out));
}

// Four kernels for large messages have every register of the GPU. Under MPS nothing takes it from them while they stay.
TEST_P(CudaClientStops, KernelsThatWaitForPayloadsLeaveTheirWritersRoom) {
  constexpr std::size_t kLarge = 3u << 20;
  constexpr unsigned kQueues = 4;
  std::vector<Producer> producers;
  std::vector<Consumer> consumers;
  for (unsigned i = 0; i < kQueues; ++i) {
    const std::string name = "large" + std::to_string(i);
    QueueOptions o;
    o.slots = 2;
    o.size = kLarge;
    o.handler = "invert";
    o.backend = "cuda";
    o.executor = ExecutorKind::persistent;
    broker_->create(name, o);
    producers.push_back(session_->producer(name, {.wait_for = kBound, .cuda = true}));
    consumers.push_back(session_->consumer(name, {.until = Until::forever, .wait_for = kBound}));
  }
  CUstream out = gpu_->stream();
  const auto receive_all = [&](std::uint64_t seed) {
    for (Consumer& c : consumers) {
      auto m = c.receive(kBound);
      ASSERT_TRUE(m) << to_string(m.status());
      EXPECT_EQ(wrong_bytes(*m, kLarge, seed, GetParam().mask), 0u);
    }
  };
  for (std::uint64_t round = 0; round < 3; ++round) {  // from the second on the kernels are there already
    std::uint32_t* const held_up = hold_up(out);
    for (Producer& p : producers) {
      auto v = cuda::loan(p, out, kBound);
      ASSERT_TRUE(v) << to_string(v.status());
      gpu_->fill(out, v->device(), kLarge, round);
      ASSERT_EQ(v->publish(kLarge, kBound), Status::ok);
    }
    open(held_up);
    ASSERT_TRUE(finish(out)) << "the writers find no room";
    receive_all(round);
    ASSERT_FALSE(HasFailure());
  }
}

// Nor does the switch wait for them: the other executor takes them over.
TEST_P(CudaClientStops, ASwitchDoesNotWaitForPayloadsThatAreLate) {
  auto late = producer();
  auto c = consumer(false, "default", Until::forever);
  CUstream out = gpu_->stream();
  std::uint32_t* const held_up = hold_up(out);
  ASSERT_EQ(publish(late, out, 0), Status::ok);
  ASSERT_NO_THROW(set_executor("q", ExecutorKind::stream, name_));
  ASSERT_EQ(publish(late, out, 1), Status::ok);
  open(held_up);
  for (unsigned n = 0; n < 2; ++n) {
    auto m = c.receive(kBound);
    ASSERT_TRUE(m) << "message " << n << ": " << to_string(m.status());
    EXPECT_EQ(wrong_bytes(*m, kBytes, n, GetParam().mask), 0u);
  }
  ASSERT_NO_THROW(set_executor("q", ExecutorKind::persistent, name_));
  EXPECT_TRUE(finish(out));
}

// The runner has one hardware queue, in which a kernel stays that always has work. What a stream queue enqueues stands
// behind it, and the next payload of that queue is late until the former message has come through.
TEST_P(CudaClientStops, AMessageThatALatePayloadWaitsForIsNotHeldUpByABusyQueue) {
  session_.reset();
  broker_.reset();
  ::setenv("CUDA_DEVICE_MAX_CONNECTIONS", "1", 1);
  broker_.emplace(BrokerOptions{.name = name_, .log = log()});
  QueueOptions o;
  o.slots = 8;
  o.size = 256 * 1024;
  o.handler = "invert";
  o.backend = "cuda";
  o.executor = ExecutorKind::persistent;
  broker_->create("busy", o);
  o.size = kBytes;
  o.executor = ExecutorKind::stream;
  broker_->create("q", o);
  ::unsetenv("CUDA_DEVICE_MAX_CONNECTIONS");
  session_.emplace(connect({.broker = name_, .wait_for = kBound, .log = log()}));
  Traffic busy(*session_, "busy", 256 * 1024);
  ASSERT_TRUE(eventually([&] { return busy.received() > 20; }));
  auto p = producer(false);
  auto answers = producer();
  auto c = consumer(true, "default", Until::forever);
  CUstream s = gpu_->stream();
  for (std::uint64_t n = 0; n < 5; ++n) {
    ASSERT_EQ(send(p, n), Status::ok);
    auto m = cuda::receive(c, s, kBound);  // the stream waits for it
    ASSERT_TRUE(m) << to_string(m.status());
    ASSERT_EQ(publish(answers, s, n), Status::ok);  // behind that
    auto answer = cuda::receive(c, s, kBound);
    ASSERT_TRUE(answer) << to_string(answer.status());
    gpu_->check(s, answer->device(), answer->length(), n, GetParam().mask, findings_);
    ASSERT_TRUE(finish(s)) << "message " << n << " does not come through";
  }
  EXPECT_EQ(findings_->messages, 5u);
  EXPECT_EQ(findings_->wrong_bytes, 0u);
  busy.end();
  EXPECT_EQ(busy.received(), busy.sent());
  EXPECT_EQ(busy.wrong(), 0u);
}

// The stream writes gpub though the claim failed, and may have more to do behind that.
TEST_P(CudaClientStops, NoCallWaitsForTheStreamOfAPublishThatFailed) {
  auto filler = producer(false);
  for (unsigned n = 0; n < 512; ++n) ASSERT_EQ(filler.send("x", 1, kBound), Status::ok);
  auto p = producer();
  CUstream out = gpu_->stream();
  std::uint32_t* const held_up = hold_up(out);
  std::atomic<bool> over{false};
  std::thread opener([&] {
    (void)eventually([&] { return over.load(); });
    open(held_up);
  });
  {
    auto v = cuda::loan(p, out, kBound);
    EXPECT_TRUE(v) << to_string(v.status());
    if (v) {
      EXPECT_EQ(v->publish(kBytes, kMoment), Status::timeout);
      EXPECT_EQ(v->publish(kBytes, kMoment), Status::timeout);
    }
  }
  EXPECT_FALSE(is_done(out)) << "a call waited until the stream was let go";
  const auto lent = [&] { return broker_->stats().queues.at(0).claimed; };
  EXPECT_EQ(lent(), 1u);
  over = true;
  opener.join();
  EXPECT_TRUE(finish(out));
  EXPECT_TRUE(eventually([&] { return lent() == 0; })) << lent();
}

TEST_P(CudaClientStops, ACallThatWaitsTimesOut) {
  auto c = consumer(true, "default", Until::forever);
  CUstream in = gpu_->stream();
  EXPECT_EQ(c.receive(std::chrono::nanoseconds(1)).status(), Status::timeout);
  EXPECT_EQ(cuda::receive(c, in, std::chrono::nanoseconds(1)).status(), Status::timeout);
  EXPECT_EQ(c.receive(std::chrono::nanoseconds(1)).status(), Status::timeout);
  EXPECT_EQ(c.receive(Duration::zero()).status(), Status::empty);
  EXPECT_EQ(cuda::receive(c, in, Duration::zero()).status(), Status::empty);
}

}  // namespace
}  // namespace ipcq_test
