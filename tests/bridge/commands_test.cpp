// The commands of ipcq-redis beside its work as a bridge, and `ipcq doctor --redis`.
#include <thread>

#include "bridge/redis_test.hpp"

namespace ipcq_test {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

class RedisCommandsTest : public RedisTest {
 protected:
  Command& command(const std::string& text, const std::string& before = "") {
    return run(before + " IPCQ_REDIS_URL=" + url() + " exec ipcq-redis " + text);
  }
};

TEST_F(RedisCommandsTest, AddPutsATaskIntoAStreamAndPrintsItsId) {
  redis();
  Command& added = command("add tasks hello --field-value note=kept --reply-to list:answers");
  EXPECT_EQ(added.exit_code(), 0) << added.err();
  const auto all = entries("tasks");
  ASSERT_EQ(all.size(), 1U);
  EXPECT_EQ(added.out(), all[0].id + "\n");
  EXPECT_EQ(all[0].fields,
            (std::map<std::string, std::string>{{"payload", "hello"}, {"note", "kept"}, {"reply-to", "list:answers"}}));
}

TEST_F(RedisCommandsTest, AddTakesAFileOrItsLines) {
  redis();
  write("file", "one\ntwo\nthree");
  EXPECT_EQ(command("add whole --input file").exit_code(), 0);
  EXPECT_EQ(entries("whole")[0].fields.at("payload"), "one\ntwo\nthree");
  EXPECT_EQ(command("add lines --input - --lines <file").exit_code(), 0);
  std::vector<std::string> payloads;
  for (const auto& each : entries("lines")) payloads.push_back(each.fields.at("payload"));
  EXPECT_THAT(payloads, ElementsAre("one", "two", "three"));
  EXPECT_EQ(run("seq 1 3000 | IPCQ_REDIS_URL=" + url() + " ipcq-redis add many --input - --lines").exit_code(), 0);
  EXPECT_EQ(number({"XLEN", "many"}), 3000);
}

TEST_F(RedisCommandsTest, AddWithAKeyAddsOnceAlsoForLines) {
  redis();
  EXPECT_EQ(command("add tasks x --key order-1").exit_code(), 0);
  Command& again = command("add tasks x --key order-1");
  EXPECT_EQ(again.out(), entries("tasks")[0].id + "\n");
  EXPECT_THAT(again.err(), HasSubstr("was added before"));
  EXPECT_EQ(number({"XLEN", "tasks"}), 1);
  write("file", "a\nb\n");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(command("add tasks --input file --lines --key file-1").exit_code(), 0);
  EXPECT_EQ(number({"XLEN", "tasks"}), 3);
}

TEST_F(RedisCommandsTest, ADelayedTaskIsDoneWhenItIsDueUnderTheIdThatAddPrinted) {
  redis();
  handler_broker();
  bridge();
  const auto begin = std::chrono::steady_clock::now();
  Command& added = command("add tasks later --delay 0.6");
  ASSERT_TRUE(has_results(1));
  EXPECT_GE(std::chrono::steady_clock::now() - begin, 600ms);
  const std::string id = added.out().substr(0, added.out().size() - 1);
  EXPECT_EQ(results(), (std::map<std::string, std::string>{{id, "LATER"}}));
}

TEST_F(RedisCommandsTest, DeadLettersAreTriedAgain) {
  redis();
  handler_broker();
  std::vector<std::string> ids;
  for (int i = 0; i < 3; ++i) ids.push_back(add("tasks", std::string(5000, 'x')));
  EXPECT_EQ(bridge("--until-empty").exit_code(), 0);
  const auto dead = entries("tasks:dead");
  ASSERT_EQ(dead.size(), 3U);
  EXPECT_EQ(command("requeue tasks " + dead[1].id).out(), "1\n");
  EXPECT_EQ(entries("tasks").back().fields.at("ipcq-id"), ids[1]);
  EXPECT_EQ(command("requeue tasks").out(), "2\n");
  EXPECT_EQ(number({"XLEN", "tasks:dead"}), 0);
  Command& none = command("requeue tasks abc " + dead[1].id);
  EXPECT_EQ(none.exit_code(), 3);
  EXPECT_THAT(none.err(), HasSubstr("'tasks:dead' has 0 of these 2 dead letters"));
}

TEST_F(RedisCommandsTest, DeadLettersOfListsAreTriedAgainThoughTheListIsEmpty) {
  redis();
  handler_broker();
  ask({"RPUSH", "jobs", std::string(5000, 'x')});
  ask({"ZADD", "set", "3", std::string(5000, 'y')});
  for (const std::string source : {"--list jobs", "--sorted-set set"}) {
    Command& done = run("exec ipcq-redis --redis " + url() + " --queue work --until-empty " + source);
    EXPECT_EQ(done.exit_code(), 0) << done.err();
  }
  EXPECT_EQ(number({"EXISTS", "jobs", "set"}), 0);
  EXPECT_EQ(command("requeue jobs").out(), "1\n");
  EXPECT_EQ(command("requeue set").out(), "1\n");
  EXPECT_EQ(number({"LLEN", "jobs"}), 1);
  EXPECT_EQ(number({"ZCARD", "set"}), 1);
}

TEST_F(RedisCommandsTest, AddRefusesWhatSaysNothing) {
  redis();
  EXPECT_EQ(command("add").exit_code(), 2);
  EXPECT_THAT(command("add tasks").err(), HasSubstr("a task needs a PAYLOAD"));
  EXPECT_THAT(command("add tasks x --lines").err(), HasSubstr("--lines"));
  EXPECT_THAT(command("add tasks x --field-value note").err(), HasSubstr("'note' is no NAME=VALUE"));
  for (const std::string place : {"list:", "answers", "strem:answers", ":x"}) {
    EXPECT_THAT(command("add tasks x --reply-to " + place).err(),
                HasSubstr("--reply-to: '" + place + "' names no place"));
  }
  ask({"SET", "text", "x"});
  Command& type = command("add text x");
  EXPECT_EQ(type.exit_code(), 1);
  EXPECT_THAT(type.err(), HasSubstr("stream 'text': the key holds something else; choose another one\n"));
}

TEST_F(RedisCommandsTest, DoctorSaysAllThatItHasFoundOfAServerThatTakesNoWrites) {
  redis("--save '' --replicaof 127.0.0.1 1");
  const std::string said = command("doctor").out();
  EXPECT_THAT(said, HasSubstr("FAIL  redis role"));
  EXPECT_THAT(said, HasSubstr("redis persistence"));
  EXPECT_THAT(said, HasSubstr("WARN  redis commands"));
}

TEST_F(RedisCommandsTest, DoctorSaysWhetherTheServerKeepsWhatItConfirms) {
  redis();
  const std::string poor = command("doctor").out();
  EXPECT_THAT(poor, testing::ContainsRegex("OK    redis server     (Redis|Valkey) [0-9]"));
  EXPECT_THAT(poor, HasSubstr("WARN  redis persistence without an append-only file"));
  EXPECT_THAT(poor, HasSubstr("OK    redis scripts"));
  ask({"CONFIG", "SET", "appendonly", "yes"});
  ask({"CONFIG", "SET", "appendfsync", "always"});
  EXPECT_THAT(command("doctor").out(), HasSubstr("OK    redis persistence appendfsync always"));
  ask({"CONFIG", "SET", "maxmemory", "100mb"});
  ask({"CONFIG", "SET", "maxmemory-policy", "allkeys-lru"});
  Command& evicting = command("doctor");
  EXPECT_EQ(evicting.exit_code(), 1);
  EXPECT_THAT(evicting.out(), HasSubstr("FAIL  redis eviction"));
  EXPECT_THAT(evicting.out(), HasSubstr("-> set maxmemory-policy noeviction"));
}

TEST_F(RedisCommandsTest, DoctorOfTheMachineTakesTheServerIn) {
  redis();
  const std::string both = run("IPCQ_RUNNER=/nowhere exec ipcq doctor --redis " + url()).out();
  EXPECT_THAT(both, HasSubstr("run directory"));
  EXPECT_THAT(both, testing::ContainsRegex("OK    redis server     (Redis|Valkey) [0-9]"));
  Command& none = run("IPCQ_RUNNER=/nowhere exec ipcq doctor --json --redis unix:///nowhere");
  EXPECT_EQ(none.exit_code(), 1);
  EXPECT_THAT(none.out(), HasSubstr("start it, or say by --redis"));
  EXPECT_THAT(run("IPCQ_RUNNER=/nowhere exec ipcq doctor").out(), Not(HasSubstr("redis server")));
}

}  // namespace
}  // namespace ipcq_test
