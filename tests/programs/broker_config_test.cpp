// The broker's configuration file: what it may hold, where an error lies, and which source wins.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "program/broker_config.hpp"
#include "programs/usage_error.hpp"

namespace ipcq::program {
namespace {

using testing::HasSubstr;

TEST(BrokerConfig, ReadsQueuesAndPools) {
  const auto config = parse_broker_config(R"(
name = "cameras"
group = "video"
drain_seconds = 2.5
[[pool]]
name = "frames"
size = "4k-rgb"
slots = 16
[[queue]]
name = "raw"
pool = "frames"
handler = "invert"
group = ["default", "preview:lossy"]
[[queue]]
name = "logs"
size = 4096
handler = "filter.cu"
handler_deadline = 0.5
)",
                                          "test.toml");
  EXPECT_EQ(config.name, "cameras");
  EXPECT_EQ(config.unix_group, "video");
  EXPECT_EQ(config.drain_seconds, 2.5);
  ASSERT_EQ(config.pools.size(), 1U);
  EXPECT_EQ(config.pools[0].options().slots, 16U);
  ASSERT_EQ(config.queues.size(), 2U);
  EXPECT_EQ(config.queues[0].options().pool, "frames");
  ASSERT_EQ(config.queues[0].options().groups.size(), 2U);
  EXPECT_EQ(config.queues[0].options().groups[1].policy, GroupPolicy::lossy);
  EXPECT_EQ(config.queues[1].options().size, 4096U);
  EXPECT_EQ(config.queues[1].options().handler_deadline, std::chrono::milliseconds(500));
}

TEST(BrokerConfig, ReadsTheKeysOfAGpu) {
  const auto config = parse_broker_config(R"(
[[pool]]
name = "frames"
backend = "cuda"
device = 1
mirror = "none"
[[queue]]
name = "raw"
backend = "cuda"
host_readable = false
executor = "persistent"
)",
                                          "test.toml");
  ASSERT_EQ(config.pools.size(), 1U);
  EXPECT_EQ(config.pools[0].options().device, 1);
  EXPECT_EQ(config.pools[0].options().mirror, Mirror::none);
  ASSERT_EQ(config.queues.size(), 1U);
  EXPECT_FALSE(config.queues[0].options().host_readable);
  EXPECT_EQ(config.queues[0].options().executor, ExecutorKind::persistent);
}

TEST(BrokerConfig, ReadsHowAQueueSendsManyPayloads) {
  const auto config = parse_broker_config(R"(
[[queue]]
name = "samples"
size = "64KiB"
batch = "records"
)",
                                          "test.toml");
  ASSERT_EQ(config.queues.size(), 1U);
  EXPECT_EQ(config.queues[0].options().batch, Batch::records);
  EXPECT_THAT(usage_error_of([] { parse_broker_config("[[queue]]\nname = 'q'\nbatch = true", "x.toml"); }),
              AllOf(HasSubstr("x.toml"), HasSubstr("messages, records")));
}

TEST(BrokerConfig, ErrorsNameFileAndLine) {
  const auto error_in = [](const char* text) { return usage_error_of([&] { parse_broker_config(text, "x.toml"); }); };
  EXPECT_THAT(error_in("name = \n"), HasSubstr("x.toml:1"));
  EXPECT_THAT(error_in("\nqueues = 3\n"), AllOf(HasSubstr("x.toml:2"), HasSubstr("unknown key 'queues'")));
  EXPECT_THAT(error_in("[[queue]]\nsize = 3\n"), HasSubstr("no name"));
  EXPECT_THAT(error_in("[[queue]]\nname = 'a'\nslots = 'many'\n"), AllOf(HasSubstr("x.toml:1"), HasSubstr("'many'")));
  EXPECT_THAT(error_in("[queue]\nname = 'a'\n"), HasSubstr("[[queue]]"));
  EXPECT_THAT(error_in("drain_seconds = -1\n"), HasSubstr("0 or more"));
}

TEST(BrokerConfig, AZeroByteEndsNoError) {
  const auto error_in = [](const std::string& line) {
    return usage_error_of([&] { parse_broker_config("[[queue]]\nname = 'q'\n" + line, "x.toml"); });
  };
  EXPECT_THAT(error_in("handler = \"nope\\u0000x\""),
              AllOf(HasSubstr("'nope\\x00x'"), HasSubstr("there are identity")));
  EXPECT_THAT(error_in("backend = \"host\\u0000\""), AllOf(HasSubstr("'host\\x00'"), HasSubstr("auto, host, cuda")));
  EXPECT_THAT(error_in("size = \"4KiB\\u0000\""), AllOf(HasSubstr("'4KiB\\x00'"), HasSubstr("KiB, MiB")));
  EXPECT_THAT(error_in("wait = \"spin\\u0000\"\nhandler = 'upper'"), HasSubstr("use spin, hybrid or sleep"));
}

