// What may be removed, and how much may be created. With clients: conformance/administration_test.cpp.
#include <gmock/gmock.h>

#include <string>
#include <string_view>
#include <utility>

#include "base/crash_point.hpp"
#include "broker/parts.hpp"
#include "errors.hpp"
#include "eventually.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::error_of;
using testing::AllOf;
using testing::HasSubstr;

class RegistryRemovalTest : public testing::Test {
 protected:
  static QueueOptions sharing(const std::string& pool) {
    QueueOptions o = Parts::small();
    o.slots = QueueOptions{}.slots;
    o.size = QueueOptions{}.size;
    o.pool = pool;
    return o;
  }
  LogLines log_;
  Parts parts_{BrokerOptions{.log = log_.callback()}};
  Registry& registry_ = parts_.registry;
};

TEST_F(RegistryRemovalTest, APoolThatOthersShareKeepsItsQueue) {
  parts_.create("a", Parts::small());
  parts_.create("b", sharing("a"));
  for (const Removal how : {Removal::if_unused, Removal::at_once}) {
    EXPECT_THAT(error_of<UsageError>([&] { registry_.remove_queue("a", how); }), HasSubstr("share its pool"));
  }
  EXPECT_THAT(error_of<UsageError>([&] { registry_.remove_pool("a"); }),
              HasSubstr("belongs to queue 'a' and goes with it"));
  registry_.remove_queue("b", Removal::at_once);
  registry_.remove_queue("a", Removal::if_unused);
  EXPECT_TRUE(registry_.pools().empty());
  EXPECT_TRUE(ipcq_test::eventually([&] { return log_.has("queue 'a': removed"); }));
}

// What clients hold of a pool that queues share could not be told from what is the others'.
TEST_F(RegistryRemovalTest, AQueueThatSharesItsPoolMustBeUnused) {
  registry_.create_pool("p", {.slots = 4, .size = 64});
  QueueEntry& q = parts_.create("q", sharing("p"));
  const auto& client = parts_.connect();
  const Reply opened = parts_.open(client, Op::open_producer, "q");
  ASSERT_TRUE(send(q, opened.client));
  EXPECT_THAT(error_of<UsageError>([&] { registry_.remove_queue("q", Removal::at_once); }),
              AllOf(HasSubstr("pid " + std::to_string(getpid())), testing::Not(HasSubstr("--force"))));
  parts_.endpoints.close_all({&const_cast<ConnectedClient&>(client)}, Closing::clean);
  EXPECT_THAT(error_of<UsageError>([&] { registry_.remove_queue("q", Removal::at_once); }), HasSubstr("1 message"));
}

TEST_F(RegistryRemovalTest, AGroupThatIsBeingDissolvedStillHasSlots) {
  registry_.create_pool("p", {.slots = 4, .size = 64});
  QueueEntry& q = parts_.create("q", sharing("p"));
  q.groups[1].name = "leaves";
  q.groups[1].leaving = true;
  EXPECT_THAT(error_of<UsageError>([&] { registry_.remove_queue("q", Removal::if_unused); }), HasSubstr("try again"));
}

TEST_F(RegistryRemovalTest, ItsEndpointsIdsAreFree) {
  parts_.create("q", Parts::small());
  const Reply opened = parts_.open(parts_.connect(), Op::open_producer, "q");
  ASSERT_TRUE(registry_.ids().is_in_use(opened.client));
  registry_.remove_queue("q", Removal::at_once);
  EXPECT_FALSE(registry_.ids().is_in_use(opened.client));
}

TEST_F(RegistryRemovalTest, AStoppedBrokerRemovesNothing) {
  parts_.create("q", Parts::small());
  parts_.context.stopped = true;
  EXPECT_THROW(registry_.remove_queue("q", Removal::at_once), UsageError);
  EXPECT_EQ(registry_.queues().size(), 1u);
  parts_.context.stopped = false;
}

TEST_F(RegistryRemovalTest, WhatIsNotThereIsNotFound) {
  parts_.create("q", Parts::small());
  EXPECT_THAT(error_of<NotFoundError>([&] { registry_.remove_queue("r", Removal::at_once); }), HasSubstr("it has q"));
  EXPECT_THAT(error_of<NotFoundError>([&] { registry_.remove_pool("r"); }), HasSubstr("it has q"));
}

