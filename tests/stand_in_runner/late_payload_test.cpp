// Messages whose payload a GPU has still to write, and a consumer on the CPU that does not wait for it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <vector>

#include "eventually.hpp"
#include "ipcq/ipcq.hpp"
#include "queue/queue_map.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;
using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

class LatePayload : public testing::Test {
 protected:
  static constexpr std::uint32_t kGpu = 77;  // who publishes
  explicit LatePayload(Mirror mirror = Mirror::none)
      : broker_({.name = "late-payload-" + std::to_string(getpid())}),
        session_(connect({.broker = broker_.stats().name})) {
    broker_.create("q", {.slots = 8, .size = 4096, .lines = 8, .backend = "cuda", .mirror = mirror});
    for (const auto& b : list_brokers()) {
      if (b.name != broker_.stats().name) continue;
      for (const auto& s : b.segments) {
        if (s.find("+queue+") != std::string::npos) queue_ = detail::QueueMap::open(s, 0);
        if (s.find("+pool+") != std::string::npos) pool_ = detail::PoolMap::open(s, 0);
      }
    }
  }
  detail::SlotLoan publish(std::uint64_t sequence, std::uint8_t flags = 0) {
    std::uint32_t hint = 0;
    const detail::SlotLoan loan = pool_->pool().borrow(kGpu, hint);
    std::uint64_t limit = 0;
    const auto c = queue_->ring().claim_publish(kGpu, 1, limit);
    pool_->pool().mark_message(loan, kGpu, c.groups, c.ticket);
    detail::Descriptor d;
    d.kind = detail::LineKind::slot;
    d.flags = flags;
    d.length = 16;
    d.slot = loan.slot;
    d.lease = loan.lease;
    d.sequence = sequence;
    queue_->ring().write(c.ticket, d, nullptr);
    return loan;
  }
  void publish_inline(std::uint64_t sequence) {
    std::uint64_t limit = 0;
    const auto c = queue_->ring().claim_publish(kGpu, 1, limit);
    detail::Descriptor d;
    d.kind = detail::LineKind::inlined;
    d.sequence = sequence;
    queue_->ring().write(c.ticket, d, nullptr);
  }
  void complete(const detail::SlotLoan& loan) { pool_->gpub(loan.slot).store(loan.lease, std::memory_order_release); }
  std::vector<std::uint64_t> receive_many(Consumer& c, Duration timeout) {
    std::vector<Message> batch(8);
    const BatchResult r = c.receive_many(batch, timeout);
    last_ = r.status;
    std::vector<std::uint64_t> got;
    for (std::size_t i = 0; i < r.count; ++i) got.push_back(batch[i].sequence());
    return got;
  }
  static long sleeps() {
    rusage usage{};
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nvcsw;
  }

  Broker broker_;
  Session session_;
  std::unique_ptr<detail::QueueMap> queue_;
  std::unique_ptr<detail::PoolMap> pool_;
  Status last_ = Status::ok;
};

// The mirror has a slot's earlier bytes where a payload was not copied to it.
class PayloadBesideAMirror : public LatePayload {
 protected:
  PayloadBesideAMirror() : LatePayload(Mirror::full) {}
};

TEST_F(PayloadBesideAMirror, IsNotReadInIt) {
  auto c = session_.consumer("q", {.cuda = true});
  for (std::uint64_t n = 0; n < 3; ++n) publish(n, detail::kPayloadReady);
  const auto is_elsewhere = [](const MessageView& m) { return m.length() == 16 && m.bytes().data() == nullptr; };
  auto one = c.receive(kBound);
  ASSERT_TRUE(one);
  EXPECT_TRUE(is_elsewhere(*one));
  std::vector<Message> batch(1);
  ASSERT_EQ(c.receive_many(batch, kBound).count, 1u);
  EXPECT_TRUE(is_elsewhere(batch[0]));
  const BatchResult shown = c.consume([&](const MessageView& m) { EXPECT_TRUE(is_elsewhere(m)); }, kBound, 1);
  EXPECT_EQ(shown.count, 1u);
}

TEST_F(LatePayload, IsNotWaitedForByAReceiveWithoutTime) {
  auto c = session_.consumer("q", {.cuda = true});
  const detail::SlotLoan loan = publish(1);
  for (const Duration none : {Duration::zero(), Duration(-1)}) {
    bool slept = true;
    for (int tries = 0; tries < 5 && slept; ++tries) {
      const long before = sleeps();
      EXPECT_EQ(c.receive(none).status(), Status::empty);
      EXPECT_THAT(receive_many(c, none), IsEmpty());
      EXPECT_EQ(last_, Status::empty);
      slept = sleeps() != before;
    }
    EXPECT_FALSE(slept);
  }
  EXPECT_EQ(c.receive(20ms).status(), Status::timeout);
  EXPECT_EQ(c.receive(1ns).status(), Status::timeout);
  complete(loan);
  auto m = c.receive(0ns);
  ASSERT_EQ(m.status(), Status::ok) << broker_.dump("q");
  EXPECT_EQ(m->sequence(), 1u);
  EXPECT_EQ(m->redeliveries(), 0u);
}

TEST_F(LatePayload, IsNotOvertakenByAnInlineMessageInABatch) {
  auto c = session_.consumer("q", {.cuda = true});
  publish_inline(0);
  const detail::SlotLoan late = publish(1);
  publish_inline(2);
  EXPECT_THAT(receive_many(c, kBound), ElementsAre(0));
  EXPECT_THAT(receive_many(c, 0ns), IsEmpty());
  complete(late);
  EXPECT_THAT(receive_many(c, kBound), ElementsAre(1));  // what was put back comes one a call
  EXPECT_THAT(receive_many(c, kBound), ElementsAre(2));
}

TEST_F(LatePayload, IsNotOvertakenByWhatIsBehindItInABatch) {
  auto c = session_.consumer("q", {.cuda = true});
  complete(publish(0));
  const detail::SlotLoan late = publish(1);
  for (std::uint64_t n = 2; n < 4; ++n) complete(publish(n));
  EXPECT_THAT(receive_many(c, kBound), ElementsAre(0));
  EXPECT_THAT(receive_many(c, 0ns), IsEmpty());
  complete(late);
  std::vector<std::uint64_t> got;
  while (got.size() < 3) {
    const auto some = receive_many(c, kBound);
    ASSERT_EQ(last_, Status::ok);
    got.insert(got.end(), some.begin(), some.end());
  }
  EXPECT_THAT(got, ElementsAre(1, 2, 3));
}

}  // namespace
}  // namespace ipcq_test
