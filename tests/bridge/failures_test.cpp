// Tasks that fail: attempts, delays, dead letters.
#include <signal.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "bridge/redis_test.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;

using RedisFailuresTest = RedisTest;

TEST_F(RedisFailuresTest, ATaskThatFailsIsTriedAgainAndKeepsItsFirstId) {
  redis();
  server_broker();
  std::atomic<int> attempts{0};
  const Servers third = serve([&](ipcq::Request& request) {
    static_cast<void>(++attempts < 3 ? request.fail(7, "not yet") : request.reply("done"));
  });
  const std::string id = add("tasks", "x", {{"note", "kept"}});
  EXPECT_EQ(bridge("--until-empty --backoff 0.05").exit_code(), 0);
  EXPECT_EQ(results(), (std::map<std::string, std::string>{{id, "done"}}));
  EXPECT_EQ(attempts, 3);
  const auto all = entries("tasks");
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[2].fields.at("note"), "kept");
  EXPECT_EQ(all[2].fields.at("ipcq-attempt"), "2");
  EXPECT_THAT(all[2].fields.at("ipcq-reason"), HasSubstr("code 7: not yet"));
}

TEST_F(RedisFailuresTest, AfterTheLastAttemptItGoesToTheDeadLettersWithTheReason) {
  redis();
  server_broker();
  const Servers never = serve([&](ipcq::Request& request) { static_cast<void>(request.fail(9, "broken")); });
  const std::string id = add("tasks", "x", {{"reply-to", "list:answers"}});
  Command& done = bridge("--until-empty --backoff 0.02 --attempts 3 --json");
  EXPECT_EQ(done.exit_code(), 0) << done.err();
  const auto dead = entries("tasks:dead");
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(dead[0].fields.at("payload"), "x");
  EXPECT_EQ(dead[0].fields.at("ipcq-id"), id);
  EXPECT_EQ(dead[0].fields.at("ipcq-attempt"), "3");
  EXPECT_THAT(dead[0].fields.at("ipcq-reason"), HasSubstr("a server failed, code 9: broken"));
  EXPECT_THAT(text({"LPOP", "answers"}), HasSubstr("dead " + id + "\n"));
  EXPECT_EQ(results().size(), 0U);
  EXPECT_EQ(pending(), 0);
  EXPECT_THAT(done.out(), HasSubstr("\"dead\":1"));
  EXPECT_THAT(done.out(), HasSubstr("\"retried\":2"));
}

TEST_F(RedisFailuresTest, EachDelayIsAboutTwiceTheOneBefore) {
  redis();
  server_broker();
  std::vector<std::chrono::steady_clock::time_point> times;
  const Servers never = serve([&](ipcq::Request& request) {
    times.push_back(std::chrono::steady_clock::now());
    static_cast<void>(request.fail(1, ""));
  });
  add("tasks", "x");
  EXPECT_EQ(bridge("--until-empty --backoff 0.2 --attempts 4 --poll 0.01").exit_code(), 0);
  ASSERT_EQ(times.size(), 4U);
  for (int i = 1; i < 4; ++i) {
    const std::chrono::duration<double> passed = times[i] - times[i - 1];
    EXPECT_GE(passed.count(), 0.2 * (1 << (i - 1)) * 0.5 - 0.005) << i;
  }
}

TEST_F(RedisFailuresTest, WhatTheQueueCannotCarryGoesToTheDeadLettersAtOnce) {
  redis();
  handler_broker();
  add("tasks", std::string(5000, 'x'));
  ask({"XADD", "tasks", "*", "other", "field"});
  add("tasks", "x", {{"reply-to", "list:"}});
  const std::string good = add("tasks", "good");
  Command& done = bridge("--until-empty");
  EXPECT_EQ(done.exit_code(), 0) << done.err();
  std::map<std::string, int> reasons;
  for (const auto& entry : entries("tasks:dead")) ++reasons[entry.fields.at("ipcq-reason").substr(0, 24)];
  EXPECT_EQ(reasons.size(), 3U);
  EXPECT_EQ(reasons.count("its payload of 5000 byte"), 1U);
  EXPECT_EQ(reasons.count("it has no field 'payload"), 1U);
  EXPECT_EQ(reasons.count("its field 'reply-to' nam"), 1U);
  EXPECT_EQ(results(), (std::map<std::string, std::string>{{good, "GOOD"}}));
}

TEST_F(RedisFailuresTest, ATaskThatTakesTooLongIsTriedAgain) {
  redis();
  server_broker();
  std::atomic<int> attempts{0};
  const Servers second = serve([&, kept = Kept()](ipcq::Request& request) {
    if (++attempts == 1) {
      kept->push_back(std::move(request));  // and does not answer
    } else {
      static_cast<void>(request.reply("done"));
    }
  });
  const std::string id = add("tasks", "x");
  Command& done = bridge("--until-empty --deadline 0.2 --backoff 0.02");
  EXPECT_EQ(done.exit_code(), 0) << done.err();
  EXPECT_EQ(results(), (std::map<std::string, std::string>{{id, "done"}}));
}

