// What programs write: files that must not be lost, outputs that nobody reads, and text that cannot be written.
#include <signal.h>

#include <filesystem>
#include <thread>

#include <nlohmann/json.hpp>

#include "programs/commands.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;
using OutputTest = ProgramTest;
constexpr const char* kSend = "head -c 163840 /dev/zero | ipcq-producer q --block 4KiB";  // 40, more than a pipe takes

TEST_F(OutputTest, AConsumerThatCannotAttachLeavesTheOutputAsItWas) {
  write("old", "precious");
  const auto refused = [&](const std::string& arguments, int code) {
    for (const std::string file : {"old", "new"}) {
      Command& consumer = run("exec ipcq-consumer --wait-for 0 --output " + file + " " + arguments);
      EXPECT_EQ(consumer.exit_code(), code) << arguments << "\n" << consumer.err();
    }
    EXPECT_EQ(contents("old"), "precious") << arguments;
    EXPECT_FALSE(std::filesystem::exists(path("new"))) << arguments;
  };
  refused("q", 3);  // no broker
  broker("--queue q=4KiB,slots=4,backend=host,endpoints=1");
  refused("none", 3);
  refused("q --group no/group", 2);
  start("exec ipcq-consumer q --follow");
  ASSERT_TRUE(eventually([&] { return stat("queues/0/groups/0/members") == 1; }));
  refused("q", 2);  // no endpoint is free
}

TEST_F(OutputTest, AConsumerThatHasAttachedReplacesWhatWasThere) {
  broker(kQueue);
  write("file", "old content, longer than the new one");
  std::filesystem::create_symlink("file", path("link"));
  std::filesystem::create_hard_link(path("file"), path("second"));
  ASSERT_EQ(run("echo new | ipcq-producer q --lines").exit_code(), 0);
  EXPECT_EQ(run("exec ipcq-consumer q --output link").exit_code(), 0);
  EXPECT_EQ(contents("second"), "new\n");  // the same file
  EXPECT_TRUE(std::filesystem::is_symlink(path("link")));
  EXPECT_EQ(run("exec ipcq-consumer q --output file --wait-for 0").exit_code(), 0);
  EXPECT_EQ(contents("file"), "");  // a stream without messages
  ASSERT_EQ(run("echo newer | ipcq-producer q --lines").exit_code(), 0);
  std::filesystem::create_symlink("made", path("dangling"));
  EXPECT_EQ(run("exec ipcq-consumer q --output dangling").exit_code(), 0);
  EXPECT_EQ(contents("made"), "newer\n");
}

TEST_F(OutputTest, AnOutputThatCannotBeIsRefusedBeforeAMessageIsTaken) {
  broker(kQueue);
  ASSERT_EQ(run("echo a | ipcq-producer q --lines").exit_code(), 0);
  for (const char* output : {".", "none/file", "/dev/null/file"}) {
    EXPECT_EQ(run(std::string("exec ipcq-consumer q --output ") + output).exit_code(), 2) << output;
  }
  EXPECT_EQ(stat("queues/0/groups/0/waiting"), 1);
}

TEST_F(OutputTest, AFifoIsWrittenOnceItHasAReader) {
  broker(kQueue);
  ASSERT_EQ(run(kSend).exit_code(), 0);
  Command& consumer = start("mkfifo pipe; exec ipcq-consumer q --output pipe");
  std::this_thread::sleep_for(100ms);
  EXPECT_EQ(stat("queues/0/groups/0/delivered"), 0);
  EXPECT_EQ(run("exec cat pipe").out().size(), 163840U);
  EXPECT_EQ(consumer.exit_code(), 0) << consumer.err();
}

TEST_F(OutputTest, ASignalEndsAConsumerThatWaitsForTheReaderOfAFifo) {
  broker(kQueue);
  Command& consumer = start("mkfifo pipe; exec ipcq-consumer q --output pipe");
  ASSERT_TRUE(eventually([&] { return std::filesystem::exists(path("pipe")); }));
  std::this_thread::sleep_for(200ms);
  consumer.signal(SIGTERM);
  EXPECT_EQ(consumer.exit_code(), 128 + SIGTERM);
}

// What is not out whole goes back and is delivered once more; nothing else is.
TEST_F(OutputTest, ASignalEndsAConsumerWhoseOutputNobodyReads) {
  broker(kQueue);
  for (const long size : {4096, 3000}) {
    for (const char* output : {"--output - >pipe", "--output pipe >json"}) {
      const std::string bytes = std::to_string(size);
      ASSERT_EQ(run("head -c $((40 * " + bytes + ")) /dev/zero | ipcq-producer q --block " + bytes).exit_code(), 0);
      const long before = stat("queues/0/groups/0/delivered");
      Command& consumer =
          start(std::string("rm -f pipe; mkfifo pipe; exec 3<>pipe; exec ipcq-consumer q --follow --json ") + output);
      ASSERT_TRUE(eventually([&] { return stat("queues/0/groups/0/held") == 40; }));
      std::this_thread::sleep_for(200ms);
      consumer.signal(SIGTERM);
      EXPECT_EQ(consumer.exit_code(), 0) << consumer.err();
      EXPECT_THAT(contents("json") + consumer.err(), HasSubstr("\"status\":\"interrupted\"")) << output;
      const long out = 65536 / size;  // whole in the pipe
      EXPECT_EQ(stat("queues/0/groups/0/delivered"), before + out) << output;
      const bool torn = 65536 % size != 0;
      EXPECT_EQ(consumer.err().find("that went back to the queue") != std::string::npos, torn) << consumer.err();
      EXPECT_EQ(run("exec ipcq-consumer q --output rest").exit_code(), 0);
      EXPECT_EQ(contents("rest").size(), static_cast<std::size_t>((40 - out) * size)) << output;
    }
  }
}

