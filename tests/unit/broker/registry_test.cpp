#include "broker/registry.hpp"

#include <gmock/gmock.h>

#include <filesystem>
#include <functional>

#include "base/crash_point.hpp"
#include "broker/parts.hpp"
#include "errors.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::error_of;
using testing::HasSubstr;
using testing::IsEmpty;

class RegistryTest : public testing::Test {
 protected:
  static void at_step(std::function<void(const std::string&)> call) {
    at_step_ = std::move(call);
    set_crash_point_hook([](const char* name) {
      if (at_step_) at_step_(name);
    });
  }
  void TearDown() override {
    set_crash_point_hook(nullptr);
    at_step_ = nullptr;
  }
  static GoneRunner killed(RunnerKey key) {
    GoneRunner gone;
    gone.key = std::move(key);
    gone.how = "killed by signal 9";
    return gone;
  }
  // Names of segments of this broker.
  std::vector<std::string> segments() const {
    std::vector<std::string> found;
    for (const auto& file : std::filesystem::directory_iterator("/dev/shm")) {
      const std::string name = file.path().filename();
      if (name.find(parts_.context.name.name()) != std::string::npos && name.find("+broker") == std::string::npos) {
        found.push_back(name);
      }
    }
    return found;
  }

  Parts parts_;
  Registry& registry_ = parts_.registry;
  std::vector<Recreation> recreate_;

 private:
  static inline std::function<void(const std::string&)> at_step_;
};

TEST_F(RegistryTest, AQueueBringsAPoolOfItsNameThatOthersMayShare) {
  registry_.create_queue("a", Parts::small());
  QueueOptions sharing = Parts::small();
  sharing.pool = "a";
  registry_.create_queue("b", sharing);
  EXPECT_EQ(registry_.pools().size(), 1u);
  EXPECT_EQ(registry_.find("a").pool, registry_.find("b").pool);
  EXPECT_EQ(registry_.find_generation("a", registry_.find("a").map->config().segment.generation), &registry_.find("a"));
  EXPECT_EQ(registry_.find_generation("a", 1), nullptr);
}

TEST_F(RegistryTest, ANameIsTakenOnce) {
  registry_.create_pool("p", {});
  registry_.create_queue("q", Parts::small());
  EXPECT_THAT(error_of<UsageError>([&] { registry_.create_pool("p", {}); }), HasSubstr("exists already"));
  EXPECT_THAT(error_of<UsageError>([&] { registry_.create_queue("q", Parts::small()); }), HasSubstr("exists already"));
  EXPECT_THAT(error_of<UsageError>([&] { registry_.create_queue("p", Parts::small()); }),
              HasSubstr("a pool of that name exists already"));
}

TEST_F(RegistryTest, WhatIsMissingIsSaidWithWhatThereIs) {
  QueueOptions sharing = Parts::small();
  sharing.pool = "nobody's";
  EXPECT_THAT(error_of<UsageError>([&] { registry_.create_queue("q", sharing); }),
              HasSubstr("pool 'nobody's' does not exist"));
  EXPECT_THAT(error_of<NotFoundError>([&] { (void)registry_.find("q"); }), HasSubstr("it has none"));
  registry_.create_queue("here", Parts::small());
  EXPECT_THAT(error_of<NotFoundError>([&] { (void)registry_.find("q"); }), HasSubstr("it has here"));
}

TEST_F(RegistryTest, WhileSomethingIsBuiltTheMutexIsOpenAndItsNameTaken) {
  bool open = false;
  std::string again;
  std::string found;
  at_step([&](const std::string& step) {
    if (step != "create.queue_made") return;
    const std::unique_lock lock(parts_.context.mutex, std::try_to_lock);
    open = lock.owns_lock();
    EXPECT_TRUE(registry_.is_creating());
    found = error_of<NotFoundError>([&] { (void)registry_.find("q"); });
  });
  registry_.create_queue("q", Parts::small());
  EXPECT_TRUE(open);
  EXPECT_THAT(found, HasSubstr("has no such queue"));
  EXPECT_FALSE(registry_.is_creating());
  at_step([&](const std::string& step) {
    if (step != "create.pool_made" || !again.empty()) return;
    again = error_of<UsageError>([&] { registry_.create_pool("p", {}); });
  });
  registry_.create_pool("p", {});
  EXPECT_THAT(again, HasSubstr("is being created or removed already"));
}

TEST_F(RegistryTest, ACreationThatAStopOvertakesLeavesNothing) {
  at_step([&](const std::string& step) {
    if (step == "create.queue_made") parts_.context.stopped = true;
  });
  EXPECT_THAT(error_of<UsageError>([&] { registry_.create_queue("q", Parts::small()); }),
              HasSubstr("the broker has stopped"));
  EXPECT_TRUE(registry_.queues().empty());
  EXPECT_TRUE(registry_.pools().empty());
  EXPECT_FALSE(registry_.is_creating());
  EXPECT_THAT(segments(), IsEmpty());
}

