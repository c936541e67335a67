// A runner that takes its time holds up nobody but whoever asks it: the broker goes on serving its other queues. That
// holds for one that takes its time to end, too.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <future>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "device_queues/runners.hpp"
#include "errors.hpp"
#include "eventually.hpp"
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
  static void hang() { ::setenv("IPCQ_STAND_IN_DELAY_MS", "60000", 1); }
  static QueueOptions on_device() { return {.slots = 4, .size = 4096, .handler = "invert", .backend = "cuda"}; }

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

  std::string log() const {
    const std::scoped_lock lock(mutex_);
    return log_;
  }

  const std::string name_ = "slow-runner-" + std::to_string(getpid());
  mutable std::mutex mutex_;
  std::string log_;
  std::optional<Broker> broker_{BrokerOptions{.name = name_, .log = [this](LogLevel, std::string_view text) {
                                                const std::scoped_lock lock(mutex_);
                                                log_ += text;
                                              }}};
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

TEST_F(SlowRunner, HoldsUpNoOtherQueueWhileWhatFailedIsGivenBack) {
  slow_down();
  QueueOptions refused = on_device();
  refused.mirror = Mirror::none;  // by the stand-in, which has the memory by then
  auto created = std::async(std::launch::async, [&] { broker_->create("q", refused); });
  EXPECT_LT(longest_wait([&] { return is_ready(created); }), kServed);
  EXPECT_THROW(created.get(), BackendError);
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

TEST_F(SlowRunner, HoldsUpNoOtherDeviceWhileItStarts) {
  hang();
  auto created = std::async(std::launch::async, [&] { broker_->create("q", on_device()); });
  ASSERT_TRUE(eventually([] { return runners().size() == 1; }));
  ::unsetenv("IPCQ_STAND_IN_DELAY_MS");
  QueueOptions other = on_device();
  other.device = 1;
  broker_->create("other", other);
  EXPECT_EQ(broker_->stats().queues.size(), 2u);  // that and the host's
  EXPECT_FALSE(is_ready(created));
  broker_->stop();
  EXPECT_THROW(created.get(), UsageError);
}

TEST_F(SlowRunner, AStopGivesItsStartUp) {
  broker_->create("q", on_device());
  hang();
  ASSERT_EQ(runners().size(), 1u);
  ::kill(runners().front(), SIGKILL);
  ASSERT_TRUE(eventually([&] { return broker_->stats().runner_deaths == 1 && runners().size() == 1; }));
  const auto start = Clock::now();
  broker_.reset();
  EXPECT_LT(Clock::now() - start, kBound);
  EXPECT_TRUE(runners().empty());
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
  ASSERT_TRUE(eventually([&] { return broker_->stats().runner_deaths == 1 && runners().size() == 1; }));
  std::this_thread::sleep_for(kDelay * 3 / 2);  // it is up and asked for memory
  broker_.reset();
  EXPECT_TRUE(runners().empty());
}

class EndingRunner : public SlowRunner {
 protected:
  ~EndingRunner() override {
    ::unsetenv("IPCQ_STAND_IN_LINGER_MS");
    if (client_ > 0) ::kill(client_, SIGKILL);
    if (client_ > 0) ::waitpid(client_, nullptr, 0);
  }
  // Creates "q" on a runner that will take that long to end.
  void create(std::chrono::seconds linger) {
    ::setenv("IPCQ_STAND_IN_LINGER_MS", std::to_string(std::chrono::milliseconds(linger).count()).c_str(), 1);
    broker_->create("q", on_device());
    ::unsetenv("IPCQ_STAND_IN_LINGER_MS");
    ASSERT_EQ(runners().size(), 1u);
    runner_ = runners().front();
  }
  void let_go() const { ASSERT_EQ(::kill(runner_, SIGUSR1), 0); }
  std::uint64_t runner_deaths() const { return broker_->stats().runner_deaths; }
  // A process that has a producer of "q" open and does nothing.
  void start_client() {
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    client_ = ::fork();
    if (client_ == 0) {
      Session session = connect({.broker = name_});
      auto p = session.producer("q");
      if (p.send("x", 1, kBound) != Status::ok || ::write(ready[1], "x", 1) != 1) ::_exit(1);
      for (;;) ::pause();
    }
    ::close(ready[1]);
    char byte = 0;
    ASSERT_EQ(::read(ready[0], &byte, 1), 1);
    ::close(ready[0]);
  }

  pid_t runner_ = -1;
  pid_t client_ = -1;
};

constexpr auto kLinger = 2s;
constexpr auto kForEver = 60s;

TEST_F(EndingRunner, HoldsUpNoOtherQueue) {
  create(kLinger);
  const auto start = Clock::now();
  let_go();
  EXPECT_LT(longest_wait([&] { return runner_deaths() == 1; }), kServed);
  EXPECT_GE(Clock::now() - start, kLinger);  // nor is it taken for dead before
  EXPECT_TRUE(eventually([&] { return broker_->stats().queues.size() == 2; }));
}

TEST_F(EndingRunner, ClosesItsQueuesToProducersAtOnceAndToConsumersOnceItHasEnded) {
  create(kLinger);
  Session session = connect({.broker = name_});
  auto p = session.producer("q");
  auto c = session.consumer("q");
  let_go();
  ASSERT_TRUE(eventually([&] { return p.send("x", 1, kBound) == Status::closed; }));
  while (c.receive(100ms)) {  // what came before, on which it goes on working
  }
  p.close();
  EXPECT_EQ(c.receive(100ms).status(), Status::timeout);  // and no end: the producer had more to say
  EXPECT_EQ(runner_deaths(), 0u);
  EXPECT_EQ(c.receive(kBound).status(), Status::closed);
  EXPECT_TRUE(eventually([&] { return runner_deaths() == 1; }));
}

TEST_F(EndingRunner, ItsNamesAreTakenAndNobodyAttachesUntilTheyAreBack) {
  create(kLinger);
  Session session = connect({.broker = name_});
  auto p = session.producer("q");
  let_go();
  ASSERT_TRUE(eventually([&] { return p.send("x", 1, kBound) == Status::closed; }));
  EXPECT_THAT(error_of<NotFoundError>([&] { (void)session.producer("q"); }), testing::HasSubstr("created anew"));
  EXPECT_THROW(broker_->create("q", {.slots = 2}), UsageError);
  QueueOptions sharing = on_device();
  sharing.pool = "q";
  EXPECT_THROW(broker_->create("shares", sharing), BackendError);
  EXPECT_EQ(runner_deaths(), 0u);
  broker_->create("next", on_device());  // waits for room on the device
  EXPECT_EQ(runner_deaths(), 1u);
  p = session.producer("q", {.wait_for = kBound});
  EXPECT_EQ(p.send("x", 1, kBound), Status::ok);
}

TEST_F(EndingRunner, DeathsOfItsClientsAreRepairedMeanwhile) {
  create(kLinger);
  start_client();
  Session session = connect({.broker = name_});
  auto p = session.producer("q");
  let_go();
  ASSERT_TRUE(eventually([&] { return p.send("x", 1, kBound) == Status::closed; }));
  ASSERT_EQ(::kill(client_, SIGKILL), 0);
  EXPECT_TRUE(eventually([&] { return broker_->stats().deaths == 1; }));
  EXPECT_EQ(runner_deaths(), 0u);
  EXPECT_TRUE(eventually([&] { return runner_deaths() == 1; }));
}

TEST_F(EndingRunner, IsKilledIfItDoesNotEnd) {
  create(kForEver);
  let_go();
  EXPECT_TRUE(eventually([&] { return runner_deaths() == 1; }));
  EXPECT_TRUE(eventually([&] { return log().find("killed by signal 9") != std::string::npos; }));
  EXPECT_THAT(log(), testing::HasSubstr("is killed"));
  EXPECT_TRUE(eventually([&] { return broker_->stats().queues.size() == 2; }));
}

TEST_F(EndingRunner, AStopEndsIt) {
  create(kForEver);
  Session session = connect({.broker = name_});
  auto c = session.consumer("q");
  let_go();
  broker_.reset();
  EXPECT_TRUE(runners().empty());
  EXPECT_EQ(c.receive(kBound).status(), Status::closed);
}

}  // namespace
}  // namespace ipcq_test