// 4 KiB each third of a second: a message of 4 MiB would take six minutes. What is read in time is finished.
TEST_F(OutputTest, ASignalEndsAConsumerWhoseReaderIsSlow) {
  broker("--queue q=4MiB,slots=4,backend=host");
  const std::string read_slowly = "while dd bs=4096 count=1 of=/dev/null status=none; do sleep 0.3; done <pipe & ";
  for (const char* output : {"--output - >pipe", "--output pipe"}) {
    ASSERT_EQ(run("head -c 8M /dev/zero | ipcq-producer q --block 4MiB").exit_code(), 0);
    Command& consumer = start("rm -f pipe; mkfifo pipe; exec 3<>pipe; " + read_slowly +
                              "exec ipcq-consumer q --follow --json " + output);
    ASSERT_TRUE(eventually([&] { return stat("queues/0/groups/0/held") > 0; }));
    std::this_thread::sleep_for(700ms);
    consumer.signal(SIGTERM);
    EXPECT_EQ(consumer.exit_code(), 0) << consumer.err();
    EXPECT_THAT(consumer.err(), HasSubstr("of a message that went back to the queue")) << output;
    EXPECT_EQ(run("exec ipcq-consumer q --output rest").exit_code(), 0);
    EXPECT_EQ(contents("rest").size(), 8U << 20) << output;
  }
}

