#include "broker/option_checks.hpp"

#include <gmock/gmock.h>

#include <chrono>
#include <string>
#include <utility>

#include "errors.hpp"
#include "ipcq/error.hpp"
#include "unit/device_segments.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::error_of;
using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// What the check of a queue's options says; empty when it lets them pass.
std::string checked(const QueueOptions& options) {
  try {
    check_queue_options("queue 'q'", options);
  } catch (const UsageError& e) {
    return e.what();
  }
  return {};
}
std::string checked(const PoolOptions& options) {
  try {
    check_pool_options("pool 'p'", options);
  } catch (const UsageError& e) {
    return e.what();
  }
  return {};
}
std::string checked_for_host(const QueueOptions& options, const PoolEntry* pool = nullptr) {
  try {
    check_nothing_of_a_gpu("queue 'q'", options, pool);
  } catch (const UsageError& e) {
    return e.what();
  }
  return {};
}

TEST(PoolOptionChecks, DefaultsAndAllThreeBackendsPass) {
  EXPECT_EQ(checked(PoolOptions{}), "");
  for (const char* const backend : {"auto", "host", "cuda"}) EXPECT_EQ(checked(PoolOptions{.backend = backend}), "");
}

TEST(PoolOptionChecks, APoolThatQueuesShareNeedsSlots) {
  EXPECT_THAT(checked(PoolOptions{.slots = 0}), StartsWith("pool 'p': slots is 0"));
}

TEST(PoolOptionChecks, AnUnknownBackendIsToldPrintably) {
  EXPECT_THAT(checked(PoolOptions{.backend = "cu\nda"}),
              AllOf(HasSubstr("'cu\\x0ada'"), HasSubstr("auto, host or cuda")));
}

TEST(PoolOptionChecks, WhatOnlyAGpuHasIsRefusedWhereAutoIsTheHost) {
  EXPECT_THAT(checked(PoolOptions{.device = 1}), HasSubstr("device says nothing here"));
  EXPECT_THAT(checked(PoolOptions{.mirror = Mirror::none}), HasSubstr("mirror says nothing here"));
  EXPECT_EQ(checked(PoolOptions{.backend = "cuda", .device = 1, .mirror = Mirror::none}), "");
}

TEST(QueueOptionChecks, DefaultsPassWithAHandlerAndWithout) {
  EXPECT_EQ(checked(QueueOptions{}), "");
  EXPECT_EQ(checked(QueueOptions{.handler = "invert"}), "");
  EXPECT_THAT(checked(QueueOptions{.backend = "gpu"}), StartsWith("queue 'q': backend 'gpu'"));
}

TEST(QueueOptionChecks, AnUnknownHandlerIsToldWithThoseThatThereAre) {
  EXPECT_THAT(checked(QueueOptions{.handler = "inverse"}),
              AllOf(HasSubstr("handler 'inverse' is not known"), HasSubstr("invert")));
}

TEST(QueueOptionChecks, AHandlerHasFrom1To256Threads) {
  QueueOptions o{.handler = "invert"};
  o.threads = 0;
  EXPECT_THAT(checked(o), HasSubstr("threads is 0; allowed are 1 to 256"));
  o.threads = 1;
  EXPECT_EQ(checked(o), "");
  o.threads = kMaxThreads;
  EXPECT_EQ(checked(o), "");
  o.threads = kMaxThreads + 1;
  EXPECT_THAT(checked(o), HasSubstr("threads is 257"));
}

TEST(QueueOptionChecks, ThreadsAndTheirWaitSayNothingWithoutAHandler) {
  EXPECT_THAT(checked(QueueOptions{.threads = 2}), HasSubstr("threads says nothing here"));
  EXPECT_THAT(checked(QueueOptions{.wait = Wait::sleep()}), HasSubstr("wait says nothing here"));
  EXPECT_THAT(checked(QueueOptions{.wait = Wait::hybrid(std::chrono::milliseconds(1))}),
              HasSubstr("wait says nothing here"));
  EXPECT_EQ(checked(QueueOptions{.handler = "invert", .threads = 2, .wait = Wait::sleep()}), "");
}

