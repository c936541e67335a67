// A process with a GPU that is killed while its streams have work: what becomes of its slots. It is this program again,
// running the disabled test below.
#include <fcntl.h>

#include "cuda/client_fixture.hpp"

namespace ipcq_test {
namespace {

constexpr std::uint32_t kSlots = 4;

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

// Its message never comes, and its slots serve again; under MPS nobody knows when its GPU work ends.
TEST_P(CudaClientDies, ItsSlotsComeBackUnlessItsGpuWorkMayLiveOn) {
  START_OR_SKIP(GetParam(), kSlots);
  start_client(false);
  if (HasFatalFailure()) return;
  EXPECT_EQ(stats().quarantined, 0u);
  kill_client();
  const std::uint32_t lost = under_mps_ ? 2 : 0;
  EXPECT_TRUE(eventually([&] { return stats().empty == kSlots - lost; })) << broker_->dump("q");
  EXPECT_EQ(stats().quarantined, lost);
  goes_on(kSlots - lost);
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
}

}  // namespace
}  // namespace ipcq_test