TEST_F(RegistryTest, AFailedCreationFreesItsNames) {
  QueueOptions impossible = Parts::small();
  impossible.lines = 1;
  EXPECT_THAT(error_of<UsageError>([&] { registry_.create_queue("q", impossible); }), HasSubstr("lines is 1"));
  EXPECT_FALSE(registry_.is_creating());
  EXPECT_TRUE(registry_.pools().empty());
  registry_.create_queue("q", Parts::small());
  EXPECT_THAT(segments(), testing::SizeIs(2));
}

// What it would do where a runner of that GPU was lost: a queue that a test puts there by hand.
TEST_F(RegistryTest, QueuesOfALostRunnerTakeNothingMoreAndComeBackOnceItIsGone) {
  registry_.create_queue("elsewhere", Parts::small());
  QueueEntry& q = parts_.create("q", Parts::small());
  q.map = QueueMap::create(parts_.context.name.segment("queue", "q", 7), "q", q.options, QueueMap::Executed::by_device,
                           q.pool->map->config(), 7, {});
  q.device = 3;
  registry_.on_runner_lost({3});
  EXPECT_TRUE(q.lost);
  EXPECT_FALSE(send(q, 2));
  EXPECT_THAT(error_of<NotFoundError>([&] { (void)registry_.find("q"); }), HasSubstr("its runner was lost"));
  EXPECT_TRUE(send(registry_.find("elsewhere"), 2));
  const Aftermath after = registry_.on_runner_gone(killed({3}));
  EXPECT_EQ(registry_.queues().count("q"), 0u);
  EXPECT_EQ(registry_.pools().count("q"), 0u);
  ASSERT_EQ(after.recreate.size(), 1u);
  EXPECT_EQ(after.recreate[0].object(), "queue 'q'");
  EXPECT_EQ(after.remains.size(), 1u);
  after.recreate[0].create();
  EXPECT_TRUE(send(registry_.find("q"), 2));
}

TEST_F(RegistryTest, ARunnersEndIsThatOfItsQueuesAlone) {
  const auto on_gpu = [&](const std::string& name, bool isolate) {
    QueueEntry& q = parts_.create(name, Parts::small());
    q.map = QueueMap::create(parts_.context.name.segment("queue", name, 7), name, q.options,
                             QueueMap::Executed::by_device, q.pool->map->config(), 7, {});
    q.device = 3;
    q.options.isolate = isolate;
  };
  on_gpu("a", true);
  on_gpu("b", false);
  on_gpu("c", true);
  EXPECT_EQ(runner_on(3, registry_.find("a")), (RunnerKey{3, "a"}));
  EXPECT_EQ(runner_on(3, registry_.find("b")), RunnerKey{3});
  const auto lost = [&](const char* name) { return registry_.queues().at(name).lost; };
  registry_.on_runner_lost({3, "a"});
  EXPECT_TRUE(lost("a"));
  EXPECT_FALSE(lost("b"));
  EXPECT_FALSE(lost("c"));
  registry_.on_runner_lost({3});
  EXPECT_TRUE(lost("b"));
  EXPECT_FALSE(lost("c"));
  const Aftermath after = registry_.on_runner_gone(killed({3, "a"}));
  ASSERT_EQ(after.recreate.size(), 1u);
  EXPECT_EQ(after.recreate[0].name, "a");
  EXPECT_EQ(registry_.queues().size(), 2u);
  EXPECT_EQ(registry_.pools().size(), 2u);
}

// It dies between the commit and the end of the reservation of its name.
TEST_F(RegistryTest, OneThatDiesAsSoonAsItIsCreatedIsTriedAgainAndNotGivenUp) {
  std::string refused;
  at_step([&](const std::string& step) {
    if (step != "create.committed" || !refused.empty()) return;
    QueueEntry& q = registry_.find("q");
    q.map = QueueMap::create(parts_.context.name.segment("queue", "q", 7), "q", q.options,
                             QueueMap::Executed::by_device, q.pool->map->config(), 7, {});
    q.device = 3;
    registry_.on_runner_lost({3});
    recreate_ = registry_.on_runner_gone(killed({3})).recreate;
    ASSERT_EQ(recreate_.size(), 1u);
    refused = error_of<BackendError>([&] { recreate_[0].create(); });  // a UsageError would be final
  });
  registry_.create_queue("q", Parts::small());
  EXPECT_THAT(refused, HasSubstr("its last creation has not ended yet"));
  recreate_[0].create();
  EXPECT_TRUE(send(registry_.find("q"), 2));
}

}  // namespace
}  // namespace ipcq::detail
