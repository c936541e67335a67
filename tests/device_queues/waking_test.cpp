// No wake-up is lost between clients without a GPU and a queue on one.
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <tuple>

#include "device_queues/traffic.hpp"

namespace ipcq_test {
namespace {

class Waking : public GpuTest, public testing::WithParamInterface<std::tuple<ExecutorKind, std::size_t>> {};
INSTANTIATE_TEST_SUITE_P(
    , Waking, testing::Combine(kBoth, testing::Values(std::size_t{48}, std::size_t{4000}, std::size_t{1} << 20)),
    [](const auto& info_) {
      return std::string(name_of(std::get<0>(info_.param))) + std::to_string(std::get<1>(info_.param));
    });

TEST_P(Waking, ASleepingConsumerHearsOfEveryMessage) {
  const auto [executor, bytes] = GetParam();
  QueueOptions o = on_gpu("identity", executor);
  o.size = 1u << 20;
  broker_->create("q", o);
  auto p = session_->producer("q", {.wait = Wait::sleep()});
  auto c = session_->consumer("q", {.wait = Wait::sleep()});
  std::atomic<std::uint64_t> taken{0};
  std::atomic<bool> failed{false};
  std::thread consumer([&] {
    for (std::uint64_t n = 0; n < 100 && !failed; ++n) {
      const auto m = c.receive(kBound);
      if (!m) failed = true;
      taken = n + 1;
    }
  });
  for (std::uint64_t n = 0; n < 100 && !failed; ++n) {
    std::this_thread::sleep_for(std::chrono::microseconds(n % 10 * 100));
    const auto start = std::chrono::steady_clock::now();
    EXPECT_EQ(p.send(stamped(1, n, bytes), kBound), Status::ok);
    EXPECT_TRUE(eventually([&] { return taken == n + 1 || failed; }));
    EXPECT_LT(std::chrono::steady_clock::now() - start, kPrompt) << "message " << n << ": the wake-up was lost";
  }
  consumer.join();
  EXPECT_FALSE(failed);
}

// It waits for the one slot, or for one of two lines.
TEST_P(Waking, ASleepingProducerHearsOfEveryFreePlace) {
  const auto [executor, bytes] = GetParam();
  QueueOptions o = on_gpu("identity", executor);
  o.slots = 1;
  o.lines = 2;
  o.size = 1u << 20;
  broker_->create("q", o);
  auto p = session_->producer("q", {.wait = Wait::sleep()});
  auto c = session_->consumer("q", {.wait = Wait::sleep()});
  std::atomic<bool> failed{false};
  std::thread producer([&, bytes = bytes] {
    for (std::uint64_t n = 0; n < 200 && !failed; ++n) {
      if (p.send(stamped(1, n, bytes), kBound) != Status::ok) failed = true;
    }
    p.close();
  });
  std::uint64_t next = 0;
  for (;;) {
    const auto start = std::chrono::steady_clock::now();
    auto m = c.receive(kBound);
    if (!m) {
      EXPECT_EQ(m.status(), Status::end);
      break;
    }
    EXPECT_LT(std::chrono::steady_clock::now() - start, kPrompt) << "message " << next << ": a wake-up was lost";
    const auto s = read_stamp(m->bytes());
    EXPECT_TRUE(s && s->sequence == next) << "message " << next;
    ++next;
  }
  producer.join();
  EXPECT_FALSE(failed);
  EXPECT_EQ(next, 200u);
}

}  // namespace
}  // namespace ipcq_test
