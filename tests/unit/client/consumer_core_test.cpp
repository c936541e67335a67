// Consumers of a queue that somebody scribbles over.
#include "client/consumer_core.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <string_view>
#include <thread>

#include "base/crash_point.hpp"
#include "eventually.hpp"
#include "ipcq/ipcq.hpp"
#include "queue/queue_map.hpp"
#include "stamped.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;
using namespace std::chrono_literals;

constexpr Duration kTime = 50ms;
thread_local bool is_consumer = false;
std::atomic<int> skipped{0};
std::atomic<int> waits_afterwards{0};

// Skipping a message that makes no sense takes longer than the call has time.
void skip_slowly(const char* step) {
  if (!is_consumer) return;
  const std::string_view name = step;
  if (name == "release.started") {
    std::this_thread::sleep_for(2 * kTime);
    ++skipped;
  } else if (name == "wait.armed" && skipped != 0) {
    ++waits_afterwards;
  }
}

class DamagedMessage : public testing::Test {
 protected:
  DamagedMessage()
      : broker_({.name = "consumer-core-" + std::to_string(getpid())}),
        session_(connect({.broker = broker_.stats().name})) {
    broker_.create("q", {.slots = 2, .size = 100, .lines = 8});
    for (const auto& b : list_brokers()) {
      if (b.name != broker_.stats().name) continue;
      for (const auto& s : b.segments) {
        if (s.find("+queue+") != std::string::npos) map_ = detail::QueueMap::open(s, 0);
      }
    }
    skipped = waits_afterwards = 0;
    is_consumer = true;
    detail::set_crash_point_hook(skip_slowly);
  }
  ~DamagedMessage() override {
    detail::set_crash_point_hook(nullptr);
    is_consumer = false;
  }
  // A message in a slot that the pool does not have.
  void publish_nonsense() {
    ASSERT_NE(map_, nullptr);
    std::uint64_t limit = 0;
    const auto c = map_->ring().claim_publish(77, 1, limit);
    ASSERT_EQ(c.outcome, detail::ClaimOutcome::ok);
    detail::Descriptor d;
    d.kind = detail::LineKind::slot;
    d.flags = detail::kPayloadReady;
    d.slot = 999;
    d.lease = 1;
    map_->ring().write(c.ticket, d, nullptr);
  }

  Broker broker_;
  Session session_;
  std::unique_ptr<detail::QueueMap> map_;
};

TEST_F(DamagedMessage, GivesAReceiveNoNewTime) {
  auto c = session_.consumer("q", {.wait = Wait::sleep()});
  publish_nonsense();
  EXPECT_EQ(c.receive(kTime).status(), Status::timeout);
  EXPECT_EQ(skipped, 1);
  EXPECT_EQ(waits_afterwards, 0);
}

TEST_F(DamagedMessage, GivesAReceiveOfManyNoNewTime) {
  auto c = session_.consumer("q", {.wait = Wait::sleep()});
  for (int i = 0; i < 3; ++i) publish_nonsense();
  Message batch[4];
  const BatchResult r = c.receive_many(batch, kTime);
  EXPECT_EQ(r.status, Status::timeout);
  EXPECT_EQ(r.count, 0u);
  EXPECT_EQ(skipped, 3);
  EXPECT_EQ(waits_afterwards, 0);
}

TEST_F(DamagedMessage, MakesAReceiveWithoutTimeNoneThatWaits) {
  auto c = session_.consumer("q", {.wait = Wait::sleep()});
  for (const Duration none : {Duration::zero(), Duration(-1)}) {
    publish_nonsense();
    EXPECT_EQ(c.receive(none).status(), Status::empty);
  }
  EXPECT_EQ(waits_afterwards, 0);
}

TEST_F(DamagedMessage, IsSkippedByAReceiveThatHasTime) {
  auto c = session_.consumer("q");
  auto p = session_.producer("q");
  publish_nonsense();
  ASSERT_EQ(p.send(stamped(1, 5), kBound), Status::ok);
  auto m = c.receive(kBound);
  ASSERT_TRUE(m);
  EXPECT_TRUE(read_stamp(m->bytes()));
}

}  // namespace
}  // namespace ipcq_test
