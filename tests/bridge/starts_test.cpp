// How a bridge begins, and what it says where it cannot; and how it ends.
#include <signal.h>

#include <thread>

#include "bridge/redis_test.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;

using RedisStartsTest = RedisTest;

TEST_F(RedisStartsTest, WithoutAServerItSaysSo) {
  handler_broker();
  Command& ended = start("exec ipcq-redis --redis unix://$PWD/none.sock --queue work --wait-for 0.2");
  EXPECT_EQ(ended.exit_code(), 3);
  EXPECT_THAT(ended.err(), HasSubstr("no Redis or Valkey server to work with: unix:///"));
  EXPECT_THAT(ended.err(), HasSubstr("--redis"));
}

TEST_F(RedisStartsTest, WithoutABrokerItSaysSo) {
  redis();
  Command& ended = bridge("--wait-for 0.2");
  EXPECT_EQ(ended.exit_code(), 3) << ended.err();
}

TEST_F(RedisStartsTest, AQueueOfMessagesIsRefused) {
  redis();
  broker("--queue work=4KiB");
  Command& ended = bridge();
  EXPECT_EQ(ended.exit_code(), 2);
  EXPECT_THAT(ended.err(), HasSubstr("takes messages and no calls"));
}

TEST_F(RedisStartsTest, ItWaitsForServerAndBrokerInAnyOrder) {
  Command& early =
      start("exec ipcq-redis --redis " + url() + " --queue work --stream tasks --until-empty --wait-for 20");
  std::this_thread::sleep_for(200ms);
  handler_broker();
  std::this_thread::sleep_for(200ms);
  redis();
  add("tasks", "x");
  EXPECT_EQ(early.exit_code(), 0) << early.err();
}

TEST_F(RedisStartsTest, AKeyOfAnotherTypeIsRefused) {
  redis();
  handler_broker();
  ask({"SET", "tasks", "text"});
  Command& stream = bridge();
  EXPECT_EQ(stream.exit_code(), 2);
  EXPECT_THAT(stream.err(), HasSubstr("--stream tasks: the key holds a string; choose another one"));
  ask({"DEL", "tasks"});
  ask({"RPUSH", "tasks", "x"});
  EXPECT_THAT(bridge().err(), HasSubstr("the key holds a list; choose another one, or take tasks from it by --list"));
  ask({"DEL", "tasks"});
  ask({"RPUSH", "results", "x"});
  Command& results = bridge("--results stream:results");
  EXPECT_EQ(results.exit_code(), 2);
  EXPECT_THAT(results.err(), HasSubstr("--results stream:results: the key holds a list"));
}

TEST_F(RedisStartsTest, APasswordIsGivenByEnvironmentOrFile) {
  redis("--save '' --requirepass secret");
  handler_broker();
  Command& without = bridge();
  EXPECT_EQ(without.exit_code(), 5);
  EXPECT_THAT(without.err(), HasSubstr("IPCQ_REDIS_PASSWORD"));
  Command& wrong = start("IPCQ_REDIS_PASSWORD=guess exec ipcq-redis --redis " + url() + " --queue work");
  EXPECT_EQ(wrong.exit_code(), 5) << wrong.err();
  const std::string usual = "exec ipcq-redis --redis " + url() + " --queue work --until-empty ";
  EXPECT_EQ(start("IPCQ_REDIS_PASSWORD=secret " + usual).exit_code(), 0);
  write("password", "secret\n");
  Command& file = start(usual + "--password-file password");
  EXPECT_EQ(file.exit_code(), 0) << file.err();
  EXPECT_EQ(file.err().find("secret"), std::string::npos);
}