TEST(QueueOptionChecks, ARunnerOfItsOwnIsForHandlersThatRunInOne) {
  for (const char* const backend : {"auto", "host", "cuda"}) {
    EXPECT_EQ(checked(QueueOptions{.handler = "mine.cu", .isolate = true, .backend = backend}), "") << backend;
    EXPECT_THAT(checked(QueueOptions{.isolate = true, .backend = backend}),
                AllOf(StartsWith("queue 'q': isolate says nothing here"), HasSubstr("with a handler; name one")))
        << backend;
  }
  EXPECT_EQ(checked(QueueOptions{.handler = "upper", .isolate = true, .backend = "cuda"}), "");
  for (const char* const backend : {"auto", "host"}) {
    EXPECT_THAT(
        checked(QueueOptions{.handler = "upper", .isolate = true, .backend = backend}),
        AllOf(StartsWith("queue 'q': isolate says nothing here: a built-in handler runs in the broker's threads"),
              HasSubstr(std::string("backend '") + backend + "'"), HasSubstr("say backend cuda")));
  }
}

TEST(QueueOptionChecks, GroupsHaveNamesOfTheirOwn) {
  EXPECT_EQ(checked(QueueOptions{.groups = {}}), "");
  EXPECT_EQ(checked(QueueOptions{.groups = {{"a"}, {"b"}}}), "");
  EXPECT_THAT(checked(QueueOptions{.groups = {{"a"}, {"b"}, {"a"}}}), HasSubstr("group 'a' twice"));
  EXPECT_THAT(checked(QueueOptions{.groups = {{"a b"}}}), HasSubstr("a b"));
}

TEST(QueueOptionChecks, TheSizeOfAnOwnPoolIsCheckedInTheQueuesName) {
  EXPECT_THAT(checked(QueueOptions{.size = 0}), StartsWith("queue 'q': size is 0"));
  EXPECT_EQ(checked(QueueOptions{.size = 0, .pool = "p"}), "") << "its pool has a size of its own";
}

class SharedPoolChecks : public testing::Test {
 protected:
  // The entry of a pool with these words.
  static PoolEntry& entry_of(Segments& s, PoolEntry& pool, int device) {
    pool.map = std::move(s.pool_owner);
    pool.options.device = device;
    return pool;
  }
  static std::string checked_with(const PoolEntry& pool, const std::string& backend, int device = 0) {
    try {
      check_shared_pool("queue 'q'", {.pool = "p", .backend = backend, .device = device}, pool);
    } catch (const UsageError& e) {
      return e.what();
    }
    return {};
  }

  Segments on_host_{Segments::small()};
  DeviceSegments on_device_{QueueMap::Executed::by_device};
  PoolEntry host_entry_;
  PoolEntry device_entry_;
  const PoolEntry& host_ = entry_of(on_host_, host_entry_, 0);
  const PoolEntry& device_ = entry_of(on_device_, device_entry_, 1);
};

TEST_F(SharedPoolChecks, AQueueIsWhereItsPoolIs) {
  EXPECT_EQ(checked_with(host_, "host"), "");
  EXPECT_EQ(checked_with(device_, "cuda"), "");
  EXPECT_EQ(checked_with(host_, "auto"), "");
  EXPECT_EQ(checked_with(device_, "auto"), "");
  EXPECT_THAT(checked_with(device_, "host"), HasSubstr("pool 'p' is in device memory; use backend cuda"));
  EXPECT_THAT(checked_with(host_, "cuda"), HasSubstr("pool 'p' is in host memory"));
}

TEST_F(SharedPoolChecks, ADeviceThatIsNamedIsThePools) {
  EXPECT_EQ(checked_with(device_, "cuda", 0), "") << "the default counts as not given";
  EXPECT_EQ(checked_with(device_, "cuda", 1), "");
  EXPECT_THAT(checked_with(device_, "cuda", 2), HasSubstr("device 2, but pool 'p' is on device 1"));
}

