// Deaths of the server, and of connections to it.
#include <signal.h>

#include <set>
#include <thread>

#include "bridge/deaths_fixture.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;

TEST_F(RedisDeathsTest, AServerThatDiesAndComesBackCostsNoTaskAndNoSecondResult) {
  Command* server = &redis(kDurable);
  handler_broker();
  Command& running = bridge("--json --claim-after 60");
  std::set<std::string> ids;
  for (int round = 0; round < 3; ++round) {
    ids.merge(add_many(300));
    server->signal(SIGKILL);
    EXPECT_EQ(server->exit_code(), 128 + SIGKILL);
    server = &redis(kDurable);
  }
  ASSERT_TRUE(has_results(ids.size())) << running.err();
  running.signal(SIGTERM);
  EXPECT_EQ(running.exit_code(), 0) << running.err();
  EXPECT_THAT(running.err(), HasSubstr("connecting again"));
  expect_results(ids);
}

TEST_F(RedisDeathsTest, AServerThatComesBackEmptyIsServedAgain) {
  Command& first = redis();
  handler_broker();
  Command& running = bridge();
  add("tasks", "x");
  ASSERT_TRUE(has_results(1));
  first.signal(SIGKILL);
  EXPECT_EQ(first.exit_code(), 128 + SIGKILL);
  redis();
  const auto ids = add_many(10);
  ASSERT_TRUE(has_results(10)) << running.err();
  expect_results(ids);
  ask({"FLUSHALL"});
  const auto others = add_many(10);
  ASSERT_TRUE(has_results(10)) << running.err();
  EXPECT_THAT(running.err(), HasSubstr("creating the group anew"));
  expect_results(others);
}

// Nothing closes the connection of a server that is stopped, or whose host is cut off.
// It looks for a namesake then.
TEST_F(RedisDeathsTest, AServerThatDiesWhileABridgeBeginsIsWaitedFor) {
  Command& first = redis();
  handler_broker();
  ask({"XGROUP", "CREATE", "tasks", "ipcq", "0", "MKSTREAM"});
  ask({"XGROUP", "CREATECONSUMER", "tasks", "ipcq", "a"});
  Command& running =
      start("exec ipcq-redis --redis " + url() + " --queue work --stream tasks --consumer a --wait-for 20");
  std::this_thread::sleep_for(500ms);
  first.signal(SIGKILL);
  first.exit_code();
  std::this_thread::sleep_for(300ms);
  redis();
  add("tasks", "x");
  EXPECT_TRUE(has_results(1)) << running.err();
}

TEST_F(RedisDeathsTest, AServerThatIsSilentIsLeftAndFoundAgain) {
  Command& server = redis();
  handler_broker();
  Command& running = bridge();
  ASSERT_TRUE(eventually([&] { return is_working(running); }));
  server.signal(SIGSTOP);
  ASSERT_TRUE(eventually([&] { return running.err().find("no answer for 5000 ms") != std::string::npos; }))
      << running.err();
  server.signal(SIGCONT);
  const auto ids = add_many(10);
  ASSERT_TRUE(has_results(10)) << running.err();
  expect_results(ids);
}

TEST_F(RedisDeathsTest, AServerThatDiesWhileNothingIsAskedIsNoticed) {
  Command& server = redis();
  broker("--queue work=4KiB,slots=4,calls=1");
  Gate gate;
  const Servers slow = serve_behind(gate);
  add_many(1);
  Command& running = bridge();
  ASSERT_TRUE(eventually([&] { return gate.calls == 1; }));
  std::this_thread::sleep_for(600ms);  // until the last question was answered: there is no room for more
  server.signal(SIGKILL);
  EXPECT_TRUE(eventually([&] { return running.err().find("connecting again") != std::string::npos; }, 3s))
      << running.err();
  gate.is_open = true;
}

TEST_F(RedisDeathsTest, LostConnectionsAreNoDeaths) {
  redis();
  server_broker();
  Gate gate;
  const Servers slow = serve_behind(gate);
  const auto ids = add_many(3);
  Command& running = bridge();
  ASSERT_TRUE(eventually([&] { return pending() == 3; }));
  for (int i = 0; i < 4; ++i) {
    ask({"CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES"});
    std::this_thread::sleep_for(300ms);
  }
  const auto pending_tasks = ask({"XPENDING", "tasks", "ipcq", "-", "+", "10"});
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(pending_tasks.view()[i][3].number(), 1);
  gate.is_open = true;
  ASSERT_TRUE(has_results(3)) << running.err();
  expect_results(ids);
}

TEST_F(RedisDeathsTest, ScriptsThatAreForgottenAreLoadedAgain) {
  redis();
  handler_broker();
  Command& running = bridge();
  auto ids = add_many(10);
  ASSERT_TRUE(has_results(10));
  ask({"SCRIPT", "FLUSH"});
  ids.merge(add_many(10));
  ASSERT_TRUE(has_results(20)) << running.err();
  expect_results(ids);
}

}  // namespace
}  // namespace ipcq_test
