// What a bridge does with tasks of streams, while everybody lives.
#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "bridge/redis_test.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;

using RedisStreamsTest = RedisTest;

std::string text_of(const ipcq::Request& request) {
  return {reinterpret_cast<const char*>(request.bytes().data()), request.bytes().size()};
}

TEST_F(RedisStreamsTest, EachTaskHasOneResultByItsId) {
  redis();
  handler_broker();
  std::map<std::string, std::string> expected;
  for (int i = 0; i < 1000; ++i) expected[add("tasks", "task " + std::to_string(i))] = "TASK " + std::to_string(i);
  Command& done = bridge("--until-empty --json");
  EXPECT_EQ(done.exit_code(), 0) << done.err();
  EXPECT_EQ(results(), expected);
  EXPECT_EQ(pending(), 0);
  EXPECT_THAT(done.out(), HasSubstr("\"done\":1000"));
  EXPECT_THAT(done.out(), HasSubstr("\"read\":1000"));
}

TEST_F(RedisStreamsTest, TasksThatComeWhileItWaitsAreDoneAtOnce) {
  redis();
  handler_broker();
  bridge();
  for (int i = 0; i < 5; ++i) {
    std::this_thread::sleep_for(50ms);
    add("tasks", "x");
    EXPECT_TRUE(has_results(static_cast<std::size_t>(i) + 1));
  }
}

TEST_F(RedisStreamsTest, PayloadsOfAnyBytesAndSizesPass) {
  redis();
  server_broker();
  const Servers echo =
      serve([](ipcq::Request& request) { EXPECT_EQ(request.reply(request.bytes()), ipcq::Status::ok); });
  std::map<std::string, std::string> expected;
  for (const std::size_t size : {0, 1, 95, 96, 97, 1000, 4096}) {
    std::string payload(size, '\0');
    for (std::size_t i = 0; i < size; ++i) payload[i] = static_cast<char>(i * 7);
    expected[add("tasks", payload)] = payload;
  }
  EXPECT_EQ(bridge("--until-empty").exit_code(), 0);
  EXPECT_EQ(results(), expected);
}

TEST_F(RedisStreamsTest, APayloadMayBeMadeOfSeveralFields) {
  redis();
  handler_broker();
  const std::string id = text({"XADD", "tasks", "*", "symbol", "abc", "count", "65"});
  ask({"XADD", "tasks", "*", "symbol", "abc"});
  EXPECT_EQ(bridge("--until-empty --template '{symbol}={count:u8}'").exit_code(), 0);
  EXPECT_EQ(results(), (std::map<std::string, std::string>{{id, "ABC=A"}}));
  ASSERT_EQ(number({"XLEN", "tasks:dead"}), 1);
  EXPECT_THAT(entries("tasks:dead")[0].fields.at("ipcq-reason"), HasSubstr("it has no field 'count'"));
}

