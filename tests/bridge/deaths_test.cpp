// Deaths of bridges, brokers and servers.
#include <signal.h>

#include <atomic>
#include <set>
#include <thread>

#include "bridge/redis_test.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;

class RedisDeathsTest : public RedisTest {
 protected:
  static constexpr const char* kDurable = "--save '' --appendonly yes --appendfsync always";

  std::set<std::string> add_many(int count) {
    std::set<std::string> ids;
    for (int i = 0; i < count; ++i) ids.insert(add("tasks", "x"));
    return ids;
  }
  // Each of these tasks has one result.
  void expect_results(const std::set<std::string>& ids) {
    std::set<std::string> found;
    for (const auto& [id, result] : results()) found.insert(id);
    EXPECT_EQ(found, ids);
    EXPECT_EQ(pending(), 0);
  }
};

TEST_F(RedisDeathsTest, TasksOfABridgeThatDiesAreTakenOverByAnother) {
  redis();
  broker("--queue work=4KiB,slots=64,calls=16");
  std::atomic<bool> answers{false};
  const Servers servers = serve([&, kept = Kept()](ipcq::Request& request) {
    if (answers) {
      static_cast<void>(request.reply("done"));
    } else {
      kept->push_back(std::move(request));
    }
  });
  const auto ids = add_many(40);
  Command& killed = bridge("--claim-after 0.5");
  ASSERT_TRUE(eventually([&] { return pending() == 16; }));
  killed.signal(SIGKILL);
  EXPECT_EQ(killed.exit_code(), 128 + SIGKILL);
  answers = true;
  Command& heir = bridge("--claim-after 0.5 --json");
  ASSERT_TRUE(has_results(40)) << heir.err();
  heir.signal(SIGTERM);
  EXPECT_EQ(heir.exit_code(), 0) << heir.err();
  EXPECT_THAT(heir.out(), HasSubstr("\"taken_over\":16"));
  expect_results(ids);
}

TEST_F(RedisDeathsTest, LongWorkIsNotTakenOver) {
  redis();
  server_broker();
  std::atomic<int> calls{0};
  const Servers slow = serve([&](ipcq::Request& request) {
    ++calls;
    std::this_thread::sleep_for(1500ms);
    static_cast<void>(request.reply("done"));
  });
  const auto ids = add_many(1);
  Command& worker = bridge("--claim-after 0.3");
  ASSERT_TRUE(eventually([&] { return calls == 1; }));
  Command& idle = bridge("--claim-after 0.3 --json");
  ASSERT_TRUE(has_results(1)) << worker.err();
  EXPECT_EQ(calls, 1);
  idle.signal(SIGTERM);
  EXPECT_EQ(idle.exit_code(), 0);
  EXPECT_THAT(idle.out(), HasSubstr("\"taken_over\":0"));
  expect_results(ids);
}

TEST_F(RedisDeathsTest, ABridgeThatWasStoppedAndComesBackWritesNoSecondResult) {
  redis();
  server_broker();
  std::atomic<int> calls{0};
  const Servers slow = serve([&](ipcq::Request& request) {
    if (++calls == 1) std::this_thread::sleep_for(500ms);
    static_cast<void>(request.reply("done"));
  });
  const auto ids = add_many(1);
  Command& stopped = bridge("--claim-after 0.3 --json");
  ASSERT_TRUE(eventually([&] { return calls == 1; }));
  stopped.signal(SIGSTOP);
  bridge("--claim-after 0.3");
  ASSERT_TRUE(has_results(1));
  EXPECT_EQ(calls, 2);
  stopped.signal(SIGCONT);
  std::this_thread::sleep_for(200ms);
  stopped.signal(SIGTERM);
  EXPECT_EQ(stopped.exit_code(), 0) << stopped.err();
  EXPECT_THAT(stopped.out(), HasSubstr("\"ended_elsewhere\":1"));
  expect_results(ids);
}

TEST_F(RedisDeathsTest, ATaskThatItsBridgesDieOfGoesToTheDeadLetters) {
  redis();
  server_broker();
  const Servers silent = serve([&, kept = Kept()](ipcq::Request& request) { kept->push_back(std::move(request)); });
  const std::string id = add("tasks", "poison");
  for (int i = 0; i < 2; ++i) {
    Command& killed = bridge("--claim-after 0.2 --attempts 2");
    ASSERT_TRUE(eventually([&] {
      const auto reply = ask({"XPENDING", "tasks", "ipcq", "-", "+", "1"});
      return reply.view()[0][3].number() == i + 1;
    })) << killed.err();
    killed.signal(SIGKILL);
    EXPECT_EQ(killed.exit_code(), 128 + SIGKILL);
  }
  Command& heir = bridge("--claim-after 0.2 --attempts 2");
  ASSERT_TRUE(eventually([&] { return number({"XLEN", "tasks:dead"}) == 1; })) << heir.err();
  EXPECT_THAT(entries("tasks:dead")[0].fields.at("ipcq-reason"), HasSubstr("delivered 2 times"));
  EXPECT_EQ(pending(), 0);
}

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
  std::atomic<bool> goes_on{false};
  std::atomic<int> calls{0};
  const Servers slow = serve([&](ipcq::Request& request) {
    ++calls;
    static_cast<void>(eventually([&] { return goes_on.load(); }));
    static_cast<void>(request.reply("done"));
  });
  add_many(1);
  Command& running = bridge();
  ASSERT_TRUE(eventually([&] { return calls == 1; }));
  std::this_thread::sleep_for(600ms);  // until the last question was answered: there is no room for more
  server.signal(SIGKILL);
  EXPECT_TRUE(eventually([&] { return running.err().find("connecting again") != std::string::npos; }, 3s))
      << running.err();
  goes_on = true;
}

