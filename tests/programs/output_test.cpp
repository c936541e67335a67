// What programs write: files that must not be lost, outputs that nobody reads, and text that cannot be written.
#include <signal.h>

#include <filesystem>
#include <thread>

#include "programs/commands.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;
using OutputTest = ProgramTest;
constexpr const char* kQueue = "--queue q=4KiB,slots=64,backend=host";

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

TEST_F(OutputTest, AReaderThatHasGoneIsNone) {
  broker(kQueue);
  for (const char* command : {"ipcq stats", "ipcq stats --json", "ipcq stats --watch 0.01", "ipcq --help"}) {
    Command& piped =
        run(std::string("ipcq list >/dev/null; { sleep 0.1; exec ") + command + "; } | true; exit ${PIPESTATUS[0]}");
    EXPECT_EQ(piped.exit_code(), 0) << command << "\n" << piped.err();
  }
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
