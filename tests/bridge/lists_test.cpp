// Tasks of lists and sorted sets.
#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>

#include "bridge/redis_test.hpp"

namespace ipcq_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAreArray;

class RedisListsTest : public RedisTest {
 protected:
  Command& worker(const std::string& source, const std::string& more = "") {
    Command& started = start("exec ipcq-redis --redis " + url() + " --queue work " + source + " --results list:out " +
                             (more.find("--poll") == std::string::npos ? "--poll 0.05 " : "") + more);
    EXPECT_TRUE(eventually([&] { return is_working(started) || started.ended(); })) << started.err();
    return started;
  }
  std::vector<std::string> out() { return texts({"LRANGE", "out", "0", "-1"}); }
  bool has_out(long count) {
    return eventually([&] { return number({"LLEN", "out"}) >= count; });
  }
  std::vector<std::string> taken() {
    std::vector<std::string> keys = texts({"KEYS", "*:taken:*"});
    return keys;
  }
  static std::string text_of(const ipcq::Request& request) {
    return {reinterpret_cast<const char*>(request.bytes().data()), request.bytes().size()};
  }
};

TEST_F(RedisListsTest, EachTaskOfAListHasOneResult) {
  redis();
  handler_broker();
  std::vector<std::string> expected;
  for (int i = 0; i < 500; ++i) {
    ask({"RPUSH", "tasks", "task " + std::to_string(i)});
    expected.push_back("TASK " + std::to_string(i));
  }
  Command& done = worker("--list tasks", "--until-empty --json");
  EXPECT_EQ(done.exit_code(), 0) << done.err();
  EXPECT_THAT(out(), UnorderedElementsAreArray(expected));
  EXPECT_THAT(taken(), IsEmpty());
  EXPECT_THAT(done.out(), HasSubstr("\"done\":500"));
}

TEST_F(RedisListsTest, TasksThatComeOneAtATimeAreDoneAtOnce) {
  redis();
  handler_broker();
  worker("--list tasks");
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(50ms);
    ask({"RPUSH", "tasks", "x"});  // equal ones
    EXPECT_TRUE(has_out(i + 1));
  }
  ask({"RPUSH", "tasks", ""});
  EXPECT_TRUE(has_out(6));
  EXPECT_TRUE(eventually([&] { return taken().empty(); }));
}

TEST_F(RedisListsTest, TheEndThatTasksAreTakenFromCanBeChosen) {
  redis();
  broker("--queue work=4KiB,slots=4,calls=1");
  std::vector<std::string> order;
  const Servers one = serve([&](ipcq::Request& request) {
    order.push_back(text_of(request));
    static_cast<void>(request.reply("done"));
  });
  ask({"RPUSH", "tasks", "1", "2", "3", "4"});
  EXPECT_EQ(worker("--list tasks,from=right", "--until-empty").exit_code(), 0);
  EXPECT_THAT(order, ElementsAre("4", "3", "2", "1"));
  order.clear();
  ask({"RPUSH", "tasks", "1", "2", "3", "4"});
  EXPECT_EQ(worker("--list tasks", "--until-empty").exit_code(), 0);
  EXPECT_THAT(order, ElementsAre("1", "2", "3", "4"));
}

TEST_F(RedisListsTest, ASortedSetIsAQueueByPriority) {
  redis();
  broker("--queue work=4KiB,slots=4,calls=1");
  std::vector<std::string> order;
  const Servers one = serve([&](ipcq::Request& request) {
    order.push_back(text_of(request));
    static_cast<void>(request.reply("done"));
  });
  ask({"ZADD", "tasks", "3", "c", "1", "a", "2", "b"});
  EXPECT_EQ(worker("--sorted-set tasks", "--until-empty").exit_code(), 0);
  EXPECT_THAT(order, ElementsAre("a", "b", "c"));
  EXPECT_THAT(taken(), IsEmpty());
}