TEST_F(RedisStartsTest, AUserHasWhatTheAccessListAllows) {
  redis(
      "--save '' --user worker on '>secret' '~tasks*' +@stream +@list +@sortedset +@scripting +@connection +@keyspace "
      "+@hash +@pubsub '&*' +time --user nobody on '>secret' '~other*' +@all --user default on nopass '~*' +@all");
  handler_broker();
  const std::string usual = " exec ipcq-redis --redis " + url() + " --queue work --stream tasks --until-empty ";
  add("tasks", "x");
  Command& worker = start("IPCQ_REDIS_PASSWORD=secret" + usual + "--user worker");
  EXPECT_EQ(worker.exit_code(), 0) << worker.err();
  EXPECT_EQ(results().size(), 1U);
  Command& nobody = start("IPCQ_REDIS_PASSWORD=secret" + usual + "--user nobody");
  EXPECT_EQ(nobody.exit_code(), 5) << nobody.err();
  EXPECT_THAT(nobody.err(), HasSubstr("stream 'tasks': NOPERM"));
}

// Each of them names what is missing, before a task is taken.
TEST_F(RedisStartsTest, CommandsThatAUserMayNotRunAreNamed) {
  redis(
      "--save '' --user worker on '>secret' '~tasks*' +@stream +@sortedset +@scripting +@connection +type +time "
      "--user default on nopass '~*' '&*' +@all");
  handler_broker();
  add("tasks", "x");
  const auto with = [&](const std::string& options) -> Command& {
    return start("IPCQ_REDIS_PASSWORD=secret exec ipcq-redis --redis " + url() +
                 " --user worker --queue work --until-empty " + options);
  };
  Command& rate = with("--stream tasks --rate 10");
  EXPECT_EQ(rate.exit_code(), 5);
  EXPECT_THAT(
      rate.err(),
      HasSubstr("may not run hmget, pexpire, which this bridge needs; let it: ACL SETUSER worker +hmget +pexpire"));
  Command& keys = with("--stream tasks --results key:tasks:of:");
  EXPECT_EQ(keys.exit_code(), 5);
  EXPECT_THAT(keys.err(), HasSubstr("may not run set"));
  Command& list = with("--list tasks:list");
  EXPECT_EQ(list.exit_code(), 5);
  EXPECT_THAT(list.err(), HasSubstr("lrem"));
  Command& doctor =
      start("IPCQ_REDIS_PASSWORD=secret exec ipcq-redis doctor --redis " + url() + " --user worker --key tasks");
  EXPECT_EQ(doctor.exit_code(), 0) << doctor.out();
  EXPECT_THAT(doctor.out(), HasSubstr("for streams: all;"));
  EXPECT_THAT(doctor.out(), HasSubstr("for --rate: not hmget, pexpire"));
  EXPECT_EQ(with("--stream tasks").exit_code(), 0);
  EXPECT_EQ(results().size(), 1U);
  EXPECT_EQ(number({"EXISTS", "tasks:ipcq-probe", "tasks:results:ipcq-probe"}), 0);
}

// What is not needed may be missing; a command that waits, which a script cannot try, is named, too.
TEST_F(RedisStartsTest, AUserMayLackWhatIsNotNeeded) {
  redis(
      "--save '' --user worker on '>secret' '~*' '&*' +@all -lpush -rpop -xgroup -xinfo '+xinfo|groups' -hmget -llen "
      "--user "
      "waits on '>secret' '~*' '&*' +@all -blmove --user default on nopass '~*' '&*' +@all");
  handler_broker();
  add("tasks", "x");
  const auto with = [&](const std::string& options) -> Command& {
    return start("IPCQ_REDIS_PASSWORD=secret exec ipcq-redis --redis " + url() + " --queue work " + options);
  };
  ask({"XGROUP", "CREATE", "tasks", "ipcq", "0"});
  Command& stream = with("--user worker --until-empty --stream tasks --results list:out --metrics 127.0.0.1:0");
  EXPECT_EQ(stream.exit_code(), 0) << stream.err();
  EXPECT_EQ(text({"LPOP", "out"}), "X");
  ask({"ACL", "SETUSER", "worker", "+rpop"});
  ask({"RPUSH", "jobs", "y"});
  Command& list = with("--user worker --list jobs,from=right --results list:out");
  EXPECT_TRUE(eventually([&] { return number({"LLEN", "out"}) == 1; })) << list.err();
  Command& waits = with("--user waits --list jobs");
  EXPECT_EQ(waits.exit_code(), 5);
  EXPECT_THAT(waits.err(), HasSubstr("may not run blmove"));
  Command& looks = with("--user waits --until-empty --list jobs --list more");  // several are looked at in turn
  EXPECT_EQ(looks.exit_code(), 0) << looks.err();
}