TEST_F(RedisDeathsTest, LostConnectionsAreNoDeaths) {
  redis();
  server_broker();
  std::atomic<bool> goes_on{false};
  const Servers slow = serve([&](ipcq::Request& request) {
    static_cast<void>(eventually([&] { return goes_on.load(); }));
    static_cast<void>(request.reply("done"));
  });
  const auto ids = add_many(3);
  Command& running = bridge();
  ASSERT_TRUE(eventually([&] { return pending() == 3; }));
  for (int i = 0; i < 4; ++i) {
    ask({"CLIENT", "KILL", "TYPE", "NORMAL", "SKIPME", "YES"});
    std::this_thread::sleep_for(300ms);
  }
  const auto pending_tasks = ask({"XPENDING", "tasks", "ipcq", "-", "+", "10"});
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(pending_tasks.view()[i][3].number(), 1);
  goes_on = true;
  ASSERT_TRUE(has_results(3)) << running.err();
  expect_results(ids);
}

// Two that began at one moment, say. What the dead one had is the living one's by name, which has never seen it.
TEST_F(RedisDeathsTest, TasksThatANamesakeHasLeftAreWorkedOn) {
  redis();
  handler_broker();
  Command& living = bridge("--consumer a --claim-after 1");
  add("tasks", "first");
  ASSERT_TRUE(has_results(1)) << living.err();
  living.signal(SIGSTOP);
  std::this_thread::sleep_for(700ms);  // until it does not wait in the server any more
  add("tasks", "second");
  ASSERT_EQ(ask({"XREADGROUP", "GROUP", "ipcq", "a", "COUNT", "1", "STREAMS", "tasks", ">"}).view().size(), 1U);
  living.signal(SIGCONT);
  EXPECT_TRUE(has_results(2)) << living.err();
  EXPECT_EQ(pending(), 0);
}

TEST_F(RedisDeathsTest, ABridgeOfAFixedNameThatDiesOfATaskBuriesIt) {
  redis();
  server_broker();
  std::atomic<int> calls{0};
  const Servers silent = serve([&, kept = Kept()](ipcq::Request& request) {
    kept->push_back(std::move(request));
    ++calls;
  });
  add("tasks", "poison");
  ask({"RPUSH", "jobs", "poison"});
  for (const std::string source : {"--stream tasks", "--list jobs"}) {
    calls = 0;
    const std::string usual = "exec ipcq-redis --redis " + url() + " --queue work --consumer a --attempts 2 " + source;
    for (int i = 1; i <= 2; ++i) {
      Command& killed = start(usual);
      ASSERT_TRUE(eventually([&] { return calls == i; })) << killed.err();
      killed.signal(SIGKILL);
      killed.exit_code();
    }
    Command& last = start(usual + " --until-empty");
    EXPECT_EQ(last.exit_code(), 0) << last.err();
    EXPECT_EQ(calls, 2);
  }
  EXPECT_EQ(number({"XLEN", "tasks:dead"}), 1);
  EXPECT_EQ(number({"XLEN", "jobs:dead"}), 1);
}

TEST_F(RedisDeathsTest, UntilEmptyWaitsForTheTasksOfTheDead) {
  redis();
  server_broker();
  std::atomic<bool> answers{false};
  std::atomic<int> calls{0};
  const Servers servers = serve([&, kept = Kept()](ipcq::Request& request) {
    ++calls;
    answers ? static_cast<void>(request.reply("done")) : kept->push_back(std::move(request));
  });
  for (const std::string source : {"--stream tasks", "--list jobs"}) {
    calls = 0;
    answers = false;
    source == "--stream tasks" ? add("tasks", "x") : text({"RPUSH", "jobs", "x"});
    const std::string usual = "exec ipcq-redis --redis " + url() + " --queue work --claim-after 2 " + source;
    Command& killed = start(usual);
    ASSERT_TRUE(eventually([&] { return calls == 1; })) << killed.err();
    killed.signal(SIGKILL);
    killed.exit_code();
    answers = true;
    Command& heir = start(usual + " --until-empty --json");
    EXPECT_EQ(heir.exit_code(), 0) << heir.err();
    EXPECT_THAT(heir.out(), HasSubstr("\"done\":1"));
  }
}

TEST_F(RedisDeathsTest, ABrokerThatDiesWhileNothingRunsIsNoticed) {
  redis();
  Command& first = handler_broker();
  Command& running = bridge();
  first.signal(SIGKILL);
  ASSERT_TRUE(eventually([&] { return running.err().find("the broker has died") != std::string::npos; }, 5s));
  handler_broker();
  const auto ids = add_many(3);
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

TEST_F(RedisDeathsTest, ABrokerThatDiesIsAttachedAgainAndItsTasksAreNotAttempts) {
  redis();
  Command& first = server_broker();
  std::atomic<int> calls{0};
  const auto ids = add_many(20);
  Command* running = nullptr;
  {
    const Servers silent = serve([&, kept = Kept()](ipcq::Request& request) {
      ++calls;
      kept->push_back(std::move(request));
    });
    running = &bridge("--attempts 1 --json");
    ASSERT_TRUE(eventually([&] { return calls > 0; }));
    first.signal(SIGKILL);
    EXPECT_EQ(first.exit_code(), 128 + SIGKILL);
    ASSERT_TRUE(eventually([&] { return running->err().find("the broker has died") != std::string::npos; }))
        << running->err();
  }
  server_broker();
  const Servers servers = serve([](ipcq::Request& request) { static_cast<void>(request.reply("done")); });
  ASSERT_TRUE(has_results(20)) << running->err();
  expect_results(ids);
  EXPECT_EQ(number({"EXISTS", "tasks:dead"}), 0);
}

}  // namespace
}  // namespace ipcq_test
