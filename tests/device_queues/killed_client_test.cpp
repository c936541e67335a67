// A client that is killed in the middle of a long kernel that writes to the pool, with other clients at work. Under MPS
// that takes the contexts of all other clients of the server along, the runner's too; without MPS it harms nobody.
// Either way the queues come back complete, and clients without a GPU need no new process.
//
// GPU clients are this program again, running the disabled test below, so that this process has no context to lose.
#include <fcntl.h>

#include <atomic>

#include "cuda_clients/client_fixture.hpp"

namespace ipcq_test {
namespace {

constexpr std::uint32_t kSlots = 4;
constexpr std::uint64_t kLong = 2'000'000'000;  // ns

double ms_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
}

class KilledClient : public testing::Test {
 protected:
  void SetUp() override {
    name_ = "killed-client-" + std::to_string(getpid());
    const char* const bin = std::getenv("IPCQ_BIN_DIR");
    if (bin != nullptr) ::setenv("IPCQ_RUNNER", (std::string(bin) + "/ipcq-runner").c_str(), 0);
    broker_.emplace(BrokerOptions{.name = name_, .log = [this](LogLevel, std::string_view text) {
                                    if (text.find(", under MPS") != text.npos) under_mps_ = true;
                                    std::fprintf(stderr, "%8.1f broker: %.*s\n", ms_since(start_),
                                                 static_cast<int>(text.size()), text.data());
                                  }});
    try {
      for (const char* q : {"q", "other"}) {
        broker_->create(q, {.slots = kSlots, .size = kBytes, .handler = "invert", .backend = "cuda"});
      }
    } catch (const BackendError& e) {
      GTEST_SKIP() << e.what();
    }
    session_.emplace(connect({.broker = name_, .wait_for = kBound}));
  }
  void TearDown() override {
    while (!clients_.empty()) kill_client(clients_.back());
  }

  // `task`: what the client does with queue `q`; returns once it says that it is at it.
  pid_t start_client(const char* task) {
    int ready[2];
    EXPECT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    EXPECT_EQ(::fcntl(ready[1], F_SETFD, 0), 0);
    ::setenv("IPCQ_TEST_BROKER", name_.c_str(), 1);
    ::setenv("IPCQ_TEST_READY_FD", std::to_string(ready[1]).c_str(), 1);
    ::setenv("IPCQ_TEST_TASK", task, 1);
    const pid_t pid = spawn_program(
        {"/proc/self/exe", "--gtest_also_run_disabled_tests", "--gtest_filter=KilledClientPeer.DISABLED_DoesItsTask"});
    ::close(ready[1]);
    char said = 0;
    EXPECT_EQ(::read(ready[0], &said, 1), 1) << "the client ended: " << task;
    ::close(ready[0]);
    clients_.push_back(pid);
    return pid;
  }
  void kill_client(pid_t pid) {
    ::kill(pid, SIGKILL);
    ::waitpid(pid, nullptr, 0);
    std::erase(clients_, pid);
  }
  static bool is_running(pid_t pid) {
    siginfo_t info{};
    return ::waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0;
  }
  // Through `q` by a client without a GPU, which attaches anew where it is told that the queue has closed.
  bool sends_and_receives(const char* queue) {
    try {
      auto p = session_->producer(queue, {.wait_for = kBound});
      auto c = session_->consumer(queue, {.wait_for = kBound});
      const std::vector<std::byte> sent(kBytes, std::byte{7});
      if (p.send(sent, kBound) != Status::ok) return false;
      auto m = c.receive(kBound);
      return m && m->bytes().size() == kBytes && m->bytes()[kBytes - 1] == std::byte{0xff ^ 7};
    } catch (const Error& e) {
      std::fprintf(stderr, "%8.1f %s\n", ms_since(start_), e.what());
      return false;
    }
  }
  QueueStats stats(std::string_view queue) const {
    for (const auto& q : broker_->stats().queues) {
      if (q.name == queue) return q;
    }
    return {};
  }