TEST_F(RedisStartsTest, TwoBridgesOfOneNameAreRefusedWhileTheFirstOneLives) {
  redis();
  server_broker();
  const Servers never = serve([&, kept = Kept()](ipcq::Request& request) { kept->push_back(std::move(request)); });
  for (const std::string source : {"--stream tasks", "--list jobs", "--sorted-set jobs2"}) {
    const std::string usual =
        "exec ipcq-redis --redis " + url() + " --queue work --in-flight 1 --consumer c1 " + source;
    add("tasks", "x");
    ask({"RPUSH", "jobs", "x"});
    ask({"ZADD", "jobs2", "1", "x"});
    Command& first = start(usual);
    ASSERT_TRUE(eventually([&] { return first.err().find("working on") != std::string::npos; }));
    std::this_thread::sleep_for(300ms);  // it is full, and reads nothing more
    Command& second = start(usual);
    EXPECT_EQ(second.exit_code(), 2) << source << second.err();
    EXPECT_THAT(second.err(), HasSubstr("--consumer c1: a bridge of this name works now on"));
    first.signal(SIGKILL);
    first.exit_code();
    Command& third = start(usual);
    EXPECT_TRUE(eventually([&] { return third.err().find("working on") != std::string::npos; })) << third.err();
    third.signal(SIGKILL);
    third.exit_code();
  }
}

TEST_F(RedisStartsTest, WhatIsMisspeltIsNamed) {
  Command& command = start("exec ipcq-redis ad tasks x");
  EXPECT_EQ(command.exit_code(), 2);
  EXPECT_THAT(command.err(), HasSubstr("no command 'ad'; there are add, requeue and doctor"));
  Command& option = start("exec ipcq-redis --queue q --strem s1");
  EXPECT_EQ(option.exit_code(), 2);
  EXPECT_THAT(option.err(), HasSubstr("no option --strem; did you mean --stream?"));
  Command& early = start("exec ipcq-redis --strem=s1");
  EXPECT_EQ(early.exit_code(), 2);
  EXPECT_THAT(early.err(), HasSubstr("did you mean --stream?"));
}

TEST_F(RedisStartsTest, TlsIsRefusedAndSoIsAPasswordOnTheCommandLine) {
  handler_broker();
  Command& tls = start("exec ipcq-redis --redis rediss://127.0.0.1 --queue work");
  EXPECT_EQ(tls.exit_code(), 2);
  EXPECT_THAT(tls.err(), HasSubstr("TLS"));
  Command& password = start("exec ipcq-redis --redis redis://:secret@127.0.0.1 --queue work");
  EXPECT_EQ(password.exit_code(), 2);
  EXPECT_THAT(password.err(), HasSubstr("IPCQ_REDIS_PASSWORD"));
}

TEST_F(RedisStartsTest, AConfigurationFileSaysWhatTheCommandLineDoesNot) {
  redis();
  handler_broker();
  add("from-file", "x");
  write("bridge.toml",
        "redis = \"" + url() +
            "\"\nqueue = \"work\"\nstream = \"from-file\"\nresults = \"list:out\"\nuntil_empty = true\n");
  Command& done = start("exec ipcq-redis --config bridge.toml --results list:mine");
  EXPECT_EQ(done.exit_code(), 0) << done.err();
  EXPECT_EQ(text({"LPOP", "mine"}), "X");
  write("bad.toml", "queue = \"work\"\nspeed = 3\n");
  Command& bad = start("exec ipcq-redis --config bad.toml");
  EXPECT_EQ(bad.exit_code(), 2);
  EXPECT_THAT(bad.err(), HasSubstr("speed"));
}

