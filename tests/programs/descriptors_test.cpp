// The descriptors that a program is started with, and those that it is not.
#include <signal.h>

#include <algorithm>
#include <filesystem>

#include "programs/commands.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;
using DescriptorsTest = ProgramTest;

TEST_F(DescriptorsTest, AProducerWithoutStandardInputSaysSo) {
  broker(kQueue);
  for (const char* script :
       {"exec ipcq-producer q --lines <&-", "exec ipcq-producer q --lines 0>out",
        "exec ipcq-producer q --lines --input /dev/stdin <&-", "exec ipcq-producer q --block 4 --input /dev/fd/7",
        "exec ipcq-producer q --lines --input /dev/./stdin <&-", "exec ipcq-producer q --lines --input //dev/stdin <&-",
        "exec ipcq-producer q --block 4 --input /proc/thread-self/fd/0 <&-",
        "ln -sf /dev/stdin link; exec ipcq-producer q --lines --input link <&-"}) {
    Command& producer = run(script);
    EXPECT_EQ(producer.exit_code(), 2) << script;
    EXPECT_THAT(producer.err(), HasSubstr("was not open for reading")) << script;
  }
  EXPECT_EQ(stat("queues/0/producers_lost"), 0);  // none of them attached
}

TEST_F(DescriptorsTest, AConsumerWithoutStandardOutputTakesNothing) {
  broker(kQueue);
  ASSERT_EQ(run("seq 10 | ipcq-producer q --lines").exit_code(), 0);
  for (const char* script :
       {"exec ipcq-consumer q --output - >&-", "exec ipcq-consumer q --output - 1</dev/null",
        "exec ipcq-consumer q --output /dev/stdout >&-", "exec ipcq-consumer q --output /dev/fd/1 >&-",
        "exec ipcq-consumer q --output /proc/self/fd/6", "exec ipcq-consumer q --output /proc/thread-self/fd/6",
        "exec ipcq-consumer q --output /dev/./stdout >&-", "exec ipcq-consumer q --output //dev/stdout >&-",
        "exec ipcq-consumer q --output /proc/thread-self/fd/1 >&-", "exec ipcq-consumer q --output /dev/fd/../fd/1 >&-",
        "exec ipcq-consumer q --output /proc/$$/fd/1 >&-",
        "ln -sf /dev/stdout link; exec ipcq-consumer q --output link >&-"}) {
    Command& consumer = run(script);
    EXPECT_EQ(consumer.exit_code(), 2) << script;
    EXPECT_THAT(consumer.err(), HasSubstr("was not open for writing")) << script;
  }
  // A log that is lost does not make its descriptor an output.
  EXPECT_EQ(run("exec ipcq-consumer q --output /dev/./stderr 2>&-").exit_code(), 2);
  EXPECT_EQ(stat("queues/0/groups/0/waiting"), 10);
  EXPECT_EQ(stat("queues/0/groups/0/delivered"), 0);
}

TEST_F(DescriptorsTest, AFileThatIsNamedIsUsedThoughTheThreeAreClosed) {
  broker(kQueue);
  EXPECT_EQ(run("exec ipcq-producer q --lines --input /dev/null <&- >&- 2>&-").exit_code(), 0);
  ASSERT_EQ(run("seq 10 | ipcq-producer q --lines").exit_code(), 0);
  EXPECT_EQ(run("exec ipcq-consumer q --count 3 --output /dev/null <&- >&- 2>&-").exit_code(), 0);
  EXPECT_EQ(run("exec ipcq-consumer q --count 3 --output /dev/fd/9 <&- >&- 2>&- 9>out").exit_code(), 0);
  EXPECT_EQ(contents("out"), "4\n5\n6\n");
  EXPECT_EQ(run("exec ipcq-consumer q --count 1 --output - --json >out 2>&-").exit_code(), 0);
  EXPECT_EQ(contents("out"), "7\n");
}

TEST_F(DescriptorsTest, AConfigurationThatIsToComeFromAClosedDescriptorIsNotEmpty) {
  for (const char* path : {"/dev/stdin", "/dev/./stdin", "/proc/thread-self/fd/0", "/dev/fd/7"}) {
    Command& command =
        run(std::string("exec ipcq-broker --name $IPCQ_BROKER ") + kQueue + " --config " + path + " <&-");
    EXPECT_EQ(command.exit_code(), 2) << path;
    EXPECT_THAT(command.err(), HasSubstr("was not open for reading")) << path;
  }
}