TEST_F(OutputTest, ASignalEndsAProgramWhoseTextIsReadSlowly) {
  std::string queues;
  for (int i = 0; i < 300; ++i) queues += "queue" + std::to_string(i) + "=inline,lines=2,endpoints=1,held=1 ";
  Command& server = start("export IPCQ_QUEUES='" + queues + "'; exec ipcq-broker --name $IPCQ_BROKER");
  ASSERT_TRUE(eventually([&] { return server.err().find("serving at") != std::string::npos || server.ended(); }));
  const std::size_t text = run("exec ipcq stats --json").out().size();
  ASSERT_TRUE(text > 200'000 && text < 300'000) << text;  // of which a pipe takes 65536
  Command& stats = start(
      "mkfifo pipe; exec 3<>pipe\n"
      "{ head -c 300000 >first; while dd bs=4096 count=1 of=/dev/null status=none; do sleep 0.8; done; } <pipe &\n"
      "exec ipcq stats --json --watch 0.01 >pipe");
  ASSERT_TRUE(eventually([&] { return contents("first").size() == 300'000; }));  // so it is at its second text
  std::this_thread::sleep_for(500ms);
  stats.signal(SIGTERM);
  EXPECT_EQ(stats.exit_code(), 1);
  EXPECT_THAT(stats.err(), HasSubstr("cannot write to standard output"));
}

TEST_F(OutputTest, ASignalEndsAProgramWhoseTextNobodyReads) {
  broker(kQueue);
  Command& stats = start("mkfifo pipe; exec 3<>pipe; head -c 65536 /dev/zero >&3; exec ipcq stats --watch 0.01 >pipe");
  std::this_thread::sleep_for(300ms);
  stats.signal(SIGTERM);
  EXPECT_NE(stats.exit_code(), 0);
  Command& consumer = start("exec 3<>pipe; exec ipcq-consumer q --follow --json >pipe");  // filled anew
  ASSERT_TRUE(eventually([&] { return stat("queues/0/groups/0/members") == 1; }));
  ASSERT_EQ(run("timeout 5 head -c 65536 /dev/zero >pipe; true").exit_code(), 0);
  consumer.signal(SIGTERM);
  EXPECT_TRUE(consumer.exit_code().has_value());
}

TEST_F(OutputTest, TextThatCannotBeWrittenIsAnError) {
  broker(kQueue);
  for (const char* command :
       {"ipcq stats", "ipcq stats --json", "ipcq stats --watch 0.01", "ipcq list", "ipcq list --json", "ipcq dump q",
        "ipcq doctor", "ipcq clean --dry-run --json", "ipcq --help", "ipcq --version", "ipcq stats --help",
        "ipcq-broker --version", "ipcq-producer --help", "ipcq-consumer --version",
        "ipcq-producer q --generate zero --count 1 --json", "ipcq-consumer q --json"}) {
    Command& full = run(std::string("exec ") + command + " >/dev/full");
    EXPECT_EQ(full.exit_code(), 1) << command;
    EXPECT_THAT(full.err(), HasSubstr("cannot write to standard output: No space left on device")) << command;
  }
  Command& other = start("exec ipcq-broker --name $IPCQ_BROKER-2 --json --queue q=4KiB,backend=host >/dev/full");
  ASSERT_TRUE(eventually([&] { return other.err().find("serving at") != std::string::npos; }));
  other.signal(SIGTERM);
  EXPECT_EQ(other.exit_code(), 1);
}

TEST_F(OutputTest, TextForAClosedStandardOutputIsAnError) {
  broker(kQueue);
  for (const char* script :
       {"exec ipcq stats >&-", "exec ipcq list --json >&-", "exec ipcq --version >&-", "exec ipcq-broker --help >&-"}) {
    Command& command = run(script);
    EXPECT_EQ(command.exit_code(), 1) << script;
    EXPECT_THAT(command.err(), HasSubstr("standard output")) << script;
  }
}

TEST_F(OutputTest, AReaderThatHasGoneIsNone) {
  broker(kQueue);
  for (const char* command : {"ipcq stats", "ipcq stats --json", "ipcq stats --watch 0.01", "ipcq --help"}) {
    Command& piped =
        run(std::string("ipcq list >/dev/null; { sleep 0.1; exec ") + command + "; } | true; exit ${PIPESTATUS[0]}");
    EXPECT_EQ(piped.exit_code(), 0) << command << "\n" << piped.err();
  }
}

TEST_F(OutputTest, AConsumerWhoseOutputFailsStillSaysWhatItReceived) {
  broker(kQueue);
  ASSERT_EQ(run(kSend).exit_code(), 0);
  const auto summary = [](const Command& consumer) {
    auto object = nlohmann::json::parse(consumer.out(), nullptr, false);
    return object.is_object() ? object : nlohmann::json{{"status", "no JSON"}, {"frames", -1}};
  };
  Command& full = run("exec ipcq-consumer q --json --output /dev/full");
  EXPECT_EQ(full.exit_code(), 1);
  EXPECT_EQ(summary(full)["status"], "error");
  EXPECT_EQ(summary(full)["frames"], 0);
  EXPECT_EQ(summary(full)["returned"], 40);
  EXPECT_TRUE(summary(full)["p50_us"].is_null()) << full.out();
  Command& limited = run("ulimit -f 32; exec ipcq-consumer q --json --output out");
  EXPECT_EQ(limited.exit_code(), 1);
  EXPECT_THAT(limited.err(), HasSubstr("File too large"));
  EXPECT_EQ(summary(limited)["status"], "error");
  EXPECT_EQ(summary(limited)["frames"], 8);
  EXPECT_GE(summary(limited)["returned"], 1);  // as many as it had taken
  EXPECT_EQ(stat("queues/0/groups/0/waiting") + stat("queues/0/groups/0/held"), 32);
}

TEST_F(OutputTest, ABrokersNameIsShownWithoutControlCharacters) {
  const std::string start_it =
      "exec ipcq-broker --name \"$PWD/\"$'\\e[31mX\\nforged' --queue q=4KiB,slots=1,backend=host";
  const auto serves = [](const Command& c) { return c.err().find("serving at") != std::string::npos; };
  Command& killed = start(start_it);
  ASSERT_TRUE(eventually([&] { return serves(killed); })) << killed.err();
  killed.signal(SIGKILL);
  ASSERT_EQ(killed.exit_code(), 128 + SIGKILL);
  Command& next = start(start_it);
  ASSERT_TRUE(eventually([&] { return serves(next); })) << next.err();
  const auto tells = [&] { return next.err().find("did not stop cleanly") != std::string::npos; };
  EXPECT_TRUE(eventually(tells)) << next.err();  // by the library's own thread
  const std::string texts = next.err() + run("exec ipcq list").out() + run("exec ipcq doctor").out() +
                            run("exec ipcq stats --broker \"$PWD/\"$'\\e[31mX\\nforged'").out();
  EXPECT_THAT(texts, HasSubstr("\\x1b[31mX\\x0aforged"));
  EXPECT_THAT(texts, testing::AllOf(testing::Not(HasSubstr("\033")), testing::Not(HasSubstr("\nforged"))));
}

// `ulimit -f` would end a program by SIGXFSZ.
TEST_F(OutputTest, ALimitOfFileSizesIsAnErrorAndLeavesNothing) {
  Command& server = run("ulimit -f 16; exec ipcq-broker --name $IPCQ_BROKER --queue q=1MiB,slots=8,backend=host");
  EXPECT_EQ(server.exit_code(), 1);
  EXPECT_THAT(server.err(), HasSubstr("File too large"));
  EXPECT_FALSE(std::filesystem::exists(path("ipcq/" + broker_name() + ".sock")));
  EXPECT_FALSE(std::filesystem::exists(path("ipcq/" + broker_name() + ".lock")));
  EXPECT_THAT(run("exec ipcq list --json").out(), testing::Not(HasSubstr(broker_name())));
}

}  // namespace
}  // namespace ipcq_test
