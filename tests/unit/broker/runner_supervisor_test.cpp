// Runners that start, answer no more and end, and what follows for those that have something on their GPU.
#include "broker/runner_supervisor.hpp"

#include <gmock/gmock.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/parts.hpp"
#include "broker/scripted_runner.hpp"
#include "errors.hpp"
#include "eventually.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::error_of;
using ipcq_test::eventually;
using ipcq_test::kPrompt;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class RunnerSupervisorTest : public ipcq_test::ScriptedRunner, public RunnerUser, public testing::Test {
 protected:
  RunnerSupervisorTest() { supervisor_.set_user(*this); }
  ~RunnerSupervisorTest() {
    stop();
    supervisor_.join();
    supervisor_.end_lost_for_good();
    supervisor_.give_up_all();
  }
  void stop() {
    {
      const Lock lock(context_.mutex);
      context_.stopped = true;
    }
    context_.changed.notify_all();
  }

  void on_runner_lost(const RunnerKey& key) override { lost_.push_back(key); }
  Aftermath on_runner_gone(const GoneRunner& runner) override {
    gone_.push_back(runner);
    return std::exchange(aftermath_, {});
  }
  // A queue that is to be created anew once the runner is gone.
  void recreate(const std::function<void()>& create) {
    aftermath_.recreate.push_back({Recreation::Kind::queue, "q", "", create});
  }
  // Serves events as the control thread does, until `done()`.
  template <class Done>
  bool serve_until(Done done) {
    return eventually([&] {
      for (const int fd : context_.polls.wait(10)) {
        const Lock lock(context_.mutex);
        (void)supervisor_.serve(fd);
      }
      return done();
    });
  }
  bool serve_until_gone(std::size_t runners = 1) {
    return serve_until([&] { return gone_.size() == runners; });
  }
  bool is_recreating() {
    const Lock lock(context_.mutex);
    return supervisor_.recreates_queue("q");
  }
  // Whether the calling thread does not hold the broker's mutex: the test's own thread holds it for moments only.
  bool is_mutex_open() {
    return eventually([&] { return std::unique_lock(context_.mutex, std::try_to_lock).owns_lock(); }, kPrompt);
  }
  std::vector<std::string> errors() {
    const std::scoped_lock lock(log_mutex_);
    return errors_;
  }

  static constexpr int kDevice = 41;
  const RunnerKey shared_{kDevice};
  const RunnerKey own_{kDevice, "q"};
  std::mutex log_mutex_;
  std::vector<std::string> errors_;
  std::vector<std::string> warnings_;
  BrokerContext context_{{.name = unique_name(), .log = [this](LogLevel level, std::string_view text) {
                            const std::scoped_lock lock(log_mutex_);
                            if (level == LogLevel::error) errors_.emplace_back(text);
                            if (level == LogLevel::warning) warnings_.emplace_back(text);
                          }}};
  std::vector<RunnerKey> lost_;
  std::vector<GoneRunner> gone_;
  Aftermath aftermath_;
  RunnerSupervisor supervisor_{context_};
};

TEST_F(RunnerSupervisorTest, StartsOneForEachDeviceOnDemand) {
  good_script();
  const auto runner = supervisor_.get(shared_);
  EXPECT_EQ(supervisor_.get(shared_), runner);
  EXPECT_EQ(supervisor_.require("queue 'q'", shared_), runner);
  EXPECT_NE(supervisor_.get({kDevice + 1}), runner);
  EXPECT_FALSE(supervisor_.has_mps(kDevice));
}

TEST_F(RunnerSupervisorTest, KnowsWhichIsUnderMps) {
  RunnerHello under_mps;
  under_mps.mps = 1;
  write("hello", &under_mps, sizeof under_mps);
  good_script();
  EXPECT_FALSE(supervisor_.has_mps(kDevice));
  (void)supervisor_.get(shared_);
  EXPECT_TRUE(supervisor_.has_mps(kDevice));
  EXPECT_FALSE(supervisor_.has_mps(kDevice + 1));
}

TEST_F(RunnerSupervisorTest, AQueueMayHaveOneForItself) {
  good_script();
  const auto runner = supervisor_.get(own_);
  EXPECT_EQ(supervisor_.get(own_), runner);
  const auto shared = supervisor_.get(shared_);
  EXPECT_NE(shared, runner);
  EXPECT_NE(supervisor_.get({kDevice, "r"}), runner);
  EXPECT_EQ(RunnerLink::get(kDevice, -1), shared) << "another broker of the process would get it";
}

TEST_F(RunnerSupervisorTest, TheDeathOfOneIsToldAsThatOneAlone) {
  good_script();
  const auto shared = supervisor_.get(shared_);
  const auto runner = supervisor_.get(own_);
  runner->kill();
  ASSERT_TRUE(serve_until_gone());
  EXPECT_THAT(lost_, ElementsAre(own_));
  EXPECT_EQ(gone_[0].key, own_);
  EXPECT_EQ(supervisor_.get(shared_), shared);
  const auto next = supervisor_.get(own_);
  EXPECT_NE(next, runner);
  shared->kill();
  ASSERT_TRUE(serve_until_gone(2));
  EXPECT_EQ(gone_[1].key, shared_);
  EXPECT_EQ(supervisor_.get(own_), next);
}