TEST_F(RedisStartsTest, AStopFinishesWhatRunsAndReadsNothingMore) {
  redis();
  broker("--queue work=4KiB,slots=8,calls=2");
  Gate gate;
  const Servers slow = serve_behind(gate);
  for (int i = 0; i < 10; ++i) add("tasks", "x");
  Command& stopped = bridge();
  ASSERT_TRUE(eventually([&] { return pending() == 2 && gate.calls == 1; }));
  stopped.signal(SIGTERM);
  ASSERT_TRUE(eventually([&] { return stopped.err().find("2 tasks are finished first") != std::string::npos; }));
  gate.is_open = true;
  EXPECT_EQ(stopped.exit_code(), 0) << stopped.err();
  EXPECT_EQ(results().size(), 2U);
  EXPECT_EQ(pending(), 0);
}

TEST_F(RedisStartsTest, ABridgeThatEndsIsForgotten) {
  redis();
  handler_broker();
  add("tasks", "x");
  ask({"RPUSH", "jobs", "x"});
  EXPECT_EQ(bridge("--until-empty").exit_code(), 0);
  EXPECT_EQ(ask({"XINFO", "CONSUMERS", "tasks", "ipcq"}).view().size(), 0U);
  EXPECT_EQ(run("exec ipcq-redis --redis " + url() + " --queue work --list jobs --until-empty").exit_code(), 0);
  EXPECT_EQ(number({"EXISTS", "jobs:consumers"}), 0);
}

// Also where it is an outcome that cannot be written.
TEST_F(RedisStartsTest, AStopWaitsNoLongerThanItMay) {
  redis();
  handler_broker();
  Command& stopped = bridge("--drain-for 0.5");
  ASSERT_TRUE(eventually([&] { return stopped.err().find("working on") != std::string::npos; }));
  ask({"SET", "tasks:results", "in the way"});
  add("tasks", "x");
  ASSERT_TRUE(eventually([&] {
    return stopped.err().find("results go to stream:tasks:results: WRONGTYPE") != std::string::npos;
  })) << stopped.err();
  const auto begin = std::chrono::steady_clock::now();
  stopped.signal(SIGTERM);
  EXPECT_EQ(stopped.exit_code(), 1);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 3s);
  EXPECT_THAT(stopped.err(), HasSubstr("for at most 0.5 s (a second signal stops at once)"));
  EXPECT_EQ(pending(), 1);
}

// A server that is stopped answers nothing, and closes nothing.
TEST_F(RedisStartsTest, AStopIsNotHeldUpByASilentServer) {
  Command& server = redis();
  handler_broker();
  for (const std::string more : {"--drain-for 0.2", ""}) {
    Command& stopped = bridge(more);
    server.signal(SIGSTOP);
    std::this_thread::sleep_for(700ms);
    const auto begin = std::chrono::steady_clock::now();
    stopped.signal(SIGTERM);
    if (more.empty()) {
      std::this_thread::sleep_for(300ms);
      stopped.signal(SIGTERM);
    }
    stopped.exit_code();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, 2500ms) << more;
    server.signal(SIGCONT);
  }
}

TEST_F(RedisStartsTest, ASecondStopDoesNotWait) {
  redis();
  server_broker();
  const Servers never = serve([&, kept = Kept()](ipcq::Request& request) { kept->push_back(std::move(request)); });
  add("tasks", "x");
  Command& stopped = bridge();
  ASSERT_TRUE(eventually([&] { return pending() == 1; }));
  stopped.signal(SIGTERM);
  std::this_thread::sleep_for(300ms);
  EXPECT_FALSE(stopped.ended());
  stopped.signal(SIGTERM);
  EXPECT_EQ(stopped.exit_code(), 1) << stopped.err();
  EXPECT_THAT(stopped.err(), HasSubstr("1 tasks were not finished"));
}

}  // namespace
}  // namespace ipcq_test