TEST_F(RedisStreamsTest, LargePayloadsAndResultsPassByKeys) {
  redis();
  broker("--queue work=1MiB,slots=8,calls=8,handler=upper,backend=host");
  const std::string large(300'000, 'x');
  ask({"SET", "blob", large});
  ask({"RPUSH", "no-text", "x"});
  std::vector<std::string> ids;
  for (const char* key : {"blob", "none", "no-text"}) ids.push_back(text({"XADD", "tasks", "*", "payload-key", key}));
  const std::string plain = add("tasks", "plain");
  EXPECT_EQ(bridge("--until-empty").exit_code(), 0);
  std::map<std::string, std::string> found;
  for (auto& entry : entries("tasks:results")) {
    found[entry.fields["id"]] =
        entry.fields.contains("result") ? entry.fields["result"] : text({"GET", entry.fields["result-key"]});
  }
  EXPECT_EQ(found, (std::map<std::string, std::string>{{ids[0], std::string(300'000, 'X')}, {plain, "PLAIN"}}));
  const auto dead = entries("tasks:dead");
  ASSERT_EQ(dead.size(), 2U);
  std::map<std::string, std::string> reasons;
  for (const auto& each : dead) reasons[each.fields.at("payload-key")] = each.fields.at("ipcq-reason");
  EXPECT_THAT(reasons["none"], HasSubstr("the key 'none', which its field 'payload-key' names, is not there"));
  EXPECT_THAT(reasons["no-text"], HasSubstr("cannot be read: WRONGTYPE"));
}

// Many tasks may name one key that is larger than the memory of the bridge.
TEST_F(RedisStreamsTest, OfAPayloadThatNoMessageHasRoomForLittleIsRead) {
  redis();
  broker("--queue work=4KiB,slots=8,calls=8,handler=upper,backend=host");
  ask({"SETRANGE", "huge", std::to_string((64 << 20) - 1), "x"});
  ask({"SETRANGE", "fits", "4095", "x"});
  ask({"SETRANGE", "too-long", "4096", "x"});
  ask({"SET", "empty", ""});
  for (int i = 0; i < 20; ++i) ask({"XADD", "tasks", "*", "payload-key", "huge"});
  for (const std::string key : {"fits", "too-long"}) ask({"XADD", "tasks", "*", "payload-key", key});
  const auto empty = text({"XADD", "tasks", "*", "payload", "not this", "payload-key", "empty"});
  EXPECT_EQ(bridge("--until-empty").exit_code(), 0);
  EXPECT_EQ(results().size(), 2U);
  EXPECT_EQ(results().at(empty), "");
  const auto dead = entries("tasks:dead");
  ASSERT_EQ(dead.size(), 21U);
  for (const auto& each : dead) {
    EXPECT_THAT(each.fields.at("ipcq-reason"), HasSubstr("holds more than the 4096 bytes of a message"));
  }
  const std::string stats = text({"INFO", "stats"}), name = "total_net_output_bytes:";
  EXPECT_LT(std::stol(stats.substr(stats.find(name) + name.size())), 8 << 20);
}

TEST_F(RedisStreamsTest, ItReadsNoMoreThanTheQueueTakes) {
  redis();
  broker("--queue work=4KiB,slots=8,calls=5");
  std::atomic<bool> goes_on{false};
  const Servers slow = serve([&, kept = Kept()](ipcq::Request& request) {
    kept->push_back(std::move(request));
    static_cast<void>(eventually([&] { return goes_on || kept->size() != 5; }));
    for (auto& each : *kept) {
      if (goes_on) static_cast<void>(each.reply("done"));
    }
    if (goes_on) kept->clear();
  });
  for (int i = 0; i < 40; ++i) add("tasks", "x");
  bridge();
  ASSERT_TRUE(eventually([&] { return pending() == 5; }));
  std::this_thread::sleep_for(300ms);
  EXPECT_EQ(pending(), 5);
  goes_on = true;
  EXPECT_TRUE(has_results(40));
}

TEST_F(RedisStreamsTest, AHigherPriorityIsDoneFirst) {
  redis();
  broker("--queue work=4KiB,slots=4,calls=1");
  std::vector<std::string> order;
  const Servers one = serve([&](ipcq::Request& request) {
    order.push_back(text_of(request));
    static_cast<void>(request.reply("done"));
  });
  for (int i = 0; i < 5; ++i) add("low", "low");
  for (int i = 0; i < 5; ++i) add("high", "high");
  Command& done = start("exec ipcq-redis --redis " + url() +
                        " --queue work --stream low --stream high,priority=1 --results list:out --until-empty");
  EXPECT_EQ(done.exit_code(), 0) << done.err();
  EXPECT_EQ(number({"LLEN", "out"}), 10);
  ASSERT_EQ(order.size(), 10U);
  for (std::size_t i = 0; i < 10; ++i) EXPECT_EQ(order[i], i < 5 ? "high" : "low") << i;
}

TEST_F(RedisStreamsTest, StreamsOfOnePriorityShareByTheirWeights) {
  redis();
  broker("--queue work=4KiB,slots=4,calls=1");
  std::vector<std::string> order;
  const Servers one = serve([&](ipcq::Request& request) {
    order.push_back(text_of(request));
    static_cast<void>(request.reply("done"));
  });
  for (int i = 0; i < 40; ++i) add("a", "a");
  for (int i = 0; i < 40; ++i) add("b", "b");
  Command& done = start("exec ipcq-redis --redis " + url() +
                        " --queue work --stream a,weight=3 --stream b --results none --until-empty");
  EXPECT_EQ(done.exit_code(), 0) << done.err();
  ASSERT_EQ(order.size(), 80U);
  const auto of_a = std::count(order.begin(), order.begin() + 40, "a");
  EXPECT_GE(of_a, 28);
  EXPECT_LE(of_a, 32);
}

TEST_F(RedisStreamsTest, ARateHoldsForAllBridgesTogether) {
  redis();
  handler_broker();
  for (int i = 0; i < 60; ++i) add("tasks", "x");
  const auto begin = std::chrono::steady_clock::now();
  Command& one = bridge("--rate 50 --burst 10 --until-empty");
  Command& two = bridge("--rate 50 --burst 10 --until-empty");
  EXPECT_EQ(one.exit_code(), 0) << one.err();
  EXPECT_EQ(two.exit_code(), 0) << two.err();
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(took.count(), 0.95);  // 10 at once, 50 in a second
  EXPECT_EQ(results().size(), 60U);
}

TEST_F(RedisStreamsTest, WhoeverWaitsForAnAnswerGetsItWhereTheTaskSays) {
  redis();
  handler_broker();
  const auto list = add("tasks", "a", {{"reply-to", "list:answers"}});
  add("tasks", "b", {{"reply-to", "plain"}});
  const auto stream = add("tasks", "c", {{"reply-to", "stream:replies"}});
  add("tasks", "d", {{"reply-to", "key:answer"}});
  EXPECT_EQ(bridge("--until-empty --result-ttl 60").exit_code(), 0);
  EXPECT_EQ(text({"LPOP", "answers"}), "ok " + list + "\nA");
  EXPECT_THAT(text({"LPOP", "plain"}), HasSubstr("\nB"));
  const auto replies = entries("replies");
  ASSERT_EQ(replies.size(), 1U);
  EXPECT_EQ(replies[0].fields.at("id"), stream);
  EXPECT_EQ(replies[0].fields.at("status"), "ok");
  EXPECT_EQ(replies[0].fields.at("result"), "C");
  EXPECT_EQ(text({"HGET", "answer", "result"}), "D");
  EXPECT_GT(number({"TTL", "answer"}), 0);
  EXPECT_EQ(results().size(), 4U);
}

TEST_F(RedisStreamsTest, ResultsAreSentToAllWhoListen) {
  redis();
  handler_broker();
  Command& listener = start("exec redis-cli -s redis.sock SUBSCRIBE results");
  ASSERT_TRUE(eventually([&] {
    return number({"PUBLISH", "other", ""}) == 0 && listener.out().find("subscribe") != std::string::npos;
  }));
  add("tasks", "to all");
  EXPECT_EQ(bridge("--results channel:results --until-empty").exit_code(), 0);
  EXPECT_TRUE(eventually([&] { return listener.out().find("TO ALL") != std::string::npos; })) << listener.out();
}

TEST_F(RedisStreamsTest, SeveralBridgesShareTheTasks) {
  redis();
  handler_broker();
  std::set<std::string> tasks;
  for (int i = 0; i < 3000; ++i) tasks.insert(add("tasks", "x"));
  Command& one = bridge("--until-empty --in-flight 8 --json");
  Command& two = bridge("--until-empty --in-flight 8 --json");
  EXPECT_EQ(one.exit_code(), 0) << one.err();
  EXPECT_EQ(two.exit_code(), 0) << two.err();
  EXPECT_EQ(results().size(), tasks.size());
}

TEST_F(RedisStreamsTest, TrimmingDeletesWhatIsAcknowledged) {
  redis("--save '' --stream-node-max-entries 10");
  handler_broker();
  for (int i = 0; i < 200; ++i) add("tasks", "x");
  Command& running = bridge("--trim");
  ASSERT_TRUE(has_results(200));
  EXPECT_TRUE(eventually([&] { return number({"XLEN", "tasks"}) <= 10; }, 20s)) << running.err();
}

TEST_F(RedisStreamsTest, ItsCountersAreServed) {
  redis();
  handler_broker();
  add("tasks", "x");
  add("tasks:dead", "y");
  Command& running = bridge("--metrics 127.0.0.1:0");
  ASSERT_TRUE(has_results(1));
  const std::string said = running.err();
  const auto at = said.find("http://");
  ASSERT_NE(at, std::string::npos) << said;
  const std::string address = said.substr(at, said.find('\n', at) - at);
  const auto get = [&](const std::string& page) {
    return run("exec python3 -c 'import sys,urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())' " +
               page)
        .out();
  };
  EXPECT_TRUE(eventually([&] {
    return get(address).find("ipcq_redis_tasks_done_total{queue=\"work\",group=\"ipcq\"} 1") != std::string::npos;
  })) << get(address);
  EXPECT_TRUE(eventually([&] {  // asked for each 2 s
    const std::string page = get(address);
    const auto has = [&](const std::string& of, const std::string& what) {
      return page.find("ipcq_redis_source_" + of + "{queue=\"work\",group=\"ipcq\",source=\"tasks\"} " + what + "\n") !=
             std::string::npos;
    };
    return (has("waiting", "0") || is_before_redis_7()) && has("taken", "0") && has("delayed", "0") && has("dead", "1");
  })) << get(address);
  EXPECT_THAT(get(address.substr(0, address.rfind('/')) + "/healthz"), HasSubstr("redis: connected\nbroker: attached"));
}

}  // namespace
}  // namespace ipcq_test