TEST_F(RunnerSupervisorTest, AQueuesOwnEndsIfTheQueueWasNotCreated) {
  good_script();
  const auto shared = supervisor_.get(shared_);
  const pid_t pid = supervisor_.get(own_)->pid();
  supervisor_.dismiss_own("another");
  EXPECT_EQ(supervisor_.get(own_)->pid(), pid);
  supervisor_.dismiss_own("q");
  EXPECT_EQ(::kill(pid, 0), -1) << "it has ended by then, and was waited for";
  EXPECT_EQ(supervisor_.get(shared_), shared);
  EXPECT_NE(supervisor_.get(own_)->pid(), pid);
  EXPECT_EQ(supervisor_.deaths(), 0u);
  EXPECT_THAT(lost_, IsEmpty());
}

TEST_F(RunnerSupervisorTest, ALostOneIsNotDismissed) {
  good_script();
  const auto runner = supervisor_.get(own_);
  runner->kill();
  ASSERT_TRUE(eventually([&] { return runner->is_gone(); }));
  supervisor_.dismiss_own("q");
  ASSERT_TRUE(serve_until_gone());
  EXPECT_EQ(supervisor_.deaths(), 1u);
}

TEST_F(RunnerSupervisorTest, UnderMpsItSaysThatARunnerOfOnesOwnProtectsNobody) {
  RunnerHello under_mps;
  under_mps.mps = 1;
  write("hello", &under_mps, sizeof under_mps);
  good_script();
  (void)supervisor_.get(shared_);
  (void)supervisor_.get(own_);
  const auto warnings = [&] {
    const std::scoped_lock lock(log_mutex_);
    return warnings_;
  };
  EXPECT_TRUE(eventually([&] { return !warnings().empty(); }));
  EXPECT_THAT(warnings(), ElementsAre(AllOf(HasSubstr("queue 'q': isolate=yes"), HasSubstr("under MPS"))));
  EXPECT_TRUE(supervisor_.has_mps(kDevice));
}

TEST_F(RunnerSupervisorTest, OneThatCannotStartIsToldWithTheObjectThatNeedsIt) {
  EXPECT_THAT(error_of<BackendError>([&] { (void)supervisor_.require("queue 'q'", shared_); }),
              AllOf(HasSubstr("queue 'q': backend 'cuda' cannot run here"), HasSubstr("GPU 41")));
}

TEST_F(RunnerSupervisorTest, StartsNoneOnceTheBrokerHasStopped) {
  good_script();
  stop();
  EXPECT_THAT(error_of<UsageError>([&] { (void)supervisor_.get(shared_); }), HasSubstr("the broker has stopped"));
}

TEST_F(RunnerSupervisorTest, WhatWentWithARunnerIsFreedAndThenCreatedAnewWithoutTheMutex) {
  good_script();
  std::atomic<bool> freed_open{false};
  std::atomic<bool> created_open{false};
  std::atomic<bool> freed_first{false};
  aftermath_.remains.push_back(std::shared_ptr<void>(nullptr, [&](void*) { freed_open = is_mutex_open(); }));
  recreate([&] {
    freed_first = freed_open.load();
    created_open = is_mutex_open();
  });
  const auto runner = supervisor_.get(shared_);
  EXPECT_EQ(supervisor_.deaths(), 0u);
  runner->kill();
  ASSERT_TRUE(serve_until_gone());
  EXPECT_THAT(lost_, ElementsAre(shared_));
  EXPECT_EQ(gone_[0].key, shared_);
  EXPECT_EQ(gone_[0].how, "killed by signal 9");
  EXPECT_FALSE(gone_[0].under_mps);
  EXPECT_EQ(supervisor_.deaths(), 1u);
  EXPECT_TRUE(eventually([&] { return !is_recreating(); }));
  EXPECT_TRUE(created_open);
  EXPECT_TRUE(freed_open);
  EXPECT_TRUE(freed_first);
  EXPECT_NE(supervisor_.get(shared_), runner);
  EXPECT_THAT(errors(), IsEmpty());
}

TEST_F(RunnerSupervisorTest, ACreationThatFailsIsTriedAgain) {
  good_script();
  std::atomic<int> tried{0};
  recreate([&] {
    if (++tried == 1) throw BackendError("not yet");
  });
  supervisor_.get(shared_)->kill();
  ASSERT_TRUE(serve_until_gone());
  EXPECT_TRUE(eventually([&] { return !is_recreating(); }));
  EXPECT_EQ(tried, 2);
}

