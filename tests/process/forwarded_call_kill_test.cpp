// A request is passed on to another queue, and somebody dies at each step of it, or at any time: every call of the
// living comes to an end, no answer is another's, and nothing is left in either queue. IPCQ_CALL_KILLS=200 kills as
// many.
#include <algorithm>
#include <random>
#include <thread>
#include <tuple>

#include "process/calls_of_the_dead.hpp"
#include "process/kill_cases.hpp"

namespace ipcq_test {
namespace {

class ForwardedCallsOfTheDead : public CallsOfTheDead {
 protected:
  void expect_both_clean() {
    end_servers();
    for (const char* queue : {"q", "b"}) {
      EXPECT_EQ(stats(queue).calls_open + stats(queue).calls_answered, 0u) << queue;
    }
    // What was passed on and waits for no answer any more keeps its slot until a server passes it over.
    start_second();
    bounded("what waits at the second queue", [&] { return group_stats("servers", "b").waiting == 0; });
    end_servers();
    expect_nothing_left("q");
    expect_nothing_left("b");
  }
};

enum class Places { one_pool, two_pools, lines };

class ForwardedCallKillTest
    : public ForwardedCallsOfTheDead,
      public testing::WithParamInterface<std::tuple<ForwardedCallKillCase, OnServerDeath, Places>> {};

TEST_P(ForwardedCallKillTest, EveryCallOfTheLivingComesToAnEnd) {
  const auto& [c, on_server_death, places] = GetParam();
  const std::string step = std::string(c.step) + ":kill:" + std::to_string(c.count);
  in_lines_ = places == Places::lines;
  create_two_queues(on_server_death, places == Places::one_pool);
  Peer* victim = nullptr;
  if (c.victim == CallVictim::forwarder) victim = &start_forwarder(step);
  if (c.victim == CallVictim::server) victim = &start_second(step);
  if (c.victim != CallVictim::forwarder) start_forwarder();
  if (c.victim != CallVictim::server) start_second();
  Peer& survivor = start_caller(1, kCalls);
  if (c.victim == CallVictim::caller) victim = &start_caller(2, kCalls, step);
  ASSERT_EQ(end_of(*victim), "signal 9") << "did not get to " << step;
  if (c.victim == CallVictim::forwarder) start_forwarder();
  if (c.victim == CallVictim::server) start_second();
  const bool fails = c.victim != CallVictim::caller && on_server_death == OnServerDeath::fail;
  expect_all_answered(survivor, kCalls, fails || (c.victim == CallVictim::server && c.count > 1) ? 1 : 0);
  bounded("the broker to notice the death", [&] { return broker_->stats().deaths == 1; });
  expect_both_clean();
}
std::string name_of(const testing::TestParamInfo<ForwardedCallKillTest::ParamType>& info_) {
  const auto& [c, on_server_death, places] = info_.param;
  constexpr const char* kWho[] = {"Caller", "Forwarder", "Server"};
  std::string name = c.step;
  std::replace(name.begin(), name.end(), '.', '_');
  return name + "_" + kWho[static_cast<int>(c.victim)] + std::to_string(c.count) + "_" +
         std::string(to_string(on_server_death)) + (places == Places::one_pool ? "_OnePool" : "_TwoPools");
}
INSTANTIATE_TEST_SUITE_P(, ForwardedCallKillTest,
                         testing::Combine(testing::ValuesIn(kForwardedCallKillCases),
                                          testing::Values(OnServerDeath::fail, OnServerDeath::redeliver),
                                          testing::Values(Places::one_pool, Places::two_pools)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(InLines, ForwardedCallKillTest,
                         testing::Combine(testing::ValuesIn(kShortForwardedCallKillCases),
                                          testing::Values(OnServerDeath::fail, OnServerDeath::redeliver),
                                          testing::Values(Places::lines)),
                         name_of);

// A caller, a forwarder and a server are killed again and again at any time, and replaced.
TEST_F(ForwardedCallsOfTheDead, LeaveNoForwardedCallHanging) {
  const int kills = kills_wanted();
  create_two_queues(OnServerDeath::fail, true);
  start_forwarder();
  start_second();
  Peer& survivor = spawn_ready("caller", {"id=1", "count=" + std::to_string(60 * kills), "window=3"});
  std::mt19937 random(11);
  std::uniform_int_distribution<int> pause_us(0, 20'000);
  std::uint64_t deaths = 0;
  for (int i = 0; i < kills; ++i) {
    Peer& caller = start_caller(static_cast<std::uint32_t>(2 + i), 1'000'000);
    Peer& forwarder = start_forwarder();
    Peer& server = start_second();
    std::this_thread::sleep_for(std::chrono::microseconds(pause_us(random)));
    for (Peer* victim : {&caller, &forwarder, &server}) {
      victim->signal(SIGKILL);
      EXPECT_EQ(end_of(*victim), "signal 9") << victim->output();
      ++deaths;
    }
    servers_.pop_back();
    servers_.pop_back();
  }
  bounded("the broker to notice every death", [&] { return broker_->stats().deaths == deaths; });
  expect_all_answered(survivor, static_cast<std::uint64_t>(60 * kills), static_cast<std::uint64_t>(2 * kills));
  expect_both_clean();
}

}  // namespace
}  // namespace ipcq_test