TEST(BrokerConfig, AnEmptyPoolIsRefused) {
  EXPECT_THAT(usage_error_of([] { parse_broker_config("[[queue]]\nname = 'q'\nsize = 4096\npool = ''", "x.toml"); }),
              AllOf(HasSubstr("queue 'q', pool"), HasSubstr("leave it out for a pool of the queue's own")));
}

TEST(BrokerConfig, SecondsAreANumberThatAClockKnows) {
  for (const char* const text : {"drain_seconds = nan\n", "drain_seconds = inf\n", "drain_seconds = '5'\n"}) {
    EXPECT_THAT(usage_error_of([&] { parse_broker_config(text, "x.toml"); }), HasSubstr("number of seconds")) << text;
  }
  for (const char* const text : {"nan", "inf", "0x10", "-1", "5s"}) {
    ::setenv("IPCQ_DRAIN_SECONDS", text, 1);
    EXPECT_THAT(usage_error_of([] { environment_config(); }), HasSubstr("IPCQ_DRAIN_SECONDS: '")) << text;
  }
  ::setenv("IPCQ_DRAIN_SECONDS", "010", 1);
  EXPECT_EQ(environment_config().drain_seconds, 10.0);
  ::unsetenv("IPCQ_DRAIN_SECONDS");
}

TEST(BrokerConfig, OneSourceNamesAQueueOrPoolOnce) {
  const auto error_in = [](const char* text) { return usage_error_of([&] { parse_broker_config(text, "x.toml"); }); };
  EXPECT_THAT(error_in("[[queue]]\nname = 'q'\n[[queue]]\nname = 'q'\nslots = 3\n"),
              AllOf(HasSubstr("x.toml"), HasSubstr("queue 'q' is given twice")));
  EXPECT_THAT(error_in("[[pool]]\nname = 'p'\n[[pool]]\nname = 'p'\n"), HasSubstr("pool 'p' is given twice"));
  EXPECT_THAT(error_in("[[queue]]\nname = 'q'\ngroup = ['a', 'a']\n"), HasSubstr("'a' is given twice"));

  ::setenv("IPCQ_QUEUES", "q=4KiB r=4KiB q=1KiB", 1);
  EXPECT_THAT(usage_error_of([] { environment_config(); }), AllOf(HasSubstr("environment"), HasSubstr("queue 'q'")));
  ::unsetenv("IPCQ_QUEUES");
}

TEST(BrokerConfig, AFileThatCannotBeReadIsNotAnEmptyOne) {
  EXPECT_THAT(usage_error_of([] { read_broker_config(testing::TempDir()); }), HasSubstr("Is a directory"));
  EXPECT_THAT(usage_error_of([] { read_broker_config(testing::TempDir() + "/no/such"); }), HasSubstr("No such file"));
  EXPECT_THAT(usage_error_of([] { read_broker_config("/proc/self/mem"); }), HasSubstr("Input/output error"));
  EXPECT_TRUE(read_broker_config("/dev/null").queues.empty());
}

TEST(BrokerConfigFile, PathsOfHandlersBeginAtItsFolder) {
  const std::string path = testing::TempDir() + "paths-" + std::to_string(getpid()) + ".toml";
  std::ofstream(path) << "[[queue]]\nname = 'q'\nhandler = 'mine.cu'\ndefine = ['A', 'B=1']\ninclude = 'more'\n";
  const BrokerConfig config = read_broker_config(path);
  std::filesystem::remove(path);
  ASSERT_EQ(config.queues.size(), 1U);
  EXPECT_EQ(config.queues[0].options().handler, testing::TempDir() + "mine.cu");
  EXPECT_EQ(config.queues[0].options().includes.at(0), testing::TempDir() + "more");
  EXPECT_EQ(config.queues[0].options().defines.size(), 2U);
}

TEST(BrokerConfig, EarlierSourcesWin) {
  auto flags = parse_broker_config("name = 'a'\n[[queue]]\nname = 'q'\nslots = 3\n", "1");
  flags.fill_from(parse_broker_config("name = 'b'\ngroup = 'g'\n[[queue]]\nname = 'q'\n[[queue]]\nname = 'r'\n", "2"));
  EXPECT_EQ(flags.name, "a");
  EXPECT_EQ(flags.unix_group, "g");
  ASSERT_EQ(flags.queues.size(), 2U);
  EXPECT_EQ(flags.queues[0].options().slots, 3U);
  EXPECT_EQ(flags.queues[1].name(), "r");
}

}  // namespace
}  // namespace ipcq::program
