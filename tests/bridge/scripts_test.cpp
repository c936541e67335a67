// The scripts that run in the server, one at a time, on states that are built by hand.
#include "redis/scripts.hpp"

#include <string>
#include <vector>

#include "bridge/redis_test.hpp"

namespace ipcq_test {
namespace {

using ipcq::bridge::script_text;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class ScriptsTest : public RedisTest {
 protected:
  ScriptsTest() { redis(); }

  // A stream with a group, of whose entries `consumer` has read `count`.
  std::vector<std::string> read_by(const std::string& consumer, int count) {
    std::vector<std::string> ids;
    ask({"XGROUP", "CREATE", "s", "g", "0", "MKSTREAM"});
    for (int i = 0; i < count; ++i) ids.push_back(add("s", "payload " + std::to_string(i)));
    ask({"XREADGROUP", "GROUP", "g", consumer, "COUNT", std::to_string(count), "STREAMS", "s", ">"});
    return ids;
  }
  ipcq::bridge::Reply run_script(const std::string& name, const std::vector<std::string>& keys,
                                 const std::vector<std::string>& arguments) {
    std::vector<std::string> words{"EVAL", std::string(script_text(name)), std::to_string(keys.size())};
    words.insert(words.end(), keys.begin(), keys.end());
    words.insert(words.end(), arguments.begin(), arguments.end());
    return ask(words);
  }
  // Runs `finish_entries` with these records, and returns its answers as texts.
  std::vector<std::string> finish(const std::vector<std::string>& records, const std::string& kind = "stream",
                                  std::vector<std::string> keys = {"s", "r", "later", "dead"}) {
    std::vector<std::string> arguments{"g", "me", kind, "60000", "100"};
    arguments.insert(arguments.end(), records.begin(), records.end());
    const auto reply = run_script("finish_entries", keys, arguments);
    EXPECT_FALSE(reply.view().is_error()) << reply.view().text();
    std::vector<std::string> out;
    for (std::size_t i = 0; i < reply.view().size(); ++i) {
      const auto answer = reply.view()[i];
      out.push_back(answer.is_integer() ? std::to_string(answer.number()) : std::string(answer.text()));
    }
    return out;
  }
  long pending_of(const std::string& consumer) {
    return ask({"XPENDING", "s", "g", "-", "+", "100", consumer}).view().size();
  }
};

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
              ElementsAre("1", "1"));
  EXPECT_EQ(number({"EXISTS", "later", "dead"}), 0);
  EXPECT_EQ(pending_of("me"), 0);
}

TEST_F(ScriptsTest, OnlyWhatNobodyRenewsIsClaimed) {
  const auto ids = read_by("other", 3);
  const auto claim = [&](const std::string& idle, const std::string& too_many) {
    return run_script("claim_entries", {"s", "dead"}, {"g", "me", idle, "10", too_many, "died too often"});
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
  add("s", "poison", {{"ipcq-id", "first id"}, {"ipcq-attempt", "3"}, {"ipcq-reason", "of before"}});
  ask({"XREADGROUP", "GROUP", "g", "other", "STREAMS", "s", ">"});
  ask({"XCLAIM", "s", "g", "other", "0", entries("s")[0].id});
  const auto reply = run_script("claim_entries", {"s", "dead"}, {"g", "me", "0", "10", "2", "died too often"});
  EXPECT_EQ(reply.view().size(), 1U);
  EXPECT_EQ(reply.view()[0].number(), 1);
  const auto dead = entries("dead");
  ASSERT_EQ(dead.size(), 1U);
  EXPECT_EQ(
      dead[0].fields,
      (std::map<std::string, std::string>{
          {"payload", "poison"}, {"ipcq-id", "first id"}, {"ipcq-attempt", "5"}, {"ipcq-reason", "died too often"}}));
  EXPECT_EQ(ask({"XPENDING", "s", "g"}).view()[0].number(), 0);
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