TEST_F(RedisFailuresTest, WithoutAServerTasksGoBackAndCountNoAttempt) {
  redis();
  server_broker();
  const std::string id = add("tasks", "x");
  Command& running = bridge("--attempts 1");
  ASSERT_TRUE(eventually([&] { return running.err().find("no server is attached") != std::string::npos; }))
      << running.err();
  std::this_thread::sleep_for(1500ms);
  EXPECT_EQ(number({"XLEN", "tasks"}), 1);  // and not read again and again
  const Servers late = serve([&](ipcq::Request& request) { static_cast<void>(request.reply("done")); });
  ASSERT_TRUE(has_results(1)) << running.err();
  EXPECT_EQ(results(), (std::map<std::string, std::string>{{id, "done"}}));
  EXPECT_EQ(number({"EXISTS", "tasks:dead"}), 0);
}

TEST_F(RedisFailuresTest, ResultsThatCannotBeWrittenAreWrittenLater) {
  redis();
  handler_broker();
  Command& running = bridge();
  ask({"SET", "tasks:results", "in the way"});
  const std::string id = add("tasks", "x");
  ASSERT_TRUE(eventually([&] {
    return running.err().find("results go to stream:tasks:results: WRONGTYPE") != std::string::npos;
  })) << running.err();
  EXPECT_EQ(pending(), 1);
  ask({"DEL", "tasks:results"});
  ASSERT_TRUE(has_results(1));
  EXPECT_EQ(results(), (std::map<std::string, std::string>{{id, "X"}}));
}

TEST_F(RedisFailuresTest, OneResultThatCannotBeWrittenHoldsNoOtherUp) {
  redis();
  handler_broker();
  ask({"SET", "tasks:dead", "in the way"});
  Command& running = bridge();
  for (int i = 0; i < 5; ++i) ask({"XADD", "tasks", "*", "other", "field"});
  ASSERT_TRUE(eventually([&] { return running.err().find("will be tried again") != std::string::npos; }));
  for (int i = 0; i < 1000; ++i) add("tasks", "x");
  EXPECT_TRUE(eventually([&] { return number({"XLEN", "tasks:results"}) == 1000; }, 5s)) << running.err();
  ask({"DEL", "tasks:dead"});
  EXPECT_TRUE(eventually([&] { return number({"XLEN", "tasks:dead"}) == 5; }));
}

TEST_F(RedisFailuresTest, AReplyThatMayNotBeWrittenHoldsNothingUp) {
  redis();
  handler_broker();
  ask({"ACL", "SETUSER", "worker", "on", ">secret", "~tasks*", "&*", "+@all"});
  Command& running = start("IPCQ_REDIS_PASSWORD=secret exec ipcq-redis --redis " + url() +
                           " --user worker --queue work --stream tasks --json");
  ASSERT_TRUE(eventually([&] { return is_working(running); }));
  for (int i = 0; i < 3; ++i) {
    add("tasks", "evil", {{"reply-to", "list:of-others"}});
    add("tasks", "good");
  }
  ASSERT_TRUE(has_results(6)) << running.err();
  EXPECT_EQ(number({"EXISTS", "of-others"}), 0);
  EXPECT_THAT(running.err(), HasSubstr("nobody can be answered at list:of-others"));
  running.signal(SIGTERM);
  EXPECT_EQ(running.exit_code(), 0);
  EXPECT_THAT(running.out(), HasSubstr("\"replies_failed\":3"));
}

TEST_F(RedisFailuresTest, AHandlerThatDropsATaskEndsItWithoutAResult) {
  redis();
  server_broker();
  const Servers silent = serve([](ipcq::Request& request) { static_cast<void>(request.end()); });
  add("tasks", "x");
  EXPECT_EQ(bridge("--until-empty").exit_code(), 0);
  EXPECT_EQ(number({"EXISTS", "tasks:results"}), 0);
  EXPECT_EQ(pending(), 0);
}

TEST_F(RedisFailuresTest, SeveralRepliesToOneTaskAreResultsWithParts) {
  redis();
  server_broker();
  const Servers parts = serve([](ipcq::Request& request) {
    EXPECT_EQ(request.stream("one"), ipcq::Status::ok);
    EXPECT_EQ(request.reply("two"), ipcq::Status::ok);
  });
  const std::string id = add("tasks", "x");
  EXPECT_EQ(bridge("--until-empty").exit_code(), 0);
  const auto written = entries("tasks:results");
  ASSERT_EQ(written.size(), 2U);
  for (std::size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(written[i].fields.at("id"), id);
    EXPECT_EQ(written[i].fields.at("part"), std::to_string(i + 1));
    EXPECT_EQ(written[i].fields.at("result"), i == 0 ? "one" : "two");
  }
}

}  // namespace
}  // namespace ipcq_test
