// What remains of a queue whose runner is gone. No GPU is needed: the words are those of a device queue, and the test
// writes what the runner had written.
#include "broker/lost_queues.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "broker/parts.hpp"
#include "broker/stream_end.hpp"
#include "unit/device_segments.hpp"

namespace ipcq::detail {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

class LostQueue : public testing::Test {
 protected:
  LostQueue() {
    q_.name = "cam";
    q_.device = 3;
    q_.map = std::shared_ptr<QueueMap>(std::shared_ptr<void>(), &s_.queue());
    q_.pool = std::make_shared<PoolEntry>();
    q_.pool->map = std::shared_ptr<PoolMap>(std::shared_ptr<void>(), &s_.pool_map());
    q_.endpoints.resize(4);
    q_.kept.resize(4);
    q_.groups[0].name = "g0";
    EndpointEntry& consumer = q_.endpoints[1];
    consumer.client = 6;
    consumer.kind = EndpointKind::consumer;
  }
  void end(const std::string& how = "killed by signal 9") {
    begin_draining(q_);
    end_lost_queue(context_, q_, how);
  }
  // All lines of the log so far; it takes no more.
  std::vector<std::string> logged() {
    context_.close_log();
    const std::scoped_lock lock(mutex_);
    return lines_;
  }
  void add_client(std::uint32_t endpoint, std::int32_t pid, bool uses_cuda) {
    q_.endpoints[endpoint].client = 20 + endpoint;
    q_.endpoints[endpoint].pid = pid;
    q_.endpoints[endpoint].uses_cuda = uses_cuda;
  }
  static bool has_name(const Segment& segment) { return std::filesystem::exists("/dev/shm/" + segment.name()); }

  std::mutex mutex_;
  std::vector<std::string> lines_;
  BrokerContext context_{{.name = unique_name(), .log = [this](LogLevel level, std::string_view text) {
                            const std::scoped_lock lock(mutex_);
                            lines_.push_back((level == LogLevel::error     ? "error: "
                                              : level == LogLevel::warning ? "warning: "
                                                                           : "") +
                                             std::string(text));
                          }}};
  DeviceSegments s_{QueueMap::Executed::by_device};
  QueueEntry q_;
};

TEST_F(LostQueue, IsClosedAndToldOf) {
  end("ended with exit code 5");
  EXPECT_EQ(s_.control().state.load(std::memory_order_relaxed), static_cast<std::uint64_t>(QueueState::closed));
  EXPECT_TRUE(s_.ring().cursor(1).closed) << "no member takes any more";
  EXPECT_THAT(logged(), ElementsAre(AllOf(HasSubstr("error: queue 'cam'"), HasSubstr("GPU 3"),
                                          HasSubstr("(ended with exit code 5)"), HasSubstr("0 messages"),
                                          Not(HasSubstr("consumers hold")))));
}

TEST_F(LostQueue, WakesItsClients) {
  auto& control = s_.control();
  for (Doorbell* const bell : {&control.work, &control.space, &control.ready[0], &s_.pool_map().control().free}) {
    arm(*bell, bell->sequence.load(std::memory_order_relaxed));
  }
  end();
  EXPECT_FALSE(is_armed(control.work));
  EXPECT_FALSE(is_armed(control.space));
  EXPECT_FALSE(is_armed(control.ready[0]));
  EXPECT_FALSE(is_armed(s_.pool_map().control().free));
}

TEST_F(LostQueue, LeavesItsNamesToTheNext) {
  ASSERT_TRUE(has_name(s_.queue().segment()));
  ASSERT_TRUE(has_name(s_.pool_map().segment()));
  end();
  EXPECT_FALSE(has_name(s_.queue().segment()));
  EXPECT_FALSE(has_name(s_.pool_map().segment()));
}

TEST_F(LostQueue, APoolThatItSharedKeepsItsName) {
  q_.options.pool = "shared";
  end();
  EXPECT_FALSE(has_name(s_.queue().segment()));
  EXPECT_TRUE(has_name(s_.pool_map().segment()));
}

TEST_F(LostQueue, ClientsWithAGpuAreNamedOnce) {
  add_client(0, 400, true);
  add_client(1, 300, true);
  add_client(2, 300, true);
  add_client(3, 200, false);
  std::vector<QueueEntry> ended;
  ended.push_back(std::move(q_));
  warn_of_lost_contexts(context_, 3, ended);
  EXPECT_THAT(logged(), ElementsAre(AllOf(HasSubstr("warning: GPU 3"), testing::EndsWith("pid 300, 400"))));
}

TEST_F(LostQueue, NobodyIsWarnedOfClientsWithoutAGpu) {
  add_client(0, 400, false);
  q_.endpoints[2].uses_cuda = true;  // of a client that has closed
  q_.endpoints[2].pid = 300;
  std::vector<QueueEntry> ended;
  ended.push_back(std::move(q_));
  warn_of_lost_contexts(context_, 3, ended);
  EXPECT_THAT(logged(), IsEmpty());
}

TEST_F(LostQueue, SaysHowManyItHadAndWhatConsumersHold) {
  for (std::uint64_t n = 0; n < 3; ++n) {
    ASSERT_EQ(s_.send(5, n), n);
    s_.process(n);
  }
  ASSERT_NE(s_.take(0, 1, 6), kNone);
  end();
  EXPECT_THAT(logged(), ElementsAre(AllOf(HasSubstr("2 messages and what consumers hold (1)"),
                                          HasSubstr("(killed by signal 9)"))));
}

TEST_F(LostQueue, NobodyWaitsForAPayloadOrALineAnyMore) {
  const SlotLoan late = s_.send_late(5, 0);
  const SlotLoan complete = s_.send_late(5, 1);
  s_.write(complete);
  ASSERT_EQ(s_.send(5, 2), 2u);
  s_.process(2);
  end();
  EXPECT_EQ(s_.written(late.slot), late.lease);
  EXPECT_EQ(s_.buried(late.slot), late.lease);
  for (std::uint64_t t = 0; t < 3; ++t) {
    Descriptor d;
    ASSERT_EQ(s_.ring().look(t, d), LineRead::present) << t;
    EXPECT_EQ(d.kind, t == 2 ? LineKind::inlined : LineKind::tombstone) << t;
  }
}

}  // namespace
}  // namespace ipcq::detail
