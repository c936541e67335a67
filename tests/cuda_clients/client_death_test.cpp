// A process with a GPU that is killed while its streams have work: what becomes of its slots. It is this program again,
// running the disabled test below.
#include <fcntl.h>

#include <fstream>
#include <utility>

#include "cuda_clients/client_fixture.hpp"

namespace ipcq_test {
namespace {

constexpr std::uint32_t kSlots = 4;

// Where the tests' driver plays the GPU, an MPS server as far as a runner looks for one: a control daemon's pid.
class PlayedMps {
 public:
  static bool is_possible() {
    char name[64] = {};
    check_cuda(driver().cuDeviceGetName(name, sizeof name, 0), "cuDeviceGetName", "GPU 0");
    return std::string_view(name) == "soft GPU";
  }
  PlayedMps() {
    if (Gpu::get().context() == nullptr || !is_possible()) return;
    char folder[] = "/tmp/ipcq-test-mps-XXXXXX";
    if (::mkdtemp(folder) == nullptr) return;
    folder_ = folder;
    std::ofstream(folder_ + kPidFile) << ::getpid() << '\n';
    ::setenv("CUDA_MPS_PIPE_DIRECTORY", folder, 1);
  }
  PlayedMps(const PlayedMps&) = delete;
  PlayedMps& operator=(const PlayedMps&) = delete;
  ~PlayedMps() {
    if (folder_.empty()) return;
    ::unsetenv("CUDA_MPS_PIPE_DIRECTORY");
    ::unlink((folder_ + kPidFile).c_str());
    ::rmdir(folder_.c_str());
  }

 private:
  static constexpr const char* kPidFile = "/nvidia-cuda-mps-control.pid";
  std::string folder_;
};

class CudaClientDies : public CudaClient {
 protected:
  void start_client(bool with_child) {
    int ready[2];
    ASSERT_EQ(::pipe2(ready, O_CLOEXEC), 0);
    ASSERT_EQ(::fcntl(ready[1], F_SETFD, 0), 0);
    ::setenv("IPCQ_TEST_BROKER", name_.c_str(), 1);
    ::setenv("IPCQ_TEST_READY_FD", std::to_string(ready[1]).c_str(), 1);
    ::setenv("IPCQ_TEST_WITH_CHILD", with_child ? "1" : "0", 1);
    client_ = spawn_program({"/proc/self/exe", "--gtest_also_run_disabled_tests",
                             "--gtest_filter=CudaClientPeer.DISABLED_LeavesWorkToItsStreams"});
    ASSERT_GT(client_, 0);
    ::close(ready[1]);
    // It says so once it has done its part.
    ASSERT_EQ(::read(ready[0], &child_, sizeof child_), static_cast<ssize_t>(sizeof child_)) << "the client ended";
    ::close(ready[0]);
  }
  void kill_client() {
    ::kill(client_, SIGKILL);
    ::waitpid(client_, nullptr, 0);
    client_ = 0;
  }
  void TearDown() override {
    if (client_ > 0) kill_client();
    if (child_ > 0) ::kill(child_, SIGKILL);
    CudaClient::TearDown();
  }

  QueueStats stats() const { return broker_->stats().queues.at(0); }
  // The slots that are left serve as before.
  void goes_on(std::uint32_t slots) {
    auto p = producer(false);
    auto c = consumer(false);
    const std::vector<std::byte> sent(kBytes, std::byte{7});
    std::vector<Message> held;
    for (std::uint32_t n = 0; n < slots; ++n) {
      ASSERT_EQ(p.send(sent, kBound), Status::ok) << n;
      auto m = c.receive(kBound);
      ASSERT_TRUE(m) << n << ": " << to_string(m.status());
      ASSERT_EQ(m->bytes().size(), kBytes);
      EXPECT_EQ(m->bytes()[kBytes - 1], std::byte{0xff ^ 7});
      held.push_back(std::move(*m));
    }
    EXPECT_EQ(p.send(sent, kMoment), Status::timeout);
  }

  pid_t client_ = 0;
  pid_t child_ = 0;  // of the client
};
INSTANTIATE_TEST_SUITE_P(, CudaClientDies, testing::Values(kKinds[3]), kind_name);

class CudaClientPeer : public CudaClient {};

TEST_F(CudaClientPeer, DISABLED_LeavesWorkToItsStreams) {
  const char* const broker = std::getenv("IPCQ_TEST_BROKER");
  ASSERT_NE(broker, nullptr) << "only for CudaClientDies";
  alarm(60);
  session_.emplace(connect({.broker = broker, .wait_for = kBound, .log = log()}));
  auto p = producer();
  CUstream out = gpu_->stream();
  wait_for(out, gate());
  ASSERT_EQ(publish(p, out, 1), Status::ok);
  auto held = cuda::loan(p, out, kBound);
  ASSERT_TRUE(held) << to_string(held.status());
  gpu_->fill(out, held->device(), kBytes, 2);
  const bool with_child = std::strcmp(std::getenv("IPCQ_TEST_WITH_CHILD"), "1") == 0;
  const pid_t child = with_child ? fork() : 0;
  if (with_child && child == 0) {
    alarm(60);
    for (;;) pause();
  }
  ASSERT_EQ(::write(std::atoi(std::getenv("IPCQ_TEST_READY_FD")), &child, sizeof child),
            static_cast<ssize_t>(sizeof child));
  for (;;) pause();
}

// Its message never comes, and its slots serve again.
TEST_P(CudaClientDies, ItsSlotsComeBack) {
  START_OR_SKIP(GetParam(), kSlots);
  start_client(false);
  if (HasFatalFailure()) return;
  EXPECT_EQ(stats().quarantined, 0u);
  kill_client();
  EXPECT_TRUE(eventually([&] { return stats().empty == kSlots; })) << broker_->dump("q");
  EXPECT_EQ(stats().quarantined, 0u);
  goes_on(kSlots);
}

// Where its runner is asked first: under an MPS server, which is played where the GPU is.
TEST_P(CudaClientDies, ItsSlotsComeBackUnderMps) {
  const PlayedMps mps;
  START_OR_SKIP(GetParam(), kSlots);
  for (int round = 0; round < 3; ++round) {  // as many slots as there are would be gone
    start_client(false);
    if (HasFatalFailure()) return;
    kill_client();
    EXPECT_TRUE(eventually([&] { return stats().empty == kSlots; })) << broker_->dump("q");
    EXPECT_EQ(stats().quarantined, 0u);
  }
  EXPECT_TRUE(under_mps_ || !PlayedMps::is_possible());
  goes_on(kSlots);
}

// The driver keeps the work of a dead process running while a child of it has its descriptors.
TEST_P(CudaClientDies, ItsSlotsStayOutOfUseWhileAChildOfItLives) {
  START_OR_SKIP(GetParam(), kSlots);
  start_client(true);
  if (HasFatalFailure()) return;
  ASSERT_GT(child_, 0);
  kill_client();
  EXPECT_TRUE(eventually([&] { return stats().quarantined == 2; })) << broker_->dump("q");
  EXPECT_EQ(stats().empty, kSlots - 2);
  goes_on(kSlots - 2);
  EXPECT_EQ(stats().quarantined, 2u);
  ::kill(std::exchange(child_, 0), SIGKILL);
  EXPECT_TRUE(eventually([&] { return stats().empty == kSlots; })) << broker_->dump("q");
  EXPECT_EQ(stats().quarantined, 0u);
  goes_on(kSlots);
}

}  // namespace
}  // namespace ipcq_test
