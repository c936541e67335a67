// What a broker does about queues on a GPU, with the stand-in for the runner: who may attach, the switch of executors
// that a client with a GPU brings about, and queues that come back after their runner's death.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "device_queues/runners.hpp"
#include "errors.hpp"
#include "eventually.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;
using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

class BrokerDevice : public testing::Test {
 protected:
  BrokerDevice() { ::setenv("IPCQ_STAND_IN_FAILS", fails_.c_str(), 1); }
  ~BrokerDevice() override {
    std::filesystem::remove(fails_);
    ::unsetenv("IPCQ_STAND_IN_FAILS");
  }
  static QueueOptions on_device() { return {.slots = 4, .size = 4096, .handler = "invert", .backend = "cuda"}; }
  Producer producer_of_a_full_queue() {
    QueueOptions o = on_device();
    o.lines = 2;
    broker_.create("q", o);
    auto p = session_.producer("q");
    for (unsigned n = 0; n < o.lines; ++n) EXPECT_EQ(p.send("x", 1, kBound), Status::ok);
    return p;
  }
  void exchange() {
    auto c = session_.consumer("q", {.until = Until::forever, .wait_for = kBound});
    auto p = session_.producer("q", {.wait_for = kBound});
    const std::string text(1000, 'x');
    ASSERT_EQ(p.send(text.data(), text.size(), kBound), Status::ok);
    auto m = c.receive(kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    ASSERT_EQ(m->bytes().size(), text.size());
    for (const auto b : m->bytes()) ASSERT_EQ(b, static_cast<std::byte>(255 - 'x'));
  }

  const std::string name_ = "broker-device-" + std::to_string(getpid());
  const std::string fails_ = (std::filesystem::temp_directory_path() / (name_ + "-fails")).string();
  Broker broker_{BrokerOptions{.name = name_}};
  Session session_ = connect({.broker = name_});
};

TEST_F(BrokerDevice, QueuesOfARunnerComeBackOnceTheDeviceTakesThemAgain) {
  broker_.create("q", on_device());
  exchange();
  ASSERT_EQ(runners().size(), 1u);
  std::ofstream(fails_) << "";
  ::kill(runners().front(), SIGKILL);
  ASSERT_TRUE(eventually([&] { return broker_.stats().runner_deaths == 1; }));
  std::this_thread::sleep_for(600ms);  // more than one try
  EXPECT_TRUE(broker_.stats().queues.empty());
  std::filesystem::remove(fails_);
  ASSERT_TRUE(eventually([&] { return broker_.stats().queues.size() == 1; }));
  exchange();
}

// A multi-process service whose client was killed.
TEST_F(BrokerDevice, ADeviceThatTakesNobodyInForAMomentIsTriedAgain) {
  std::ofstream(fails_) << "for now";
  std::thread later([this] {
    std::this_thread::sleep_for(500ms);
    std::filesystem::remove(fails_);
  });
  EXPECT_NO_THROW(broker_.create("q", on_device()));
  later.join();
  exchange();
}

TEST_F(BrokerDevice, ClientsWithoutAGpuAreToldWhatTheyCannotReach) {
  broker_.create("bare", {.slots = 2, .backend = "cuda", .mirror = Mirror::none});
  const auto needs_mirror = AllOf(HasSubstr("'bare'"), HasSubstr("mirror=full"), HasSubstr("--device"));
  EXPECT_THAT(error_of<BackendError>([&] { (void)session_.producer("bare"); }), needs_mirror);
  EXPECT_THAT(error_of<BackendError>([&] { (void)session_.consumer("bare"); }), needs_mirror);
  QueueOptions o = on_device();
  o.host_readable = false;
  broker_.create("q", o);
  (void)session_.producer("q");
  EXPECT_THAT(error_of<BackendError>([&] { (void)session_.consumer("q"); }),
              AllOf(HasSubstr("'q'"), HasSubstr("host_readable=yes")));
}

TEST_F(BrokerDevice, AClientWithAGpuBringsTheStreamExecutorWhereNoMpsRuns) {
  broker_.create("q", on_device());
  EXPECT_EQ(broker_.stats().queues.at(0).executor, "persistent");
  {
    auto p = session_.producer("q", {.cuda = true});
    EXPECT_EQ(broker_.stats().queues.at(0).tombstones, 1u);  // the control line
  }
  exchange();
  QueueOptions o = on_device();
  o.executor = ExecutorKind::persistent;
  broker_.create("asked", o);
  auto p = session_.producer("asked", {.cuda = true});
  EXPECT_EQ(broker_.stats().queues.at(0).name, "asked");
  EXPECT_EQ(broker_.stats().queues.at(0).tombstones, 0u);
}

// The switch takes a place in the order, behind which the stream ends then.
TEST_F(BrokerDevice, AStreamThatHasEndedStillEndsAfterASwitch) {
  broker_.create("q", on_device());
  {
    auto p = session_.producer("q");
    ASSERT_EQ(p.send("x", 1, kBound), Status::ok);
  }
  auto c = session_.consumer("q", {.wait_for = Duration::zero()});
  auto gpu = session_.consumer("q", {.wait_for = Duration::zero(), .cuda = true});  // brings the stream executor
  EXPECT_EQ(broker_.stats().queues.at(0).tombstones, 1u);
  EXPECT_TRUE(c.receive(kBound));
  EXPECT_EQ(c.receive(kPrompt).status(), Status::end);
  set_executor("q", ExecutorKind::persistent, name_);
  EXPECT_EQ(c.receive(kPrompt).status(), Status::end);
}

// The change of executor waits for a place in the queue, and nobody waits for the change.
TEST_F(BrokerDevice, AFullQueueStillTakesAClientWithAGpu) {
  auto p = producer_of_a_full_queue();
  auto c = session_.consumer("q", {.cuda = true});
  EXPECT_EQ(broker_.stats().queues.at(0).tombstones, 0u);
  EXPECT_THROW(set_executor("q", ExecutorKind::stream, name_), UsageError);  // full, and stays so
  EXPECT_TRUE(c.receive(kBound));
  EXPECT_TRUE(eventually([&] { return broker_.stats().queues.at(0).tombstones == 1; }));  // the control line
  EXPECT_TRUE(c.receive(kBound));
  ASSERT_EQ(p.send("3", 1, kBound), Status::ok);
  EXPECT_TRUE(c.receive(kBound));
}

TEST_F(BrokerDevice, AChangeThatNobodyNeedsAnyMoreIsGivenUp) {
  auto p = producer_of_a_full_queue();
  { auto gpu = session_.consumer("q", {.cuda = true}); }
  std::this_thread::sleep_for(std::chrono::milliseconds(50));  // the broker looks every 5 ms
  auto c = session_.consumer("q");
  EXPECT_TRUE(c.receive(kBound));
  EXPECT_TRUE(c.receive(kBound));
  EXPECT_EQ(broker_.stats().queues.at(0).tombstones, 0u);
}

}  // namespace
}  // namespace ipcq_test
