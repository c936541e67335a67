// How long set-up calls wait for what does not exist yet: connect() for a broker, producer() and consumer() for a
// queue.
#include "ipcq/session.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>

#include "errors.hpp"
#include "eventually.hpp"
#include "ipcq/admin.hpp"
#include "ipcq/broker.hpp"
#include "ipcq/error.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;
using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr Duration kShort = 50ms;

class SetUpTimeOut : public testing::Test {
 protected:
  using SetUp = std::function<void(Timeout)>;  // throws, or succeeds

  static std::string name_of_broker() { return "session-" + std::to_string(::getpid()); }
  static long sleeps() {
    rusage usage{};
    ::getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
  }
  static bool is_ready(const std::future<void>& call, Duration time) {
    return call.wait_for(time) == std::future_status::ready;
  }

  // Expects NotFoundError, which names `object`, after the given time and not before.
  static void expect_not_found(const std::string& object, const SetUp& call) {
    for (const Duration given : {Duration::zero(), Duration(-1), Duration::min(), Duration(1), kShort}) {
      SCOPED_TRACE(object + ", given " + std::to_string(given.count()) + " ns");
      const auto before = std::chrono::steady_clock::now();
      auto done = std::async(std::launch::async,
                             [&] { EXPECT_THAT(error_of<NotFoundError>([&] { call(given); }), HasSubstr(object)); });
      EXPECT_TRUE(is_ready(done, kPrompt)) << "it waits longer than it may";
      done.get();
      EXPECT_GE(std::chrono::steady_clock::now() - before, given);
    }
  }
  // Expects that the call, given time, succeeds once `make` has made what it waits for, and any later call at once.
  static void expect_waits_for(const std::function<void()>& make, const SetUp& call) {
    auto waiting = std::async(std::launch::async, [&] { call(kForever); });
    EXPECT_FALSE(is_ready(waiting, kShort));
    make();
    EXPECT_TRUE(is_ready(waiting, kBound));
    EXPECT_NO_THROW(waiting.get());
    for (const Duration given : {Duration::zero(), Duration(-1), Duration(1), kForever}) EXPECT_NO_THROW(call(given));
  }
  // Expects that the call, given no time, does not sleep when there is no broker to ask.
  static void expect_no_sleep(const SetUp& call) {
    // The system may make the thread sleep now and then (swapping); a call that sleeps does so every time.
    bool slept = true;
    for (int tries = 0; tries < 5 && slept; ++tries) {
      const long before = sleeps();
      EXPECT_THROW(call(Duration::zero()), NotFoundError);
      slept = sleeps() != before;
    }
    EXPECT_FALSE(slept);
  }
};

TEST_F(SetUpTimeOut, OfConnect) {
  const SetUp call = [](Timeout t) { (void)connect({.broker = name_of_broker(), .wait_for = t}); };
  expect_not_found(name_of_broker(), call);
  expect_no_sleep(call);
  std::unique_ptr<Broker> broker;
  expect_waits_for([&] { broker = std::make_unique<Broker>(BrokerOptions{.name = name_of_broker()}); }, call);
}

TEST_F(SetUpTimeOut, OfFetchedStatistics) {
  const SetUp call = [](Timeout t) { EXPECT_EQ(fetch_stats(name_of_broker(), t).name, name_of_broker()); };
  expect_not_found(name_of_broker(), call);
  expect_no_sleep(call);
  std::unique_ptr<Broker> broker;
  expect_waits_for([&] { broker = std::make_unique<Broker>(BrokerOptions{.name = name_of_broker()}); }, call);
}

class EndpointTimeOut : public SetUpTimeOut {
 protected:
  void expect_all(const SetUp& call) {
    expect_not_found("later", call);
    auto waiting = std::async(
        std::launch::async, [&] { EXPECT_THAT(error_of<NotFoundError>([&] { call(kForever); }), HasSubstr("later")); });
    EXPECT_FALSE(is_ready(waiting, kShort));
    session_.interrupt();
    EXPECT_TRUE(is_ready(waiting, kPrompt)) << "interrupt() ends the wait";
    waiting.get();
    expect_not_found_though_given_time(call);
    session_.resume();
    expect_waits_for([&] { broker_.create("later", {.slots = 1, .size = 64, .lines = 4}); }, call);
  }

  Broker broker_{BrokerOptions{.name = name_of_broker()}};
  Session session_ = connect({.broker = name_of_broker()});

 private:
  // Of a session that stays interrupted.
  static void expect_not_found_though_given_time(const SetUp& call) {
    auto done = std::async(std::launch::async, [&] { EXPECT_THROW(call(kForever), NotFoundError); });
    EXPECT_TRUE(is_ready(done, kPrompt));
  }
};

TEST_F(EndpointTimeOut, OfAProducer) {
  expect_all([&](Timeout t) { (void)session_.producer("later", {.wait_for = t}); });
}

TEST_F(EndpointTimeOut, OfAConsumer) {
  expect_all([&](Timeout t) { (void)session_.consumer("later", {.wait_for = t}); });
}

TEST_F(EndpointTimeOut, EndsWithTheBroker) {
  auto broker = std::make_unique<Broker>(BrokerOptions{.name = name_of_broker() + "-ends"});
  auto session = connect({.broker = name_of_broker() + "-ends"});
  auto waiting = std::async(
      std::launch::async, [&] { EXPECT_THROW((void)session.producer("later", {.wait_for = kForever}), SystemError); });
  EXPECT_FALSE(is_ready(waiting, kShort));
  broker.reset();
  EXPECT_TRUE(is_ready(waiting, kBound));
}

}  // namespace
}  // namespace ipcq_test
