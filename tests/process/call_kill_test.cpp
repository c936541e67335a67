// Clients and servers of calls die at every step, and at any time: every call of the living comes to an end that says
// what happened, no answer is another's, and nothing is left of the dead. IPCQ_CALL_KILLS=200 kills as many of each.
#include <algorithm>
#include <random>
#include <string_view>
#include <thread>

#include "process/calls_of_the_dead.hpp"
#include "process/kill_cases.hpp"

namespace ipcq_test {
namespace {

class CallKillTest : public CallsOfTheDead,
                     public testing::WithParamInterface<std::tuple<CallKillCase, OnServerDeath>> {};

TEST_P(CallKillTest, EveryCallOfTheLivingComesToAnEnd) {
  const auto& [c, on_server_death] = GetParam();
  const std::string step = std::string(c.step) + ":kill:" + std::to_string(c.count);
  create_queue(on_server_death);
  Peer* victim = nullptr;
  if (c.server) victim = &start_server(step);
  if (!c.server) start_server();
  Peer& survivor = start_caller(1, kCalls);
  if (!c.server) victim = &start_caller(2, kCalls, step);
  ASSERT_EQ(end_of(*victim), "signal 9") << "did not get to " << step;
  if (c.server) start_server();
  const bool fails = c.server && on_server_death == OnServerDeath::fail;
  // One request at a time is a server's; of a stream that the caller has read from, it is told in any case.
  expect_all_answered(survivor, kCalls, fails || (c.server && c.count > 1) ? 1 : 0);
  bounded("the broker to notice the death", [&] { return broker_->stats().deaths == 1; });
  expect_clean();
}

class HandlerCallKillTest : public CallsOfTheDead, public testing::WithParamInterface<CallKillCase> {};

// A client may die with others' answers in its hands.
TEST_P(HandlerCallKillTest, EveryCallOfTheLivingIsAnswered) {
  const std::string step = std::string(GetParam().step) + ":kill:" + std::to_string(GetParam().count);
  create_answering_queue();
  Peer& survivor = start_caller(1, 300);
  // It rings only for a worker or a client that sleeps.
  const bool rings = std::string_view(GetParam().step) == "ring.incremented";
  Peer& victim = start_caller(2, 300, step, rings ? 300 : 0);
  ASSERT_EQ(end_of(victim), "signal 9") << "did not get to " << step;
  expect_all_answered(survivor, 300, 0);
  bounded("the broker to notice the death", [&] { return broker_->stats().deaths == 1; });
  expect_all_answered(start_caller(3, 20), 20, 0);  // takes over what was given back last
  expect_clean();
}
INSTANTIATE_TEST_SUITE_P(, HandlerCallKillTest, testing::ValuesIn(kHandlerCallKillCases), [](const auto& info_) {
  std::string name = info_.param.step;
  std::replace(name.begin(), name.end(), '.', '_');
  return name + std::to_string(info_.param.count);
});

std::string name_of(const testing::TestParamInfo<std::tuple<CallKillCase, OnServerDeath>>& info_) {
  const auto& [c, on_server_death] = info_.param;
  std::string name = c.step;
  std::replace(name.begin(), name.end(), '.', '_');
  return name + (c.server ? "_Server" : "_Client") + std::to_string(c.count) + "_" +
         std::string(to_string(on_server_death));
}
INSTANTIATE_TEST_SUITE_P(, CallKillTest,
                         testing::Combine(testing::ValuesIn(kCallKillCases),
                                          testing::Values(OnServerDeath::fail, OnServerDeath::redeliver)),
                         name_of);

// Two callers, two servers; again and again one of each is killed at any time, and replaced.
TEST_F(CallsOfTheDead, LeaveNoCallHanging) {
  const int kills = kills_wanted();
  create_queue(OnServerDeath::fail);
  start_server();
  Peer& survivor = spawn_ready("caller", {"id=1", "count=" + std::to_string(100 * kills), "window=6"});
  std::mt19937 random(7);
  std::uniform_int_distribution<int> pause_us(0, 20'000);
  std::uint64_t deaths = 0;
  for (int i = 0; i < kills; ++i) {
    Peer& caller = start_caller(static_cast<std::uint32_t>(2 + i), 1'000'000);
    Peer& server = start_server();
    std::this_thread::sleep_for(std::chrono::microseconds(pause_us(random)));
    for (Peer* victim : {&caller, &server}) {
      victim->signal(SIGKILL);
      EXPECT_EQ(end_of(*victim), "signal 9") << victim->output();
      ++deaths;
    }
    servers_.pop_back();
  }
  bounded("the broker to notice every death", [&] { return broker_->stats().deaths == deaths; });
  expect_all_answered(survivor, static_cast<std::uint64_t>(100 * kills), static_cast<std::uint64_t>(kills));
  expect_clean();
}

// The same where a handler answers, and clients collect for each other.
TEST_F(CallsOfTheDead, LeaveNoCallToAHandlerHanging) {
  const int kills = kills_wanted();
  create_answering_queue();
  Peer& survivor = start_caller(1, static_cast<std::uint64_t>(300 * kills));
  std::mt19937 random(9);
  std::uniform_int_distribution<int> pause_us(0, 20'000);
  for (int i = 0; i < kills; ++i) {
    Peer& victim = start_caller(static_cast<std::uint32_t>(2 + i), 1'000'000);
    std::this_thread::sleep_for(std::chrono::microseconds(pause_us(random)));
    victim.signal(SIGKILL);
    EXPECT_EQ(end_of(victim), "signal 9") << victim.output();
  }
  bounded("the broker to notice every death", [&] { return broker_->stats().deaths == std::uint64_t(kills); });
  expect_all_answered(survivor, static_cast<std::uint64_t>(300 * kills), 0);
  expect_all_answered(start_caller(1'000'000, 20), 20, 0);
  expect_clean();
}

TEST_F(CallsOfTheDead, EndWithTheBroker) {
  for (int i = kills_wanted(); i > 0; --i) {
    Peer& broker = spawn_broker({"calls=8"});
    Peer& caller = spawn_ready("caller", {"id=1", "count=3", "window=3", "queue=calls"});
    bounded("its calls", [&] { return ended_calls(caller, Event::sent).size() == 3; });
    broker.signal(SIGKILL);
    ASSERT_EQ(end_of(caller), "exit " + std::to_string(100 + static_cast<int>(Status::peer_dead)));
    (void)end_of(broker);
  }
}

}  // namespace
}  // namespace ipcq_test
