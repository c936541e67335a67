// The scripts that take over, renew, move, trim and limit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <string>
#include <thread>
#include <vector>

#include "bridge/scripts_fixture.hpp"

namespace ipcq_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST_F(ScriptsTest, OnlyWhatNobodyRenewsIsClaimed) {
  const auto ids = read_by("other", 3);
  const auto claim = [&](const std::string& idle, const std::string& too_many) {
    return run_script("claim_entries", {"s", "dead"},
                      {"g", "me", idle, "10", too_many, "died too often", "60000", "", "-"});
  };
  EXPECT_EQ(claim("60000", "5").view().size(), 1U);  // nothing
  const auto claimed = claim("0", "5");
  ASSERT_EQ(claimed.view().size(), 4U);
  EXPECT_EQ(claimed.view()[1][0].text(), ids[0]);
  EXPECT_EQ(claimed.view()[1][1].number(), 1);
  EXPECT_EQ(claimed.view()[1][2][1].text(), "payload 0");
  EXPECT_EQ(pending_of("me"), 3);
}

TEST_F(ScriptsTest, WhatWasDeliveredTooOftenGoesToTheDeadLetters) {
  ask({"XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"});
  add("s", "poison",
      {{"reply-to", "list:answers"}, {"ipcq-id", "first id"}, {"ipcq-attempt", "3"}, {"ipcq-reason", "of before"}});
  ask({"XREADGROUP", "GROUP", "g", "other", "STREAMS", "s", ">"});
  ask({"XCLAIM", "s", "g", "other", "0", entries("s")[0].id});
  const auto reply =
      run_script("claim_entries", {"s", "dead"}, {"g", "me", "0", "10", "2", "died too often", "60000", "", "-"});
  EXPECT_EQ(reply.view().size(), 1U);
  EXPECT_EQ(reply.view()[0].number(), 1);
  const auto dead = entries("dead");
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(dead[0].fields, (std::map<std::string, std::string>{{"payload", "poison"},
                                                                {"reply-to", "list:answers"},
                                                                {"ipcq-id", "first id"},
                                                                {"ipcq-attempt", "5"},
                                                                {"ipcq-reason", "died too often"}}));
  EXPECT_EQ(text({"LPOP", "answers"}), "dead first id\ndied too often");
  EXPECT_EQ(ask({"XPENDING", "s", "g"}).view()[0].number(), 0);
}

TEST_F(ScriptsTest, WhatAConsumerWorksOnItselfIsNotClaimedButWhatItsPredecessorHadIs) {
  const auto ids = read_by("me", 3);
  const auto claim = [&](const std::string& whose, const std::string& start) {
    return run_script("claim_entries", {"s", "dead"}, {"g", "me", "0", "2", "5", "why", "60000", whose, start});
  };
  EXPECT_EQ(claim("", "-").view().size(), 1U);
  ASSERT_EQ(claim("own", "-").view().size(), 3U);
  ASSERT_EQ(claim("own", "(" + ids[1]).view().size(), 2U);
  const auto pending = ask({"XPENDING", "s", "g", "-", "+", "10"});
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(pending.view()[i][3].number(), 2) << i;
  const auto adopted = run_script("adopt_entries", {"s"}, {"g", "me", "(" + ids[0], "10", "0"});  // counts nothing
  ASSERT_EQ(adopted.view().size(), 2U);
  EXPECT_EQ(adopted.view()[0][0].text(), ids[1]);
  EXPECT_EQ(adopted.view()[0][1].number(), 2);
  EXPECT_EQ(adopted.view()[0][2][1].text(), "payload 1");
  EXPECT_EQ(ask({"XPENDING", "s", "g", "-", "+", "10"}).view()[0][3].number(), 2);
}

// Behind a consumer's own tasks, however many, those of others are found.
TEST_F(ScriptsTest, AConsumersOwnEntriesAreAdoptedThatNobodyHasRenewed) {
  const auto ids = read_by("me", 2);
  ask({"XCLAIM", "s", "g", "me", "0", ids[1], "IDLE", "60000", "JUSTID"});
  const auto adopted = run_script("adopt_entries", {"s"}, {"g", "me", "-", "10", "30000"});
  ASSERT_EQ(adopted.view().size(), 1U);
  EXPECT_EQ(adopted.view()[0][0].text(), ids[1]);
}

TEST_F(ScriptsTest, TasksOfOthersAreClaimedFromBehindTheOwnOnes) {
  read_by("me", 30);
  const std::string last = add("s", "of another");
  ask({"XREADGROUP", "GROUP", "g", "other", "STREAMS", "s", ">"});
  const auto claimed = run_script("claim_entries", {"s", "dead"}, {"g", "me", "0", "4", "5", "why", "60000", "", "-"});
  ASSERT_EQ(claimed.view().size(), 2U);
  EXPECT_EQ(claimed.view()[1][0].text(), last);
}