TEST_F(RedisListsTest, ASortedSetMaySayWhenATaskIsDue) {
  redis();
  handler_broker();
  using std::chrono::system_clock;
  const auto now =
      std::chrono::duration_cast<std::chrono::milliseconds>(system_clock::now().time_since_epoch()).count();
  ask({"ZADD", "tasks", std::to_string(now + 600), "later", std::to_string(now - 1), "now",
       std::to_string(now + 600'000), "never"});
  worker("--sorted-set tasks,take=due");
  ASSERT_TRUE(has_out(1));
  EXPECT_THAT(out(), ElementsAre("NOW"));
  ASSERT_TRUE(has_out(2));
  EXPECT_GE(std::chrono::duration_cast<std::chrono::milliseconds>(system_clock::now().time_since_epoch()).count(),
            now + 600);
  EXPECT_THAT(out(), ElementsAre("NOW", "LATER"));
  EXPECT_EQ(number({"ZCARD", "tasks"}), 1);
}

TEST_F(RedisListsTest, AMessageWakesWhoLooksSeldom) {
  redis();
  handler_broker();
  worker("--sorted-set tasks", "--poll 15");
  std::this_thread::sleep_for(100ms);
  ask({"ZADD", "tasks", "1", "told"});
  ask({"PUBLISH", "tasks:wake", ""});
  ASSERT_TRUE(eventually([&] { return number({"LLEN", "out"}) == 1; }, 5s));
  ask({"CONFIG", "SET", "notify-keyspace-events", "Kz"});  // the server tells by itself
  ask({"ZADD", "tasks", "1", "seen"});
  ASSERT_TRUE(eventually([&] { return number({"LLEN", "out"}) == 2; }, 5s));
}

TEST_F(RedisListsTest, AFailureIsTriedAgainAndThenGoesToTheDeadLetters) {
  for (const std::string kind : {"list", "sorted-set"}) {
    Command& server = redis();
    Command& serving = server_broker();
    std::map<std::string, int> attempts;
    {
      const Servers servers = serve([&](ipcq::Request& request) {
        const int attempt = ++attempts[text_of(request)];
        const bool good = text_of(request) == "good" && attempt == 3;
        static_cast<void>(good ? request.reply("done") : request.fail(4, "broken"));
      });
      if (kind == "list") {
        ask({"RPUSH", "tasks", "good", "bad"});
      } else {
        ask({"ZADD", "tasks", "7", "good", "8", "bad"});
      }
      Command& done = worker("--" + kind + " tasks", "--until-empty --attempts 3 --backoff 0.02");
      EXPECT_EQ(done.exit_code(), 0) << done.err();
    }
    EXPECT_EQ(attempts["good"], 3);
    EXPECT_EQ(attempts["bad"], 3);
    EXPECT_THAT(out(), ElementsAre("done"));
    const auto dead = entries("tasks:dead");
    ASSERT_EQ(dead.size(), 1U);
    EXPECT_EQ(dead[0].fields.at("payload"), "bad");
    EXPECT_EQ(dead[0].fields.at("ipcq-attempt"), "3");
    EXPECT_EQ(number({"EXISTS", "tasks:attempts", "tasks:delayed"}), 0);
    server.signal(SIGKILL);
    server.exit_code();
    serving.signal(SIGTERM);
    serving.exit_code();
  }
}

TEST_F(RedisListsTest, WhatAKilledBridgeHadTakenIsPutBackInItsOrder) {
  redis();
  broker("--queue work=4KiB,slots=16,calls=8");
  std::atomic<bool> answers{false};
  std::vector<std::string> order;
  const Servers servers = serve([&, kept = Kept()](ipcq::Request& request) {
    if (answers) {
      order.push_back(text_of(request));
      static_cast<void>(request.reply(request.bytes()));
    } else {
      kept->push_back(std::move(request));
    }
  });
  for (int i = 0; i < 12; ++i) ask({"RPUSH", "tasks", std::to_string(i)});
  Command& killed = worker("--list tasks", "--claim-after 0.4");
  ASSERT_TRUE(eventually([&] { return number({"LLEN", "tasks"}) == 4; }));
  killed.signal(SIGKILL);
  killed.exit_code();
  answers = true;
  Command& heir = worker("--list tasks", "--claim-after 0.4 --in-flight 1");
  ASSERT_TRUE(has_out(12)) << heir.err();
  EXPECT_EQ(out().size(), 12U);
  EXPECT_TRUE(eventually([&] { return taken().empty(); }));
  // The heir may have begun with the rest; what was put back came in its order.
  std::vector<std::string> first;
  for (const auto& each : order) {
    if (std::stoi(each) < 8) first.push_back(each);
  }
  EXPECT_THAT(first, ElementsAre("0", "1", "2", "3", "4", "5", "6", "7"));
}

TEST_F(RedisListsTest, ABridgeThatWasStoppedWritesNoSecondResult) {
  for (const std::string kind : {"list", "sorted-set"}) {
    Command& server = redis();
    Command& serving = server_broker();
    std::atomic<int> calls{0};
    {
      const Servers slow = serve([&](ipcq::Request& request) {
        if (++calls == 1) std::this_thread::sleep_for(500ms);
        static_cast<void>(request.reply("done"));
      });
      kind == "list" ? ask({"RPUSH", "tasks", "x"}) : ask({"ZADD", "tasks", "1", "x"});
      Command& stopped = worker("--" + kind + " tasks", "--claim-after 0.3 --json");
      ASSERT_TRUE(eventually([&] { return calls == 1; }));
      stopped.signal(SIGSTOP);
      Command& other = worker("--" + kind + " tasks", "--claim-after 0.3");
      ASSERT_TRUE(has_out(1));
      stopped.signal(SIGCONT);
      std::this_thread::sleep_for(200ms);
      stopped.signal(SIGTERM);
      EXPECT_EQ(stopped.exit_code(), 0) << stopped.err();
      EXPECT_THAT(stopped.out(), HasSubstr("\"done\":0"));
      other.signal(SIGTERM);
      EXPECT_EQ(other.exit_code(), 0);
    }
    EXPECT_EQ(out().size(), 1U);
    EXPECT_THAT(taken(), IsEmpty());
    server.signal(SIGKILL);
    server.exit_code();
    serving.signal(SIGTERM);
    serving.exit_code();
  }
}

TEST_F(RedisListsTest, ATaskThatItsBridgesDieOfGoesToTheDeadLetters) {
  redis();
  server_broker();
  std::atomic<std::size_t> calls{0};
  const Servers silent = serve([&, kept = Kept()](ipcq::Request& request) {
    kept->push_back(std::move(request));
    ++calls;
  });
  ask({"RPUSH", "tasks", "poison"});
  for (std::size_t i = 0; i < 2; ++i) {
    Command& killed = worker("--list tasks", "--claim-after 0.2 --attempts 2");
    ASSERT_TRUE(eventually([&] { return calls == i + 1; })) << killed.err();
    killed.signal(SIGKILL);
    killed.exit_code();
  }
  Command& heir = worker("--list tasks", "--claim-after 0.2 --attempts 2");
  ASSERT_TRUE(eventually([&] { return number({"XLEN", "tasks:dead"}) == 1; })) << heir.err();
  EXPECT_THAT(entries("tasks:dead")[0].fields.at("ipcq-reason"), HasSubstr("taken 2 times"));
}

TEST_F(RedisListsTest, AServerThatDiesAndComesBackCostsNoTask) {
  static constexpr const char* kDurable = "--save '' --appendonly yes --appendfsync always";
  Command* server = &redis(kDurable);
  handler_broker();
  Command& running = worker("--list tasks", "--claim-after 60");
  std::vector<std::string> expected;
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 200; ++i) {
      expected.push_back("T" + std::to_string(round) + "." + std::to_string(i));
      ask({"RPUSH", "tasks", "t" + expected.back().substr(1)});
    }
    server->signal(SIGKILL);
    EXPECT_EQ(server->exit_code(), 128 + SIGKILL);
    server = &redis(kDurable);
  }
  ASSERT_TRUE(has_out(600)) << running.err();
  EXPECT_THAT(out(), UnorderedElementsAreArray(expected));
  EXPECT_TRUE(eventually([&] { return taken().empty(); }));
}

TEST_F(RedisListsTest, WhatContradictsAListIsRefused) {
  redis();
  handler_broker();
  ask({"SET", "text", "x"});
  Command& type = worker("--list text");
  EXPECT_EQ(type.exit_code(), 2);
  EXPECT_THAT(type.err(), HasSubstr("--list text: the key holds a string"));
  const std::string usual = "exec ipcq-redis --redis " + url() + " --queue work ";
  EXPECT_THAT(run(usual + "--list a --stream b").err(), HasSubstr("a bridge has sources of one kind"));
  EXPECT_THAT(run(usual + "--list a --results key:x").err(), HasSubstr("have not"));
  EXPECT_THAT(run(usual + "--list a,from=middle").err(), HasSubstr("neither left nor right"));
  EXPECT_THAT(run(usual + "--sorted-set a,take=most").err(), HasSubstr("neither least nor due"));
}

}  // namespace
}  // namespace ipcq_test