TEST_F(DescriptorsTest, ProgramsThatNeedNoneOfTheThreeWorkWithoutThem) {
  Command& server =
      start(std::string("exec ipcq-broker --name $IPCQ_BROKER --drain-seconds 0 ") + kQueue + " <&- >&- 2>&-");
  ASSERT_TRUE(eventually([&] { return stat("clients") >= 0 || server.ended(); }));
  ASSERT_FALSE(server.ended());
  for (const char* fd : {"0", "1", "2"}) {
    EXPECT_EQ(std::filesystem::read_symlink("/proc/" + std::to_string(server.pid()) + "/fd/" + fd), "/");
  }
  write("in", "one\ntwo\n");
  EXPECT_EQ(run("exec ipcq-producer q --lines --input in <&- >&- 2>&-").exit_code(), 0);
  EXPECT_EQ(run("exec ipcq-consumer q --output out <&- >&- 2>&-").exit_code(), 0);
  EXPECT_EQ(contents("out"), "one\ntwo\n");
  EXPECT_EQ(run("exec ipcq end q <&- >&- 2>&-").exit_code(), 0);
  server.signal(SIGTERM);
  EXPECT_EQ(server.exit_code(), 0);
}

TEST_F(DescriptorsTest, AReadyDescriptorThatNobodyOpenedIsRefusedBeforeAnythingIsMade) {
  write("file", "");
  for (const char* redirection : {"--ready-fd 3", "--ready-fd 4", "--ready-fd 5", "--ready-fd 9", "--ready-fd 10",
                                  "--ready-fd 9 9<file", "--ready-fd 0 <&-", "--ready-fd 1 >&-"}) {
    Command& command = run(std::string("exec ipcq-broker --name $IPCQ_BROKER ") + kQueue + " " + redirection);
    EXPECT_EQ(command.exit_code(), 2) << redirection;
    EXPECT_THAT(command.err(), HasSubstr("--ready-fd")) << redirection;
    EXPECT_THAT(command.err(), testing::Not(HasSubstr("serving"))) << redirection;
    EXPECT_FALSE(std::filesystem::exists(path("ipcq/" + broker_name() + ".sock"))) << redirection;
  }
}

TEST_F(DescriptorsTest, AReadyDescriptorThatWasOpenedIsTold) {
  Command& server = broker(std::string(kQueue) + " --ready-fd 9 9>ready");
  EXPECT_TRUE(eventually([&] { return contents("ready") == "\n"; }));
  EXPECT_EQ(stat("clients"), 0);
  const std::string ready = path("ready");
  const auto leads_there = [&](const auto& entry) { return std::filesystem::read_symlink(entry.path()) == ready; };
  const std::filesystem::directory_iterator descriptors("/proc/" + std::to_string(server.pid()) + "/fd");
  EXPECT_EQ(std::count_if(begin(descriptors), end(descriptors), leads_there), 0);  // it is closed
  server.signal(SIGTERM);
  EXPECT_EQ(server.exit_code(), 0);
  Command& other = broker(std::string(kQueue) + " --ready-fd 1 --json");
  EXPECT_TRUE(eventually([&] { return other.out() == "\n"; }));
  other.signal(SIGTERM);
  EXPECT_EQ(other.exit_code(), 0);
  EXPECT_THAT(other.out(), HasSubstr("\n{"));  // standard output is not
}

TEST_F(DescriptorsTest, ABrokerWhoseReadinessNobodyReadsServesAndStops) {
  Command& server = start(std::string("mkfifo ready; exec 9<>ready; head -c 65536 /dev/zero >&9\n") +
                          "exec ipcq-broker --name $IPCQ_BROKER --drain-seconds 0 --ready-fd 9 " + kQueue);
  ASSERT_TRUE(eventually([&] { return stat("clients") >= 0 || server.ended(); }));
  server.signal(SIGTERM);
  EXPECT_EQ(server.exit_code(), 0) << server.err();
}

}  // namespace
}  // namespace ipcq_test
