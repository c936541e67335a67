// The data path needs no supervisor: with the broker's process stopped, two clients go on through the persistent
// kernel.
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>

#include "device_queues/runners.hpp"
#include "process/peers.hpp"
#include "spawn.hpp"

namespace ipcq_test {
namespace {

class GpuProcesses : public ProcessTest {
 protected:
  void SetUp() override {
    try {
      Broker(BrokerOptions{.name = name_ + "-try"}).create("q", {.slots = 0, .handler = "identity", .backend = "cuda"});
    } catch (const BackendError& e) {
      GTEST_SKIP() << e.what();
    }
  }
  void TearDown() override {
    if (broker_pid_ <= 0) return;
    ::kill(broker_pid_, SIGKILL);
    ::kill(broker_pid_, SIGCONT);
    ::waitpid(broker_pid_, nullptr, 0);
  }

  // ipcq-broker: a process that a signal can stop.
  void start_broker(const std::string& queue) {
    const char* const bin = std::getenv("IPCQ_BIN_DIR");
    ASSERT_NE(bin, nullptr) << "IPCQ_BIN_DIR is not set: the folder of ipcq-broker";
    broker_pid_ = spawn_program({std::string(bin) + "/ipcq-broker", "--name", name_, "--queue", queue});
    ASSERT_GT(broker_pid_, 0);
    bounded("the broker's queue", [&] {
      try {
        return !fetch_stats(name_).queues.empty();
      } catch (const Error&) {
        return false;
      }
    });
  }
  bool is_stopped() const {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(broker_pid_), &info, WSTOPPED | WNOHANG | WNOWAIT) == 0 &&
           info.si_pid == broker_pid_;
  }

  pid_t broker_pid_ = 0;
};

TEST_F(GpuProcesses, MessagesFlowWhileTheSupervisorIsStopped) {
  constexpr std::uint64_t kMessages = 10'000;
  const std::string count = "count=" + std::to_string(kMessages);
  start_broker("q=inline,handler=identity,backend=cuda,executor=persistent");
  Peer& consumer = spawn_ready("consumer", {"wait=spin", count, "at_end=exit"});
  Peer& producer = spawn_ready("producer", {"wait=spin", count, "id=1", "bytes=48", "go=1", "at_end=exit"});
  ASSERT_EQ(stats().executor, "persistent");
  ASSERT_EQ(::kill(broker_pid_, SIGSTOP), 0);
  ASSERT_TRUE(bounded("the broker to stop", [&] { return is_stopped(); }));
  producer.go();
  EXPECT_EQ(end_of(producer), "exit 0");
  EXPECT_EQ(end_of(consumer), "exit 0");
  EXPECT_TRUE(is_stopped());
  const GroupCheck check = check_group({&consumer}, {{1, kMessages, kMessages}});
  EXPECT_EQ(check.distinct, kMessages);
  EXPECT_EQ(check.inversions, 0u);
  ASSERT_EQ(::kill(broker_pid_, SIGCONT), 0);
  bounded("the broker to go on", [&] { return stats().published == kMessages; });
}

// Its runner goes with it, whatever the kernel is at; clients are told.
TEST_F(GpuProcesses, AKilledBrokerTakesItsRunnerAlong) {
  start_broker("q=inline,handler=identity,backend=cuda,executor=persistent");
  Peer& consumer = spawn_ready("consumer", {"wait=sleep", "timeout_ms=60000"});
  Peer& producer = spawn_ready("producer", {"wait=spin", "count=100000000", "id=1", "bytes=48", "timeout_ms=60000"});
  bounded("messages", [&] { return stats().published > 1000; });
  const std::vector<pid_t> before = runners(broker_pid_);
  ASSERT_EQ(before.size(), 1u);
  ASSERT_EQ(::kill(broker_pid_, SIGKILL), 0);
  ASSERT_EQ(::waitpid(broker_pid_, nullptr, 0), broker_pid_);
  broker_pid_ = 0;
  const std::string peer_dead = "exit " + std::to_string(100 + static_cast<int>(Status::peer_dead));
  EXPECT_EQ(end_of(consumer), peer_dead);
  EXPECT_EQ(end_of(producer), peer_dead);
  EXPECT_TRUE(bounded("the runner to end", [&] { return !process_state(before[0]).lives(); }));
}

}  // namespace
}  // namespace ipcq_test
