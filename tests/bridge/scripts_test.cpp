// The scripts that end tasks, and those that add them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "bridge/scripts_fixture.hpp"

namespace ipcq_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(ScriptsTest, AResultIsWrittenOnceWhoeverWritesIt) {
  const auto ids = read_by("me", 2);
  const std::vector<std::string> first{"result", ids[0], ids[0], "", "0", "1", "done"};
  EXPECT_THAT(finish(first), ElementsAre("1"));
  EXPECT_THAT(finish(first), ElementsAre("0"));
  EXPECT_EQ(results("r"), (std::map<std::string, std::string>{{ids[0], "done"}}));
  EXPECT_EQ(pending_of("me"), 1);
}

TEST_F(ScriptsTest, ABatchMayEndEachTaskInAnotherWay) {
  const auto ids = read_by("me", 3);
  EXPECT_THAT(finish({"result", ids[0], "first id", "",  "0",     "1",       "done",  //
                      "later",  ids[1], ids[1],     "2", "5000",  "not yet",          //
                      "dead",   ids[2], ids[2],     "5", "never", "",        "0"}),
              ElementsAre("1", "1", "1"));
  EXPECT_EQ(results("r"), (std::map<std::string, std::string>{{"first id", "done"}}));
  EXPECT_EQ(number({"ZCARD", "later"}), 1);
  const auto dead = entries("dead");
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(dead[0].fields.at("payload"), "payload 2");
  EXPECT_EQ(dead[0].fields.at("ipcq-id"), ids[2]);
  EXPECT_EQ(dead[0].fields.at("ipcq-attempt"), "5");
  EXPECT_EQ(dead[0].fields.at("ipcq-reason"), "never");
  EXPECT_EQ(pending_of("me"), 0);
}

TEST_F(ScriptsTest, WhatCannotBeWrittenLeavesItsTaskPending) {
  const auto ids = read_by("me", 2);
  ask({"SET", "r", "no stream"});
  const auto answers =
      finish({"result", ids[0], ids[0], "", "0", "1", "done", "dead", ids[1], ids[1], "5", "never", "", "0"});
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_THAT(answers[0], HasSubstr("WRONGTYPE"));
  EXPECT_EQ(answers[1], "1");
  EXPECT_EQ(pending_of("me"), 1);
  ask({"DEL", "r"});
  EXPECT_THAT(finish({"result", ids[0], ids[0], "", "0", "1", "done"}), ElementsAre("1"));
}

// A script that has begun to write may go on, so that it is whole.
TEST_F(ScriptsTest, AServerWithoutMemoryLosesNoTask) {
  const auto ids = read_by("me", 2);
  ask({"CONFIG", "SET", "maxmemory", "1"});
  finish({"result", ids[0], ids[0], "", "0", "1", "done", "later", ids[1], ids[1], "1", "60000", "later"});
  ask({"CONFIG", "SET", "maxmemory", "0"});
  EXPECT_EQ(pending_of("me") + number({"XLEN", "r"}) + number({"ZCARD", "later"}), 2);
}

TEST_F(ScriptsTest, AReplyThatCannotBeWrittenDoesNotHoldTheResultUp) {
  const auto ids = read_by("me", 2);
  ask({"SET", "answers", "no list"});
  EXPECT_THAT(
      finish({"result", ids[0], ids[0], "list", "1", "1", "done", "result", ids[1], ids[1], "list", "2", "1", "too"},
             "stream", {"s", "r", "later", "dead", "answers", "others"}),
      ElementsAre("2", "1"));
  EXPECT_EQ(results("r").size(), 2U);
  EXPECT_THAT(texts({"LRANGE", "others", "0", "-1"}), ElementsAre("ok " + ids[1] + "\ntoo"));
  EXPECT_GT(number({"PTTL", "others"}), 0);
}

TEST_F(ScriptsTest, ResultsGoToEachKindOfPlace) {
  const auto ids = read_by("me", 4);
  const auto record = [&](int i) {
    return std::vector<std::string>{"result", ids[i], "t" + std::to_string(i), "", "0", "1", "done"};
  };
  EXPECT_THAT(finish(record(0), "list", {"s", "l", "later", "dead"}), ElementsAre("1"));
  EXPECT_THAT(texts({"LRANGE", "l", "0", "-1"}), ElementsAre("done"));
  EXPECT_THAT(finish(record(1), "key", {"s", "k:", "later", "dead"}), ElementsAre("1"));
  EXPECT_EQ(text({"GET", "k:t1"}), "done");
  EXPECT_GT(number({"PTTL", "k:t1"}), 0);
  EXPECT_THAT(finish(record(2), "channel", {"s", "c", "later", "dead"}), ElementsAre("1"));
  EXPECT_THAT(finish(record(3), "none", {"s", "", "later", "dead"}), ElementsAre("1"));
  EXPECT_EQ(pending_of("me"), 0);
}

