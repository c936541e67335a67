// ipcq-broker with a standard error that nobody reads.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "eventually.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;

class StuckStderr : public testing::Test {
 protected:
  void SetUp() override {
    const char* const bin = std::getenv("IPCQ_BIN_DIR");
    ASSERT_NE(bin, nullptr) << "IPCQ_BIN_DIR is not set: the folder of ipcq-broker";
    ASSERT_EQ(::pipe2(pipe_, O_CLOEXEC), 0);
    ASSERT_NE(::fcntl(pipe_[1], F_SETPIPE_SZ, 4096), -1);
    ASSERT_EQ(::fcntl(pipe_[1], F_SETFL, O_NONBLOCK), 0);
    const std::string filler(4096, '\n');
    while (::write(pipe_[1], filler.data(), filler.size()) > 0) {
    }
    ASSERT_EQ(::fcntl(pipe_[1], F_SETFL, 0), 0);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, pipe_[1], STDERR_FILENO);
    const std::string program = std::string(bin) + "/ipcq-broker";
    std::vector<std::string> words = {program, "--name", name_, "--queue", "q=200,slots=4"};
    std::vector<char*> argv;
    for (auto& w : words) argv.push_back(w.data());
    argv.push_back(nullptr);
    EXPECT_EQ(::posix_spawn(&pid_, program.c_str(), &actions, nullptr, argv.data(), environ), 0);
    posix_spawn_file_actions_destroy(&actions);
  }
  ~StuckStderr() override {
    if (pid_ > 0) ::kill(pid_, SIGKILL);
    if (pid_ > 0) ::waitpid(pid_, nullptr, 0);
    for (const int fd : pipe_) ::close(fd);
  }
  std::optional<int> ended() {
    int status = 0;
    if (::waitpid(pid_, &status, WNOHANG) != pid_) return {};
    pid_ = -1;
    return status;
  }

  const std::string name_ = "stuck-stderr-" + std::to_string(::getpid());
  int pipe_[2] = {-1, -1};
  pid_t pid_ = -1;
};

TEST_F(StuckStderr, StopsNoBroker) {
  const Watchdog watchdog(kBound * 2, [] { return std::string(); });
  Session session = connect({.broker = name_, .wait_for = kBound});
  Producer producer = session.producer("q", {.wait_for = kBound});
  for (int i = 0; i < 5; ++i) {  // ends of clients are worth a line each
    const pid_t child = ::fork();
    if (child == 0) {
      Session own = connect({.broker = name_, .wait_for = kBound});
      Producer dies = own.producer("q");
      ::_exit(0);
    }
    ASSERT_EQ(::waitpid(child, nullptr, 0), child);
  }
  EXPECT_TRUE(eventually([&] { return fetch_stats(name_).deaths == 5; }));
  auto consumer = session.consumer("q");
  ::kill(pid_, SIGTERM);
  std::optional<int> status;
  EXPECT_TRUE(eventually([&] { return (status = ended()).has_value(); }));
  EXPECT_EQ(status, 0);
}

}  // namespace
}  // namespace ipcq_test