// Lua hands some 8000 values to a function.
TEST_F(ScriptsTest, AnEntryOfThousandsOfFieldsIsNotLostAndHoldsNothingUp) {
  ask({"XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"});
  Fields many;
  for (int i = 0; i < 4200; ++i) many.emplace_back("f" + std::to_string(i), "v");
  const std::string large = add("s", "x", many), small = add("s", "y");
  ask({"XREADGROUP", "GROUP", "g", "me", "STREAMS", "s", ">"});
  EXPECT_THAT(finish({"dead", large, large, "1", "too large", "", "0", "dead", small, small, "1", "why", "", "0"}),
              ElementsAre("1", "1"));
  ASSERT_EQ(entries("dead").size(), 2U);
  EXPECT_EQ(entries("dead")[0].fields.at("ipcq-id"), large);
  EXPECT_EQ(entries("dead")[0].fields.at("ipcq-reason"), "too large");
  EXPECT_GT(entries("dead")[0].fields.at("ipcq-packed").size(), 8400U);
  EXPECT_THAT(run_script("requeue", {"dead", "s"}, {"0", large}).view().text(), HasSubstr("too many fields"));
  add("s", "x", many);
  ask({"XREADGROUP", "GROUP", "g", "other", "STREAMS", "s", ">"});
  EXPECT_EQ(run_script("claim_entries", {"s", "dead"}, {"g", "me", "0", "4", "1", "why", "60000", "", "-"})
                .view()[0]
                .number(),
            1);
  EXPECT_EQ(number({"XLEN", "dead"}), 3);
}

TEST_F(ScriptsTest, OfAResultOfSeveralPartsAllAreWrittenOrNone) {
  const auto ids = read_by("me", 1);
  const std::vector<std::string> record{"result", ids[0], "t", "", "0", "2", "small", std::string(101, 'x')};
  ask({"ACL", "SETUSER", "default", "-set"});
  for (int i = 0; i < 3; ++i) EXPECT_THAT(finish(record)[0], testing::ContainsRegex("run (this|the)"));
  EXPECT_EQ(number({"XLEN", "r"}), 0);
  EXPECT_EQ(pending_of("me"), 1);
  ask({"ACL", "SETUSER", "default", "+set"});
  EXPECT_THAT(finish(record), ElementsAre("1"));
  EXPECT_EQ(number({"XLEN", "r"}), 2);
}

TEST_F(ScriptsTest, DeadLettersOfAListGoBackIntoTheList) {
  ask({"XADD", "dead", "*", "payload", "x", "ipcq-attempt", "3", "ipcq-reason", "why"});
  EXPECT_THAT(run_script("requeue", {"dead", "jobs"}, {"10"}).view().text(),
              HasSubstr("nobody knows where it came from"));
  EXPECT_EQ(number({"EXISTS", "jobs"}), 0);
  ask({"RPUSH", "jobs", "y"});
  EXPECT_EQ(run_script("requeue", {"dead", "jobs"}, {"10"}).view().number(), 1);
  EXPECT_THAT(texts({"LRANGE", "jobs", "0", "-1"}), ElementsAre("y", "x"));
}

TEST_F(ScriptsTest, ARenewalKeepsTheOwnTasksAndTakesNoOthers) {
  const auto ids = read_by("me", 2);
  ask({"XCLAIM", "s", "g", "other", "0", ids[1]});
  std::this_thread::sleep_for(60ms);
  EXPECT_EQ(run_script("renew_entries", {"s"}, {"g", "me", ids[0], ids[1], "1-1"}).view().number(), 1);
  EXPECT_EQ(pending_of("other"), 1);
  EXPECT_EQ(ask({"XPENDING", "s", "g", "IDLE", "50", "-", "+", "10", "me"}).view().size(), 0U);
  EXPECT_EQ(ask({"XPENDING", "s", "g", "-", "+", "10", "me"}).view()[0][3].number(), 1);  // counts as no delivery
}

