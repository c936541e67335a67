// Deaths of bridges, hosts and brokers.
#include <signal.h>

#include <atomic>
#include <thread>

#include "bridge/deaths_fixture.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;

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

TEST_F(RedisDeathsTest, ABrokerThatDiesWhileABridgeWaitsForItsQueueIsWaitedFor) {
  redis();
  Command& first = broker("--queue other=4KiB,slots=8");
  Command& running = start("exec ipcq-redis --redis " + url() + " --queue work --stream tasks --wait-for 20");
  ASSERT_TRUE(eventually([&] { return running.err().find("for queue 'work'") != std::string::npos; })) << running.err();
  first.signal(SIGKILL);
  first.exit_code();
  std::this_thread::sleep_for(300ms);
  handler_broker();
  add("tasks", "x");
  EXPECT_TRUE(has_results(1)) << running.err();
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

// Whoever restarts a broker to give its messages more room loses no task that waits for it.
TEST_F(RedisDeathsTest, APayloadInAKeyIsForTheQueueThatComesNext) {
  redis();
  Command& first = broker("--queue work=1KiB,slots=8,calls=8,handler=upper,backend=host");
  Command& running = bridge();
  ASSERT_TRUE(eventually([&] { return is_working(running); })) << running.err();
  ask({"SET", "blob", std::string(2000, 'x')});
  first.signal(SIGKILL);
  EXPECT_EQ(first.exit_code(), 128 + SIGKILL);
  ASSERT_TRUE(eventually([&] { return running.err().find("the broker has died") != std::string::npos; }));
  ask({"XADD", "tasks", "*", "payload-key", "blob"});
  // The command that waits in the server still gets it, and it comes back; or it was just over, and nothing is read.
  static_cast<void>(eventually([&] { return number({"ZCARD", "tasks:delayed"}) == 1; }, 1s));
  handler_broker();
  ASSERT_TRUE(has_results(1)) << running.err();
  EXPECT_EQ(number({"EXISTS", "tasks:dead"}), 0);
}

}  // namespace
}  // namespace ipcq_test
