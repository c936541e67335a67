// A driver that does not come back: the runner that called it ends with its broker all the same, and so frees the GPU.
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "device_queues/runners.hpp"
#include "eventually.hpp"
#include "spawn.hpp"

namespace ipcq_test {
namespace {

class HangingDriver : public testing::Test {
 protected:
  HangingDriver() { ::setenv("IPCQ_SOFT_GPU_HANGS", file_.c_str(), 1); }
  ~HangingDriver() override {
    ::unsetenv("IPCQ_SOFT_GPU_HANGS");
    std::filesystem::remove(file_);
    end_broker();
    if (runner_ > 0 && process_state(runner_).program == "ipcq-runner") ::kill(runner_, SIGKILL);
  }
  // With a runner that hangs while it is asked for memory.
  void start_broker() {
    const char* const bin = std::getenv("IPCQ_BIN_DIR");
    ASSERT_NE(bin, nullptr) << "IPCQ_BIN_DIR is not set: the folder of ipcq-broker";
    broker_ = spawn_program({std::string(bin) + "/ipcq-broker", "--name", "hanging-" + std::to_string(getpid()),
                             "--queue", "q=4096,slots=4,handler=identity,backend=cuda"});
    ASSERT_GT(broker_, 0);
    ASSERT_TRUE(eventually([&] { return std::filesystem::exists(file_); }));
    ASSERT_EQ(runners(broker_).size(), 1u);
    runner_ = runners(broker_).front();
  }
  void end_broker() {
    if (broker_ <= 0) return;
    ::kill(broker_, SIGKILL);
    ::waitpid(broker_, nullptr, 0);
    broker_ = -1;
  }

  const std::string file_ = (std::filesystem::temp_directory_path() / ("hangs-" + std::to_string(getpid()))).string();
  pid_t broker_ = -1;
  pid_t runner_ = -1;
};

TEST_F(HangingDriver, DoesNotKeepTheRunnerOfAKilledBroker) {
  start_broker();
  ASSERT_TRUE(process_state(runner_).lives());
  end_broker();
  EXPECT_TRUE(eventually([&] { return !process_state(runner_).lives(); }));
}

}  // namespace
}  // namespace ipcq_test
