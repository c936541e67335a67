// A runner that takes its time holds up nobody but whoever asks it: the broker goes on serving its other queues.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <future>
#include <optional>
#include <string>

#include "eventually.hpp"
#include "gpu/runners.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;
using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr auto kDelay = 800ms;
constexpr auto kServed = 400ms;

class SlowRunner : public testing::Test {
 protected:
  SlowRunner() { broker_->create("host", {.slots = 2, .handler = "invert", .backend = "host"}); }
  ~SlowRunner() override { ::unsetenv("IPCQ_STAND_IN_DELAY_MS"); }
  // From the next runner on.
  static void slow_down() { ::setenv("IPCQ_STAND_IN_DELAY_MS", std::to_string(kDelay.count()).c_str(), 1); }
  static QueueOptions on_device() { return {.slots = 4, .slot_bytes = 4096, .handler = "invert", .backend = "cuda"}; }

  // How long a client of the host's queue waits at most for anything, until `done`.
  template <class Done>
  Clock::duration longest_wait(Done done) {
    Clock::duration longest{};
    const auto until = Clock::now() + kBound;
    while (!done() && Clock::now() < until) {
      const auto start = Clock::now();
      Session session = connect({.broker = name_});
      auto c = session.consumer("host", {.until = Until::forever});
      auto p = session.producer("host");
      EXPECT_EQ(p.send("x", 1, kBound), Status::ok);
      EXPECT_TRUE(c.receive(kBound));
      longest = std::max(longest, Clock::now() - start);
    }
    EXPECT_TRUE(done());
    return longest;
  }
  static bool is_ready(const std::future<void>& f) { return f.wait_for(0s) == std::future_status::ready; }

  const std::string name_ = "slow-runner-" + std::to_string(getpid());
  std::optional<Broker> broker_{BrokerOptions{.name = name_}};
};

TEST_F(SlowRunner, HoldsUpNoOtherQueueWhileOneIsCreated) {
  slow_down();
  const auto start = Clock::now();
  auto created = std::async(std::launch::async, [&] { broker_->create("q", on_device()); });
  EXPECT_LT(longest_wait([&] { return is_ready(created); }), kServed);
  EXPECT_GE(Clock::now() - start, kDelay);
  created.get();
  EXPECT_EQ(broker_->stats().queues.size(), 2u);
}

TEST_F(SlowRunner, HoldsUpNoOtherQueueWhileItsOwnComeBack) {
  broker_->create("q", on_device());
  slow_down();
  ASSERT_EQ(runners().size(), 1u);
  ::kill(runners().front(), SIGKILL);
  const auto deaths = [&] { return broker_->stats().runner_deaths == 1; };
  EXPECT_LT(longest_wait([&] { return deaths() && broker_->stats().queues.size() == 2; }), kServed);
}

TEST_F(SlowRunner, ANameIsTakenWhileItsQueueIsCreated) {
  slow_down();
  auto created = std::async(std::launch::async, [&] { broker_->create("q", on_device()); });
  std::this_thread::sleep_for(kDelay / 3);
  EXPECT_THROW(broker_->create("q", {.slots = 2}), UsageError);
  EXPECT_THROW(broker_->create_pool("q", {.slots = 2}), UsageError);
  created.get();
  EXPECT_THROW(broker_->create("q", {.slots = 2}), UsageError);
}

TEST_F(SlowRunner, ItsEndWhileAQueueIsCreatedIsTold) {
  slow_down();
  auto created = std::async(std::launch::async, [&] { broker_->create("q", on_device()); });
  std::this_thread::sleep_for(kDelay * 3 / 2);  // it is up and asked for memory
  ASSERT_EQ(runners().size(), 1u);
  ::kill(runners().front(), SIGKILL);
  EXPECT_THROW(created.get(), BackendError);
  EXPECT_EQ(broker_->stats().queues.size(), 1u);
  ::unsetenv("IPCQ_STAND_IN_DELAY_MS");
  broker_->create("q", on_device());
  EXPECT_EQ(broker_->stats().queues.size(), 2u);
}

TEST_F(SlowRunner, AStoppedBrokerTakesOnNothing) {
  slow_down();
  auto created = std::async(std::launch::async, [&] { broker_->create("q", on_device()); });
  std::this_thread::sleep_for(kDelay / 3);
  broker_->stop();
  EXPECT_THROW(created.get(), UsageError);
}

TEST_F(SlowRunner, AStopWaitsForItWhileItsQueuesComeBack) {
  broker_->create("q", on_device());
  slow_down();
  ASSERT_EQ(runners().size(), 1u);
  ::kill(runners().front(), SIGKILL);
  ASSERT_TRUE(eventually([&] { return broker_->stats().runner_deaths == 1; }));
  broker_.reset();
  EXPECT_TRUE(runners().empty());
}

}  // namespace
}  // namespace ipcq_test