  const std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
  std::string name_;
  std::atomic<bool> under_mps_{false};
  std::optional<Broker> broker_;
  std::optional<Session> session_;
  std::vector<pid_t> clients_;
};

class KilledClientPeer : public CudaClient {};

TEST_F(KilledClientPeer, DISABLED_DoesItsTask) {
  const char* const broker = std::getenv("IPCQ_TEST_BROKER");
  ASSERT_NE(broker, nullptr) << "only for KilledClient";
  const std::string task = std::getenv("IPCQ_TEST_TASK");
  const int ready = std::atoi(std::getenv("IPCQ_TEST_READY_FD"));
  alarm(60);
  session_.emplace(connect({.broker = broker, .wait_for = kBound, .log = log()}));
  CUstream s = gpu_->stream();
  if (task == "write for long") {
    auto p = session_->producer("q", {.wait_for = kBound, .cuda = true});
    auto v = cuda::loan(p, s, kBound);
    ASSERT_TRUE(v) << to_string(v.status());
    std::uint32_t* const begun = gate();
    gpu_->scribble(s, v->device(), kBytes, kLong, begun);
    ASSERT_TRUE(eventually([&] { return __atomic_load_n(begun, __ATOMIC_ACQUIRE) != 0; }));
    ASSERT_EQ(::write(ready, "r", 1), 1);
    for (;;) pause();
  }
  // Goes on for as long as it can. A context that has failed is no use, and the MPS server waits for its end.
  auto p = session_->producer("other", {.wait_for = kBound, .cuda = true});
  auto c = session_->consumer("other", {.wait_for = kBound, .cuda = true});
  for (std::uint64_t n = 0;; ++n) {
    const Status published = publish(p, s, n);
    const auto m = published == Status::ok ? cuda::receive(c, s, kBound) : Result<cuda::Message>(published);
    CUresult done = CUDA_ERROR_NOT_READY;
    (void)eventually([&] { return (done = driver().cuStreamQuery(s)) != CUDA_ERROR_NOT_READY; });
    if (!m || done != CUDA_SUCCESS) {
      std::fprintf(stderr, "bystander: %s, its stream: %d\n", std::string(to_string(m.status())).c_str(), int{done});
      std::_Exit(3);
    }
    if (n == 100) {
      ASSERT_EQ(::write(ready, "r", 1), 1);
    }
  }
}

TEST_F(KilledClient, InALongKernelCostsNoSlotAndNoQueue) {
  for (int round = 0; round < 3; ++round) {
    const pid_t bystander = start_client("publish and receive");
    const pid_t writer = start_client("write for long");
    if (HasFailure()) return;
    ASSERT_TRUE(sends_and_receives("q"));
    const auto killed = std::chrono::steady_clock::now();
    kill_client(writer);
    const double gone = ms_since(killed);
    EXPECT_TRUE(eventually([&] { return stats("q").empty == kSlots; })) << stats("q").name;
    const double back = ms_since(killed);
    EXPECT_EQ(stats("q").quarantined, 0u);
    EXPECT_TRUE(eventually([&] { return sends_and_receives("q"); }));
    std::fprintf(stderr, "after the kill: process gone %.1f ms, all slots there %.1f ms, messages pass %.1f ms; %s\n",
                 gone, back, ms_since(killed),
                 is_running(bystander) ? "the bystander lives" : "the bystander has ended");
    EXPECT_TRUE(is_running(bystander) || under_mps_);
    kill_client(bystander);
    EXPECT_TRUE(eventually([&] { return stats("q").empty == kSlots && stats("q").quarantined == 0; }));
  }
  EXPECT_TRUE(broker_->stats().runner_deaths == 0 || under_mps_);
}

// The way to end a client under MPS that does not listen.
TEST_F(KilledClient, TakenFromItsMpsServerFirstHarmsNobody) {
  const pid_t bystander = start_client("publish and receive");
  const pid_t writer = start_client("write for long");
  if (HasFailure()) return;
  if (under_mps_) {
    const std::string command =
        "server=$(echo get_server_list | nvidia-cuda-mps-control | head -n 1); "
        "echo terminate_client $server " +
        std::to_string(writer) + " | timeout 20 nvidia-cuda-mps-control >&2";
    EXPECT_EQ(std::system(command.c_str()), 0);
  }
  const auto killed = std::chrono::steady_clock::now();
  kill_client(writer);
  EXPECT_TRUE(eventually([&] { return stats("q").empty == kSlots && stats("q").quarantined == 0; }));
  std::fprintf(stderr, "all slots there %.1f ms after the kill\n", ms_since(killed));
  EXPECT_TRUE(sends_and_receives("q"));
  EXPECT_TRUE(is_running(bystander));
  EXPECT_EQ(broker_->stats().runner_deaths, 0u);
}

}  // namespace
}  // namespace ipcq_test