TEST_F(RegistryRemovalTest, ALimitOfQueuesCountsThoseThatAreThere) {
  parts_.create("a", Parts::small());
  const Limits limits{.queues = 2};
  registry_.create_queue("b", Parts::small(), limits);
  EXPECT_THAT(error_of<UsageError>([&] { registry_.create_queue("c", Parts::small(), limits); }),
              HasSubstr("has 2 queues, of 2 that it may have"));
  registry_.create_pool("p", {.slots = 4, .size = 64}, limits);  // which is no queue
  registry_.create_queue("c", Parts::small());                   // by the broker's own program
  registry_.remove_queue("a", Removal::if_unused);
  registry_.remove_queue("b", Removal::if_unused);
  registry_.create_queue("d", Parts::small(), limits);
}

TEST_F(RegistryRemovalTest, ALimitOfMemoryCountsWhatIsThereAndWhatComes) {
  const PoolOptions pool{.slots = 16, .size = 4096};
  const std::uint64_t each = memory_needs(pool).shared_memory;
  const Limits limits{.bytes = 2 * each};
  registry_.create_pool("a", pool, limits);
  registry_.create_pool("b", pool, limits);
  const std::string why = error_of<UsageError>([&] { registry_.create_pool("c", pool, limits); });
  EXPECT_THAT(why, HasSubstr("0 B are free"));
  registry_.remove_pool("a");
  registry_.create_pool("c", pool, limits);
  EXPECT_THROW(registry_.create_queue("q", Parts::small(), limits), UsageError);
  EXPECT_THROW(registry_.create_queue("q", Parts::small(), {.bytes = 1}), UsageError);
}

// Whose name is reserved a moment longer.
TEST_F(RegistryRemovalTest, WhatIsThereCountsOnceAtItsCommit) {
  static Registry* registry = nullptr;
  static std::string refused;
  registry = &registry_;
  refused.clear();
  set_crash_point_hook([](const char* name) {
    if (std::string_view(name) != "create.committed" || registry == nullptr) return;
    Registry& r = *std::exchange(registry, nullptr);
    try {
      r.create_queue("b", Parts::small(), {.queues = 2});
    } catch (const UsageError& e) {
      refused = e.what();
    }
  });
  registry_.create_queue("a", Parts::small());
  set_crash_point_hook(nullptr);
  EXPECT_EQ(refused, "");
  EXPECT_EQ(registry_.queues().size(), 2u);
}

TEST_F(RegistryRemovalTest, APoolStaysWhileAQueueIsCreatedInIt) {
  registry_.create_pool("p", {.slots = 4, .size = 64});
  static Registry* registry = nullptr;
  static std::string refused;
  registry = &registry_;
  set_crash_point_hook([](const char* name) {
    if (std::string_view(name) == "create.queue_made") {
      refused = error_of<UsageError>([] { registry->remove_pool("p"); });
    }
  });
  registry_.create_queue("q", sharing("p"));
  set_crash_point_hook(nullptr);
  EXPECT_THAT(refused, HasSubstr("queue 'q', which is being created, is to have its slots there"));
}

// The pool decides, as where it is created without limits.
TEST_F(RegistryRemovalTest, AQueueInAPoolOnTheHostMayHaveAnyLines) {
  registry_.create_pool("p", {.slots = 4, .size = 64});
  QueueOptions o = sharing("p");
  o.handler = "upper";
  o.line = 512;
  registry_.create_queue("q", o, {.queues = 9, .bytes = 1 << 30});
  o.pool.clear();
  o.line = 100;
  o.backend = "host";
  EXPECT_THAT(error_of<UsageError>([&] { registry_.create_queue("r", o); }), HasSubstr("queue 'r': line is 100"));
}

TEST_F(RegistryRemovalTest, AFailedCreationLeavesTheMemoryToOthers) {
  const PoolOptions pool{.slots = 16, .size = 4096};
  const Limits limits{.bytes = memory_needs(pool).shared_memory};
  EXPECT_THROW(registry_.create_pool("a", {.slots = 16, .size = 4096, .backend = "none"}, limits), UsageError);
  registry_.create_pool("a", pool, limits);
}

}  // namespace
}  // namespace ipcq::detail