TEST_F(ScriptsTest, ATaskOfSeveralResultsWritesThemAtOnce) {
  const auto ids = read_by("me", 2);
  EXPECT_THAT(finish({"result", ids[0], "t", "key", "1", "2", "one", "two", "result", ids[1], "u", "", "0", "0"},
                     "stream", {"s", "r", "later", "dead", "answer"}),
              ElementsAre("1", "1"));
  const auto written = entries("r");
  ASSERT_EQ(written.size(), 2U);
  EXPECT_EQ(written[0].fields.at("part"), "1");
  EXPECT_EQ(written[1].fields.at("part"), "2");
  EXPECT_EQ(written[1].fields.at("result"), "two");
  EXPECT_EQ(text({"HGET", "answer", "result"}), "onetwo");
}

TEST_F(ScriptsTest, ALargeResultStandsInAKeyOfItsOwn) {
  const auto ids = read_by("me", 2);
  const std::string large(101, 'x');
  finish({"result", ids[0], "t", "", "0", "1", large, "result", ids[1], "u", "", "0", "2", "short", large});
  const auto written = entries("r");
  ASSERT_EQ(written.size(), 3U);
  EXPECT_EQ(written[0].fields.at("result-key"), "r:t");
  EXPECT_EQ(text({"GET", "r:t"}), large);
  EXPECT_GT(number({"PTTL", "r:t"}), 0);
  EXPECT_EQ(written[1].fields.at("result"), "short");
  EXPECT_EQ(written[2].fields.at("result-key"), "r:u:2");
}

TEST_F(ScriptsTest, AddingWithAKeyAddsOnce) {
  const auto add_by = [&](const std::string& key, const std::string& due) {
    return run_script("add", {"s", "later", key}, {"60000", due, "my-id", "payload", "x"});
  };
  const auto first = add_by("k1", ""), second = add_by("k1", ""), other = add_by("k2", "");
  EXPECT_EQ(first.view()[1].number(), 1);
  EXPECT_EQ(second.view()[1].number(), 0);
  EXPECT_EQ(second.view()[0].text(), first.view()[0].text());
  EXPECT_NE(other.view()[0].text(), first.view()[0].text());
  EXPECT_EQ(number({"XLEN", "s"}), 2);
  EXPECT_EQ(add_by("k3", "60000").view()[0].text(), "my-id");
  EXPECT_EQ(add_by("k3", "60000").view()[1].number(), 0);
  EXPECT_EQ(number({"ZCARD", "later"}), 1);
  EXPECT_EQ(run_script("add", {"s", "later"}, {"60000", "", "", "payload", "x"}).view()[1].number(), 1);
  const auto before = number({"XLEN", "s"});
  EXPECT_TRUE(run_script("add", {"s", "later", "k4"}, {"0", "", "", "payload", "x"}).view().is_error());
  EXPECT_TRUE(run_script("add", {"s", "later"}, {"60000", "1e300", "id", "payload", "x"}).view().is_error());
  EXPECT_EQ(number({"XLEN", "s"}), before);
}

TEST_F(ScriptsTest, DeadLettersGoBackAsTheyWere) {
  const auto ids = read_by("me", 2);
  finish({"dead", ids[0], "first", "5", "never", "", "0", "dead", ids[1], ids[1], "5", "never", "", "0"});
  const auto dead = entries("dead");
  EXPECT_EQ(run_script("requeue", {"dead", "s"}, {"0", dead[0].id, "1-1"}).view().number(), 1);
  const auto back = entries("s").back();
  EXPECT_EQ(back.fields, (std::map<std::string, std::string>{{"payload", "payload 0"}, {"ipcq-id", "first"}}));
  EXPECT_EQ(run_script("requeue", {"dead", "s"}, {"10"}).view().number(), 1);
  EXPECT_EQ(number({"XLEN", "dead"}), 0);
}

TEST_F(ScriptsTest, ATaskThatWasDeletedEndsWithoutATrace) {
  const auto ids = read_by("me", 2);
  ask({"XDEL", "s", ids[0], ids[1]});
  EXPECT_THAT(finish({"later", ids[0], ids[0], "1", "0", "why", "dead", ids[1], ids[1], "1", "why", "", "0"}),
              ElementsAre("3", "3"));
  EXPECT_EQ(number({"EXISTS", "later", "dead"}), 0);
  EXPECT_EQ(pending_of("me"), 0);
}

}  // namespace
}  // namespace ipcq_test
