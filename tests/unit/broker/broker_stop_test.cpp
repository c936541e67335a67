// BrokerCore::stop(): how long it waits, what it counts as left, and what is gone once it has returned. As programs:
// conformance/stop_test.cpp and process/broker_life_test.cpp.
#include <gmock/gmock.h>

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <future>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "broker/broker_core.hpp"
#include "broker/core_fixture.hpp"
#include "errors.hpp"
#include "eventually.hpp"
#include "ipcq/admin.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ipcq_test::error_of;
using ipcq_test::eventually;
using ipcq_test::kBound;
using ipcq_test::kPrompt;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class BrokerStopTest : public BrokerCoreFixture {
 protected:
  // The system's table of Unix sockets.
  static std::string sockets() {
    std::ifstream in("/proc/net/unix");
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static std::ptrdiff_t threads() {
    return std::distance(fs::directory_iterator("/proc/self/task"), fs::directory_iterator());
  }
};

TEST_F(BrokerStopTest, AStopClosesTheQueuesAndTheConnectionsAndRemovesEveryName) {
  create_unread();
  core_->administration().create_pool("p", {.slots = 4, .size = 64});
  EXPECT_GE(names().size(), 6u) << "lock file, socket, record; the queue and two pools";
  EXPECT_EQ(stop(Deadline::none()), kUnread);
  EXPECT_THAT(names(), IsEmpty());
  EXPECT_EQ(producer_.send("more", kBound), Status::closed);
  EXPECT_EQ(consumer_.receive(kBound).status(), Status::closed) << "what was left is handed out to nobody";
  EXPECT_TRUE(eventually([&] { return !session_.connected(); }));
  EXPECT_THROW((void)connect({.broker = path_}), NotFoundError);
  EXPECT_THAT(error_of<UsageError>([&] { create("late"); }), HasSubstr("the broker has stopped"));
  EXPECT_THROW(core_->administration().create_pool("late", {}), UsageError);
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(BrokerStopTest, NoSocketOfABrokerIsLeftOnceItHasStopped) {
  EXPECT_THAT(sockets(), HasSubstr(path_));
  stop(Deadline::none());
  EXPECT_THAT(sockets(), Not(HasSubstr(path_))) << "neither the listener nor a client's connection";
}

TEST_F(BrokerStopTest, NoThreadOfABrokerIsLeftOnceItHasStopped) {
  BrokerCore other({.name = directory_.at("other")});
  other.administration().create_queue("q", {.slots = 4, .size = 64, .handler = "identity", .threads = 2});
  EXPECT_EQ(fetch_stats(directory_.at("other")).queues.size(), 1u);
  const auto during = threads();  // with those that serve, answer with statistics, and run the handler
  Deadline at_once = Deadline::none();
  other.stop(at_once);
  EXPECT_TRUE(eventually([&] { return threads() <= during - 4; }, kPrompt)) << during << ", then " << threads();
}

TEST_F(BrokerStopTest, SleepersAreWokenByAStop) {
  create_unread();
  ASSERT_EQ(producer_.send("fills the queue", kBound), Status::ok);
  create("empty");
  Consumer waits = session_.consumer("empty");
  auto received = std::async(std::launch::async, [&] { return waits.receive(kBound).status(); });
  auto sent = std::async(std::launch::async, [&] { return producer_.send("one too many", kBound); });
  Stop stopping = begin_stop();
  EXPECT_EQ(sent.get(), Status::closed) << "the intake is closed at once";
  EXPECT_EQ(stopping.wait_for(0s), std::future_status::timeout);
  EXPECT_EQ(received.wait_for(0s), std::future_status::timeout) << "while it drains a consumer waits for the rest";
  consumer_.close();
  EXPECT_EQ(left_by(stopping), kUnread + 1);
  EXPECT_EQ(received.get(), Status::closed);
}

TEST_F(BrokerStopTest, AStopDrainsAsLongAsItIsGivenTimeAndThereAreMembers) {
  struct Case {
    const char* given;
    Deadline by;
    Duration at_least;
    bool member = true;
  };
  for (const Case& c :
       {Case{"no time", Deadline::none(), 0s}, Case{"less than none", Deadline(Duration(-1)), 0s},
        Case{"a time long past", Deadline::until(1), 0s}, Case{"the present", Deadline::until(now_ns()), 0s},
        Case{"one nanosecond", Deadline(Duration(1)), 0s}, Case{"50 ms", Deadline(50ms), 50ms},
        Case{"for ever, without a member", Deadline(kForever), 0s, false}}) {
    SCOPED_TRACE(c.given);
    begin_anew();
    create_unread();
    if (!c.member) consumer_.close();
    const auto before = std::chrono::steady_clock::now();
    Stop stopping = stop_elsewhere(c.by);
    EXPECT_EQ(left_by(stopping), kUnread);
    EXPECT_GE(std::chrono::steady_clock::now() - before, c.at_least);
    EXPECT_EQ(stop(Deadline(kForever)), kUnread) << "a later stop returns what the first counted";
  }
}

TEST_F(BrokerStopTest, AStopWaitsUntilMembersHaveReleasedAll) {
  create_unread();
  Stop stopping = begin_stop();
  Message held[kUnread];
  EXPECT_EQ(consumer_.receive_many(held, kBound).count, kUnread);
  EXPECT_EQ(stopping.wait_for(30ms), std::future_status::timeout) << "the messages are held";
  for (Message& m : held) m = {};
  EXPECT_EQ(left_by(stopping), 0u);
  EXPECT_EQ(consumer_.receive(kBound).status(), Status::closed);
  EXPECT_THAT(log_, IsEmpty());
}

TEST_F(BrokerStopTest, WhatIsLeftIsTheSumOverTheQueuesAndIsLogged) {
  create_unread("first");
  Producer first = std::move(producer_);
  Consumer reader = std::move(consumer_);
  create_unread("second");
  const auto held = reader.receive(kBound);
  ASSERT_TRUE(held);
  create("empty");
  EXPECT_EQ(stop(Deadline::none()), 2 * kUnread - 1) << "what a consumer holds is its own";
  EXPECT_THAT(log_, ElementsAre("queue 'first': stopped with 2 messages left; consumers hold 1, which are theirs",
                                "queue 'second': stopped with 3 messages left"));
}

TEST_F(BrokerStopTest, OfSeveralStopsTheSoonestDeadlineCounts) {
  struct Case {
    const char* given;
    Duration first;
    std::vector<Duration> then;
    Duration at_least;
  };
  for (const Case& c :
       {Case{"no time after for ever", kForever, {0s}, 0s}, Case{"50 ms after for ever", kForever, {50ms}, 50ms},
        Case{"50 ms among many", kForever, {kForever, 50ms, 1h}, 50ms},
        Case{"for ever after 100 ms", 100ms, {kForever, 1h}, 100ms}}) {
    SCOPED_TRACE(c.given);
    begin_anew();
    create_unread();
    const auto before = std::chrono::steady_clock::now();
    std::vector<Stop> stops;
    stops.push_back(stop_elsewhere(Deadline(c.first)));
    EXPECT_TRUE(eventually([&] { return state() != "open"; }));
    for (const Duration given : c.then) stops.push_back(stop_elsewhere(Deadline(given)));
    for (Stop& s : stops) EXPECT_EQ(left_by(s), kUnread);
    EXPECT_GE(std::chrono::steady_clock::now() - before, c.at_least);
  }
}

// A creation that is under way has names already, which the stop must not leave.
TEST_F(BrokerStopTest, AStopWaitsForACreationAndMakesItFail) {
  create("q");
  Stop stopping;
  once_at("create.queue_made", [&] {
    stopping = begin_stop();
    EXPECT_EQ(stopping.wait_for(30ms), std::future_status::timeout) << "the creation is under way";
    EXPECT_THAT(names(), Contains(HasSubstr("late")));
  });
  EXPECT_THAT(error_of<UsageError>([&] { create("late"); }), HasSubstr("queue 'late': the broker has stopped"));
  EXPECT_EQ(left_by(stopping), 0u);
  EXPECT_THAT(names(), IsEmpty());
}

TEST_F(BrokerStopTest, AStopRemovesTheNamesOfWhatAScanStillReads) {
  create_unread();
  once_at("stats.block", [&] {
    EXPECT_EQ(stop(Deadline::none()), kUnread);
    EXPECT_THAT(names(), IsEmpty());
  });
  EXPECT_EQ(state(), "open") << "as when the scan began";
  EXPECT_EQ(state(), "closed");
}

}  // namespace
}  // namespace ipcq::detail
