// Producers that wait for each other, one of them held up between claim and publish.
#include "client/producer_core.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <future>
#include <string_view>

#include "base/crash_point.hpp"
#include "eventually.hpp"
#include "ipcq/ipcq.hpp"
#include "stamped.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;
using namespace std::chrono_literals;

// Holds a thread that asks for it at its next claim.
thread_local bool stops_at_claim = false;
std::atomic<bool> stopped{false};
std::atomic<bool> go_on{false};

void stop_at_claim(const char* step) {
  if (!stops_at_claim || std::string_view(step) != "publish.claimed") return;
  stops_at_claim = false;
  stopped = true;
  (void)eventually([] { return go_on.load(); });
}

class HeldUpProducer : public testing::Test {
 protected:
  HeldUpProducer()
      : broker_({.name = "producer-core-" + std::to_string(getpid())}),
        session_(connect({.broker = broker_.stats().name})) {
    broker_.create("q", {.slots = 1, .lines = 4, .groups = {}});
    stopped = go_on = false;
    detail::set_crash_point_hook(stop_at_claim);
    slow_ = std::async(std::launch::async, [p = session_.producer("q")]() mutable {
      stops_at_claim = true;
      return p.send(stamped(1, 0), kBound);
    });
    EXPECT_TRUE(eventually([] { return stopped.load(); }));
  }
  ~HeldUpProducer() override {
    go_on = true;
    if (slow_.valid()) (void)slow_.get();
    detail::set_crash_point_hook(nullptr);
  }
  static constexpr Duration kMoment = 30ms;

  Broker broker_;
  Session session_;
  std::future<Status> slow_;  // takes ticket 0
};

TEST_F(HeldUpProducer, IsNotLappedAndWakesWhoWaitsForItsLine) {
  auto p = session_.producer("q", {.wait = Wait::sleep()});
  for (std::uint64_t i = 1; i < 4; ++i) ASSERT_EQ(p.send(stamped(2, i), kBound), Status::ok);
  EXPECT_EQ(p.send(stamped(2, 4), 0ns), Status::full);
  EXPECT_EQ(p.send(stamped(2, 4), kMoment), Status::timeout);
  auto waiting = std::async(std::launch::async, [&] { return p.send(stamped(2, 4), kBound); });
  EXPECT_EQ(waiting.wait_for(kMoment), std::future_status::timeout);
  go_on = true;
  ASSERT_EQ(waiting.wait_for(kPrompt), std::future_status::ready) << "nobody woke the producer";
  EXPECT_EQ(waiting.get(), Status::ok);
  EXPECT_EQ(slow_.get(), Status::ok);
}

TEST_F(HeldUpProducer, DoesNotStopTheOrderOfAGroupThatJoinsMeanwhile) {
  auto p = session_.producer("q");
  auto c = session_.consumer("q", {.group = "late"});
  for (std::uint64_t i = 1; i < 4; ++i) {
    ASSERT_EQ(p.send(stamped(2, i), kBound), Status::ok);
    ASSERT_EQ(c.receive(kBound).status(), Status::ok);
  }
  EXPECT_EQ(p.send(stamped(2, 4), kMoment), Status::timeout);
  go_on = true;
  EXPECT_EQ(slow_.get(), Status::ok);
  for (std::uint64_t i = 4; i < 20; ++i) {
    ASSERT_EQ(p.send(stamped(2, i), kBound), Status::ok);
    auto m = c.receive(kPrompt);
    ASSERT_EQ(m.status(), Status::ok) << "the order stops at message " << i;
    EXPECT_EQ(m->sequence(), i - 1);
  }
}

}  // namespace
}  // namespace ipcq_test