TEST_F(ScriptsTest, DelayedTasksMoveWhenTheyAreDue) {
  const auto ids = read_by("me", 2);
  finish({"later", ids[0], ids[0], "1", "0", "now", "later", ids[1], ids[1], "2", "60000", "in a minute"});
  const auto moved = run_script("move_to_stream", {"later", "s", "dead"}, {"10"});
  EXPECT_EQ(moved.view()[0].number(), 1);
  EXPECT_GT(moved.view()[1].number(), 50'000);
  const auto all = entries("s");
  ASSERT_EQ(all.size(), 3U);
  EXPECT_EQ(all[2].fields.at("payload"), "payload 0");
  EXPECT_EQ(all[2].fields.at("ipcq-id"), ids[0]);
  EXPECT_EQ(all[2].fields.at("ipcq-attempt"), "1");
  EXPECT_EQ(number({"ZCARD", "later"}), 1);
}

TEST_F(ScriptsTest, WhatIsNoTaskAmongTheDelayedOnesGoesToTheDeadLetters) {
  ask({"ZADD", "later", "1", "no task"});
  const auto moved = run_script("move_to_stream", {"later", "s", "dead"}, {"10"});
  EXPECT_EQ(moved.view()[0].number(), 0);
  EXPECT_EQ(moved.view()[1].number(), -1);
  EXPECT_EQ(moved.view()[2].number(), 1);
  const auto dead = entries("dead");
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(dead[0].fields.at("payload"), "no task");
}

TEST_F(ScriptsTest, TrimmingKeepsWhatAnyGroupNeeds) {
  ask({"CONFIG", "SET", "stream-node-max-entries", "1"});  // MINID ~ removes whole nodes alone
  const auto ids = read_by("me", 6);
  ask({"XACK", "s", "g", ids[0], ids[1], ids[3]});  // ids[2] is pending
  std::this_thread::sleep_for(2ms);                 // an entry of this millisecond is as young as can be
  ask({"XGROUP", "CREATE", "s", "slow", ids[1]});   // has read two
  EXPECT_EQ(run_script("trim_stream", {"s"}, {"60000"}).view().number(), 0);  // all are young
  EXPECT_EQ(run_script("trim_stream", {"s"}, {"0"}).view().number(), 1);      // ids[1] is the slow group's last
  ask({"XGROUP", "SETID", "s", "slow", ids[5]});
  EXPECT_EQ(run_script("trim_stream", {"s"}, {"0"}).view().number(), 1);
  EXPECT_EQ(entries("s").front().id, ids[2]);
  EXPECT_EQ(entries("s").size(), 4U);
}

TEST_F(ScriptsTest, TrimmingComparesIdsOfAnyLength) {
  // Which as numbers of Lua's are equal.
  const std::string first = "18014398509481984-18446744073709551613", second = "18014398509481984-18446744073709551614";
  for (const auto& id : {first, second}) ask({"XADD", "s", id, "a", "b"});
  for (const std::string group : {"g", "h"}) ask({"XGROUP", "CREATE", "s", group, "0"});
  ask({"XREADGROUP", "GROUP", "g", "me", "STREAMS", "s", ">"});
  ask({"XACK", "s", "g", first, second});
  ask({"XREADGROUP", "GROUP", "h", "me", "COUNT", "1", "STREAMS", "s", ">"});
  ask({"CONFIG", "SET", "stream-node-max-entries", "1"});
  for (int i = 0; i < 3; ++i) run_script("trim_stream", {"s"}, {"0"});
  EXPECT_EQ(number({"XLEN", "s"}), 2);  // h needs both
}

TEST_F(ScriptsTest, AStreamWithoutAGroupIsNotTrimmed) {
  add("s", "a");
  EXPECT_EQ(run_script("trim_stream", {"s"}, {"0"}).view().number(), 0);
  EXPECT_EQ(number({"XLEN", "s"}), 1);
}

TEST_F(ScriptsTest, ConsumersThatHaveNothingAreForgotten) {
  const auto ids = read_by("holds", 1);
  for (const char* name : {"leaves", "stays"}) ask({"XGROUP", "CREATECONSUMER", "s", "g", name});
  EXPECT_EQ(run_script("forget_consumers", {"s"}, {"g", "leaves", "3600000"}).view().number(), 1);
  EXPECT_EQ(run_script("forget_consumers", {"s"}, {"g", "holds", "3600000"}).view().number(), 0);
  std::this_thread::sleep_for(30ms);
  EXPECT_EQ(run_script("forget_consumers", {"s"}, {"g", "", "10"}).view().number(), 1);
  const auto left = ask({"XINFO", "CONSUMERS", "s", "g"});
  ASSERT_EQ(left.view().size(), 1U);
  EXPECT_EQ(left.view()[0][1].text(), "holds");
}

TEST_F(ScriptsTest, TheBucketGrantsItsTokensAndFillsAgain) {
  const auto take = [&](const std::string& wanted) { return run_script("tokens", {"bucket"}, {"100", "10", wanted}); };
  EXPECT_EQ(take("4").view()[0].number(), 4);
  EXPECT_EQ(take("10").view()[0].number(), 6);
  const auto empty = take("10");
  EXPECT_LE(empty.view()[0].number(), 1);
  EXPECT_GT(empty.view()[1].number(), 0);
  std::this_thread::sleep_for(200ms);
  EXPECT_EQ(take("100").view()[0].number(), 10);
  take("-5");
  EXPECT_GE(take("5").view()[0].number(), 5);
}

}  // namespace
}  // namespace ipcq_test