TEST_F(RunnerSupervisorTest, ACreationThatCanNeverWorkIsGivenUpAndTold) {
  good_script();
  std::atomic<int> tried{0};
  recreate([&] {
    ++tried;
    throw UsageError("it cannot be");
  });
  supervisor_.get(shared_)->kill();
  ASSERT_TRUE(serve_until_gone());
  EXPECT_TRUE(eventually([&] { return !is_recreating(); }));
  EXPECT_EQ(tried, 1);
  EXPECT_TRUE(eventually([&] { return !errors().empty(); }));
  EXPECT_THAT(errors(), ElementsAre(AllOf(HasSubstr("queue 'q'"), HasSubstr("it cannot be"))));
}

TEST_F(RunnerSupervisorTest, AQueuesOwnIsKeptForTheNextTryAndEndsWhenTheQueueIsGivenUp) {
  good_script();
  std::vector<pid_t> pids;
  recreate([&] {
    pids.push_back(supervisor_.get(own_)->pid());
    if (pids.size() == 1) throw BackendError("not yet");
    throw UsageError("it cannot be");
  });
  supervisor_.get(own_)->kill();
  ASSERT_TRUE(serve_until_gone());
  ASSERT_TRUE(eventually([&] { return !is_recreating(); }));
  ASSERT_EQ(pids.size(), 2u);
  EXPECT_EQ(pids[0], pids[1]);
  EXPECT_TRUE(eventually([&] { return ::kill(pids[1], 0) == -1; }));
  EXPECT_EQ(supervisor_.deaths(), 1u);
}

TEST_F(RunnerSupervisorTest, NothingIsCreatedAnewOnceTheBrokerHasStopped) {
  good_script();
  recreate([] { FAIL() << "the broker has stopped"; });
  const auto runner = supervisor_.get(shared_);
  stop();
  runner->kill();
  ASSERT_TRUE(serve_until_gone());
  EXPECT_FALSE(is_recreating());
  EXPECT_EQ(supervisor_.deaths(), 1u);
}

// A runner that has closed its socket and runs on until the test writes "end".
class LostRunner : public RunnerSupervisorTest {
 protected:
  LostRunner() {
    script("say hello; exec 3>&-; while ! test -e end; do sleep 0.01; done");
    runner_ = supervisor_.get(shared_);
    good_script();  // of the next one
    EXPECT_TRUE(serve_until([&] { return !lost_.empty(); }));
  }
  ~LostRunner() { write("end", "", 0); }

  std::shared_ptr<RunnerLink> runner_;
};

TEST_F(LostRunner, KeepsWhatItHasUntilItIsGone) {
  recreate([] {});
  EXPECT_THAT(lost_, ElementsAre(shared_));
  EXPECT_THAT(gone_, IsEmpty());
  EXPECT_FALSE(is_recreating());
  EXPECT_EQ(supervisor_.deaths(), 0u);
  write("end", "", 0);
  ASSERT_TRUE(serve_until_gone());
  EXPECT_THAT(lost_, ElementsAre(shared_)) << "it is lost once";
  EXPECT_EQ(gone_[0].how, "ended with exit code 0");
}

TEST_F(LostRunner, IsNotKilledAtOnce) {
  EXPECT_TRUE(supervisor_.is_waiting_for_end());
  supervisor_.end_lost();
  EXPECT_TRUE(supervisor_.is_waiting_for_end());
  EXPECT_THAT(errors(), IsEmpty());
  write("end", "", 0);
  ASSERT_TRUE(serve_until_gone());
  EXPECT_EQ(gone_[0].how, "ended with exit code 0");
  supervisor_.end_lost();
  EXPECT_FALSE(supervisor_.is_waiting_for_end());
}

TEST_F(LostRunner, IsReplacedOnceItIsGone) {
  auto next = std::async(std::launch::async, [this] { return supervisor_.get(shared_); });
  EXPECT_EQ(next.wait_for(std::chrono::milliseconds(30)), std::future_status::timeout) << "two runners of one GPU";
  write("end", "", 0);
  ASSERT_TRUE(serve_until_gone());
  ASSERT_EQ(next.wait_for(kPrompt), std::future_status::ready) << "nobody woke who waited for its end";
  EXPECT_NE(next.get(), runner_);
}

TEST_F(LostRunner, DoesNotHoldUpAStop) {
  auto next = std::async(std::launch::async, [this] { return supervisor_.get(shared_); });
  EXPECT_EQ(next.wait_for(std::chrono::milliseconds(30)), std::future_status::timeout);
  stop();
  ASSERT_EQ(next.wait_for(kPrompt), std::future_status::ready);
  EXPECT_THAT(error_of<UsageError>([&] { (void)next.get(); }), HasSubstr("the broker has stopped"));
}

TEST_F(RunnerSupervisorTest, ServesOnlyDescriptorsOfItsRunners) {
  good_script();
  (void)supervisor_.get(shared_);
  EXPECT_FALSE(supervisor_.serve(context_.quit.get()));
  EXPECT_THAT(lost_, IsEmpty());
}

}  // namespace
}  // namespace ipcq::detail