TEST_F(SharedPoolChecks, DeviceMemoryOfAnotherRunnerIsNotShared) {
  const auto checked_isolated = [](const PoolEntry& pool, bool isolate) {
    const QueueOptions o{.pool = "p", .handler = "mine.cu", .isolate = isolate};
    try {
      check_shared_pool("queue 'q'", o, pool);
    } catch (const UsageError& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  EXPECT_EQ(checked_isolated(host_, true), "");
  EXPECT_EQ(checked_isolated(device_, false), "");
  EXPECT_THAT(checked_isolated(device_, true),
              AllOf(StartsWith("queue 'q': isolate, but pool 'p' is in device memory"), HasSubstr("leave pool out")));
  device_entry_.only_for = "p";
  EXPECT_THAT(checked_isolated(device_, false),
              AllOf(StartsWith("queue 'q': pool 'p'"), HasSubstr("create queue 'p' without isolate")));
  device_entry_.only_for.clear();
}

TEST(QueueChecks, ALineOfAnotherSizeNeedsABackendThatIsTheHostsEverywhere) {
  QueueOptions o{.line = 256};
  EXPECT_NO_THROW(check_queue_options("queue 'q'", o)) << "without a handler it is the host's";
  o.handler = "upper";
  EXPECT_THAT(error_of<UsageError>([&] { check_queue_options("queue 'q'", o); }),
              AllOf(HasSubstr("queue 'q': line is 256"), HasSubstr("say backend host")));
  o.backend = "host";
  EXPECT_NO_THROW(check_queue_options("queue 'q'", o));
  o.backend = "auto";
  o.pool = "p";
  EXPECT_NO_THROW(check_queue_options("queue 'q'", o)) << "it is where its pool is";
  o.pool = "";
  o.line = 128;
  EXPECT_NO_THROW(check_queue_options("queue 'q'", o));
}

TEST(QueueChecks, RecordsNeedSlots) {
  QueueOptions o{.slots = 0};
  EXPECT_EQ(checked(o), "");
  o.batch = Batch::records;
  EXPECT_THAT(checked(o), AllOf(StartsWith("queue 'q': batch is 'records'"), HasSubstr("give it some (slots, size)")));
  o.pool = "p";
  EXPECT_EQ(checked(o), "") << "its slots are the pool's";
  o.pool = "";
  o.slots = 1;
  EXPECT_EQ(checked(o), "");
}

TEST(QueueChecks, RecordsAreNoMatterOfTheBackend) {
  for (const char* const backend : {"auto", "host", "cuda"}) {
    for (const Mirror mirror : {Mirror::full, Mirror::none}) {
      QueueOptions o{.backend = backend, .mirror = mirror};
      o.batch = Batch::records;
      EXPECT_EQ(checked(o), "") << backend;
    }
  }
}

TEST(QueueChecks, AValueThatIsNoneOfBatchIsRefused) {
  QueueOptions o;
  o.batch = static_cast<Batch>(2);
  EXPECT_THAT(checked(o), AllOf(HasSubstr("batch is 2"), HasSubstr("Batch::records")));
}

TEST(HostQueueChecks, WhatOnlyAGpuHasIsRefusedByItsName) {
  EXPECT_EQ(checked_for_host({}), "");
  EXPECT_THAT(checked_for_host({.device = 1}), HasSubstr("device says nothing here"));
  EXPECT_THAT(checked_for_host({.mirror = Mirror::none}), HasSubstr("mirror says nothing here"));
  EXPECT_THAT(checked_for_host({.host_readable = false}), HasSubstr("host_readable says nothing here"));
  EXPECT_THAT(checked_for_host({.executor = ExecutorKind::stream}), HasSubstr("executor says nothing here"));
}

TEST(HostQueueChecks, SayWhyTheQueueIsOnTheHost) {
  const PoolEntry pool;
  EXPECT_THAT(checked_for_host({.pool = "p", .device = 1}, &pool), HasSubstr("host as pool 'p' is"));
  EXPECT_THAT(checked_for_host({.device = 1}), HasSubstr("host without a handler; say backend cuda"));
}

}  // namespace
}  // namespace ipcq::detail
