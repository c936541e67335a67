// Nonsense in the lines of a queue on a GPU: the kernel checks what it copied, passes over what cannot be, counts it,
// and goes on. Lines are written by a place's rightful owner, with content that no client of this library would write.
#include <gmock/gmock.h>

#include <cstring>
#include <random>

#include "device_queues/gpu_test.hpp"
#include "errors.hpp"
#include "protocol/doorbell.hpp"
#include "queue/queue_map.hpp"

namespace ipcq_test {
namespace {

using detail::LineKind;
using detail::Pair;

constexpr std::uint64_t kGarbage = 0xdeadbeefcafef00d;

class Scribbled : public GpuTest, public testing::WithParamInterface<ExecutorKind> {
 protected:
  void open(QueueOptions o) {
    o.executor = GetParam();
    broker_->create("q", o);
    map_ = detail::QueueMap::open(segment("queue"), detail::deadline_after(kBound));
    producer_.emplace(session_->producer("q"));
    consumer_.emplace(session_->consumer("q"));
  }
  void TearDown() override {
    consumer_.reset();
    producer_.reset();
    map_.reset();
    GpuTest::TearDown();
  }

  // A place in the order, taken as the producer's.
  std::uint64_t claim() {
    std::uint64_t limit = 0;
    detail::PublishClaim c;
    EXPECT_TRUE(eventually([&] {
      c = map_->ring().claim_publish(producer_->id(), 1, limit);
      return c.outcome == detail::ClaimOutcome::ok;
    }));
    return c.ticket;
  }
  // Writes `units`, each with the lap's tag where its bit is set in `tagged`; unit 0 last. Then rings.
  void write(std::uint64_t ticket, const Pair (&units)[detail::kLineUnits], unsigned tagged) {
    detail::Unit* const line = map_->ring().in(ticket);
    const auto tag = static_cast<std::uint32_t>(map_->ring().lap(ticket));
    for (unsigned u = detail::kLineUnits; u-- > 0;) {
      if ((tagged >> u & 1) != 0) line[u].store(detail::with_tag(units[u], tag), std::memory_order_release);
    }
    detail::publisher_fence();
    detail::ring(map_->control().work);
    detail::ring(map_->control().completion_waker);
  }
  std::uint64_t damaged() const { return map_->control().damaged.load(std::memory_order_relaxed); }

  // A good message gets through, inline and in a slot.
  ::testing::AssertionResult is_well() {
    for (const std::size_t bytes : {std::size_t{40}, std::size_t{3000}}) {
      const auto sent = stamped(1, sequence_++, bytes);
      if (const Status s = producer_->send(sent, kBound); s != Status::ok) {
        return ::testing::AssertionFailure() << "send: " << to_string(s);
      }
      auto m = consumer_->receive(kBound);
      if (!m) return ::testing::AssertionFailure() << bytes << " bytes: " << to_string(m.status());
      if (!std::equal(sent.begin(), sent.end(), m->bytes().begin(), m->bytes().end())) {
        return ::testing::AssertionFailure() << "wrong bytes";
      }
    }
    return ::testing::AssertionSuccess();
  }

  std::unique_ptr<detail::QueueMap> map_;
  std::optional<Producer> producer_;
  std::optional<Consumer> consumer_;
  std::uint64_t sequence_ = 0;
};
INSTANTIATE_TEST_SUITE_P(, Scribbled, testing::Values(ExecutorKind::persistent, ExecutorKind::stream),
                         [](const auto& info_) { return name_of(info_.param); });

struct Nonsense {
  const char* what;
  std::uint64_t kind, flags, data_unit, length;
  std::uint64_t lease;
  std::uint32_t slot;
  unsigned tagged;  // units that carry the lap's tag
  bool damaged;     // it is counted
};
constexpr unsigned kAll = detail::kAllUnits;
constexpr auto kInlined = static_cast<std::uint64_t>(LineKind::inlined);
constexpr auto kSlot = static_cast<std::uint64_t>(LineKind::slot);
constexpr auto kControl = static_cast<std::uint64_t>(LineKind::control);
constexpr std::uint64_t head(std::uint64_t kind, std::uint64_t flags, std::uint64_t data_unit, std::uint64_t length) {
  using Bits = detail::HeadBits;
  return Bits::Kind::put(kind) | Bits::Flags::put(flags) | Bits::DataUnit::put(data_unit) | Bits::Length::put(length);
}
constexpr Nonsense kNonsense[] = {
    {"no kind", 0, 0, 2, 10, 0, 0, kAll, true},
    {"kind 5", 5, 0, 2, 10, 0, 0, kAll, true},
    {"kind 255", 255, 255, 255, 0xffffffff, kGarbage, 0xffffffff, kAll, true},
    {"data before the data units", kInlined, 0, 1, 10, 0, 0, kAll, true},
    {"data in unit 0", kInlined, 0, 0, 10, 0, 0, kAll, true},
    {"data behind the line", kInlined, 0, 9, 10, 0, 0, kAll, true},
    {"data far behind the line", kInlined, 0, 255, 10, 0, 0, kAll, true},
    {"73 bytes inline", kInlined, 0, 2, 73, 0, 0, kAll, true},
    {"13 bytes in the last unit", kInlined, 0, 7, 13, 0, 0, kAll, true},
    {"4 GiB inline", kInlined, 0, 2, 0xffffffff, 0, 0, kAll, true},
    {"4 GiB and a little that wraps", kInlined, 0, 2, 0xfffffff8, 0, 0, kAll, true},
    {"inline with every flag that it may have", kInlined, 255 & ~detail::kRecords, 2, 1, 0, 0, kAll, false},
    {"records inline", kInlined, detail::kRecords, 2, 72, 0, 0, kAll, true},
    {"an inline message whose units do not come", kInlined, 0, 2, 72, 0, 0, 0x3, true},
    {"a slot that is none", kSlot, detail::kPayloadReady, 2, 100, 1, 8, kAll, true},
    {"slot 4 294 967 295", kSlot, detail::kPayloadReady, 2, 100, 1, 0xffffffff, kAll, true},
    {"slot 2 147 483 648", kSlot, detail::kPayloadReady | detail::kInMirror, 2, 100, 1, 0x80000000, kAll, true},
    {"a slot that is none, whose payload is to come", kSlot, 0, 2, 100, kGarbage, 1000, kAll, true},
    {"more than a slot holds", kSlot, detail::kPayloadReady | detail::kInMirror, 2, 4097, 1, 0, kAll, true},
    {"4 GiB in a slot", kSlot, detail::kPayloadReady | detail::kInMirror, 2, 0xffffffff, 1, 0, kAll, true},
    {"a slot whose units do not come", kSlot, detail::kPayloadReady, 2, 100, 1, 0, 0x7, true},
    {"a slot that is free", kSlot, detail::kPayloadReady | detail::kInMirror, 2, 4096, kGarbage, 7, kAll, false},
    {"a control line whose request does not come", kControl, 0, 2, 0, 0, 0, 0x1, true},
};

TEST_P(Scribbled, EachKindOfNonsenseIsPassedOver) {
  QueueOptions o = on_gpu("identity");
  o.lines = 16;
  open(o);
  ASSERT_TRUE(is_well());
  for (const Nonsense& n : kNonsense) {
    const std::uint64_t before = damaged();
    Pair units[detail::kLineUnits];
    for (auto& u : units) u = {kGarbage, 0x77777777};
    units[0] = {head(n.kind, n.flags, n.data_unit, n.length), producer_->id()};
    if (n.kind == kSlot) {
      units[detail::kLeaseUnit] = {n.lease, n.slot};
      units[detail::kAliasUnit] = {0, detail::kNone};
    }
    write(claim(), units, n.tagged);
    if (!n.damaged) (void)consumer_->receive(kBound);  // a message all the same
    ASSERT_TRUE(is_well()) << "after: " << n.what;
    if (n.damaged) {
      EXPECT_TRUE(eventually([&] { return damaged() == before + 1; })) << n.what << ": " << damaged() - before;
    }
  }
  const QueueStats s = stats();
  EXPECT_EQ(s.state, "open");
  EXPECT_EQ(s.executor, to_string(GetParam()));
}

// Its kernel has no workers.
TEST_P(Scribbled, ASlotInAQueueWithoutSlotsIsPassedOver) {
  QueueOptions o = on_gpu("identity");
  o.slots = 0;
  o.lines = 16;
  open(o);
  std::uint64_t nonsense = 0;
  for (const std::uint64_t flags : {std::uint64_t{0}, std::uint64_t{detail::kPayloadReady}}) {
    Pair units[detail::kLineUnits] = {};
    units[0] = {head(kSlot, flags, detail::kInlineUnit, 100), producer_->id()};
    units[detail::kLeaseUnit] = {1, 3};
    units[detail::kAliasUnit] = {0, detail::kNone};
    write(claim(), units, kAll);
    const auto sent = stamped(1, sequence_++, 40);
    ASSERT_EQ(producer_->send(sent, kBound), Status::ok);
    auto m = consumer_->receive(kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    EXPECT_TRUE(std::equal(sent.begin(), sent.end(), m->bytes().begin(), m->bytes().end()));
    ++nonsense;
    EXPECT_TRUE(eventually([&] { return damaged() == nonsense; })) << damaged();
  }
  EXPECT_TRUE(GetParam() != ExecutorKind::persistent || eventually([&] { return stats().parked; }));
}

// Nobody will ever write it.
TEST_P(Scribbled, APayloadThatNeverComesKeepsNoKernel) {
  open(on_gpu("identity"));
  ASSERT_TRUE(is_well());
  Pair units[detail::kLineUnits] = {};
  units[0] = {head(kSlot, 0, detail::kInlineUnit, 100), producer_->id()};
  units[detail::kLeaseUnit] = {kGarbage, 3};
  units[detail::kAliasUnit] = {0, detail::kNone};
  write(claim(), units, kAll);
  EXPECT_TRUE(GetParam() != ExecutorKind::persistent || eventually([&] { return stats().parked; }));
  broker_->stop(Duration::zero());
}

// The slot has another owner by now, who may have announced a payload.
TEST_P(Scribbled, ALoanThatOutlivesItsProducerWritesNothing) {
  QueueOptions o = on_gpu("identity");
  o.slots = 1;
  open(o);
  const auto pool = detail::PoolMap::open(segment("pool"), detail::deadline_after(kBound));
  auto p = session_->producer("q", {.cuda = true});
  auto stale = p.loan(kBound);
  ASSERT_TRUE(stale);
  p.close();
  auto q = session_->producer("q", {.cuda = true});
  auto loan = q.loan(kBound);
  ASSERT_TRUE(loan) << to_string(loan.status());
  ASSERT_EQ(loan->publish(10, kBound), Status::ok);
  const std::uint64_t written = pool->gpub(0).load(std::memory_order_acquire);
  ASSERT_NE(written, 0u);
  EXPECT_EQ(stale->publish(10, kBound), Status::closed);
  EXPECT_EQ(pool->gpub(0).load(std::memory_order_acquire), written);
}

TEST_P(Scribbled, ControlLinesThatAskForNothingChangeNothing) {
  QueueOptions o = on_gpu("identity");
  o.lines = 16;
  open(o);
  for (const std::uint64_t op : {std::uint64_t{0}, std::uint64_t{3}, std::uint64_t{255}, kGarbage}) {
    Pair units[detail::kLineUnits] = {};
    units[0] = {head(kControl, 0, 0, 0), producer_->id()};
    units[detail::kSequenceUnit] = {op, 0};
    write(claim(), units, kAll);
    ASSERT_TRUE(is_well()) << op;
    EXPECT_EQ(stats().executor, to_string(GetParam())) << op;
  }
}

// One line that never becomes whole must not take the whole ones behind it along.
TEST_P(Scribbled, MessagesBehindADamagedLineAllArrive) {
  QueueOptions o = on_gpu("identity");
  o.lines = 64;
  open(o);
  for (int round = 0; round < 5; ++round) {
    const std::uint64_t before = damaged();
    Pair units[detail::kLineUnits] = {};
    units[0] = {head(kInlined, 0, detail::kInlineUnit, detail::kInlineBytes), producer_->id()};
    write(claim(), units, 0x3);
    const std::uint64_t first = sequence_;
    // Meanwhile, and around the moment that the kernel loses patience.
    for (int n = 0; n < 40; ++n) {
      ASSERT_EQ(producer_->send(stamped(1, sequence_++, 60), kBound), Status::ok);
      std::this_thread::sleep_for(500us);
    }
    for (std::uint64_t n = first; n < sequence_; ++n) {
      auto m = consumer_->receive(kBound);
      ASSERT_TRUE(m) << to_string(m.status());
      const auto s = read_stamp(m->bytes());
      ASSERT_TRUE(s && s->sequence == n) << "message " << n;
    }
    EXPECT_TRUE(eventually([&] { return damaged() == before + 1; })) << damaged() - before;
  }
}

// Random bytes over lines, slot words and the words between CPU and GPU while messages flow. They may be lost. Nobody
// crashes, the runner serves its other queue, and the broker stops in order.
// The header of a pool lies in its clients' memory: a runner that opens it later takes no more from it than it has.
TEST_P(Scribbled, APoolWhoseHeaderWasForgedIsRefused) {
  broker_->create_pool("p", {.slots = 8, .size = 4096, .backend = "cuda", .mirror = Mirror::none});
  {
    auto pool = detail::Segment::open(segment("pool", "p"), detail::kPoolMagic, detail::deadline_after(kBound));
    auto h = detail::checked_header<detail::PoolHeader>(pool);
    h.slot_bytes = 0x7fffffff;
    h.slot_stride = 0x80000000;
    detail::publish_header(pool, h);
  }
  QueueOptions o = on_gpu("invert");
  o.pool = "p";
  o.executor = GetParam();
  EXPECT_THAT(error_of<Error>([&] { broker_->create("q", o); }), testing::HasSubstr("header of its pool"));
  EXPECT_EQ(broker_->stats().runner_deaths, 0u);
}

TEST_P(Scribbled, RandomBytesSpoilTheirQueueAndNothingElse) {
  QueueOptions o = on_gpu("invert");
  o.lines = 64;
  open(o);
  QueueOptions good = on_gpu("upper");
  good.executor = GetParam();
  broker_->create("good", good);
  const auto pool = detail::PoolMap::open(segment("pool"), detail::deadline_after(kBound));
  const std::vector<pid_t> before = runners();
  std::atomic<bool> stop{false};
  std::thread sender([&] {
    for (std::uint64_t n = 0; !stop; ++n) (void)producer_->send(stamped(1, n, n % 2 == 0 ? 60 : 3000), 20ms);
  });
  std::thread receiver([&] {
    while (!stop) {
      auto m = consumer_->receive(20ms);
      if (m) (void)fnv1a(m->bytes());  // every byte must be readable
    }
  });
  std::mt19937_64 random(7);
  const auto until = std::chrono::steady_clock::now() + 2s;
  while (std::chrono::steady_clock::now() < until) {
    auto* const line = reinterpret_cast<std::uint64_t*>(map_->ring().in(random() % 64));
    std::uint64_t& word = line[random() % (sizeof(detail::Line) / 8)];
    const std::uint64_t seen = __atomic_load_n(&word, __ATOMIC_RELAXED);
    switch (random() % 3) {
      case 0:
        __atomic_store_n(&word, seen ^ (std::uint64_t{1} << random() % 64), __ATOMIC_RELAXED);
        break;
      case 1:
        __atomic_store_n(&word, random() % 256, __ATOMIC_RELAXED);
        break;
      default:
        __atomic_store_n(&word, random(), __ATOMIC_RELAXED);
    }
    if (random() % 4 == 0) {
      const auto slot = static_cast<std::uint32_t>(random() % pool->config().slots);
      (random() % 2 == 0 ? pool->gpub(slot) : pool->tomb(slot)).store(random(), std::memory_order_relaxed);
    }
    if (random() % 16 == 0) map_->control().taken.store(random(), std::memory_order_relaxed);
    std::this_thread::sleep_for(100us);
  }
  stop = true;
  sender.join();
  receiver.join();
  EXPECT_EQ(runners(), before) << "the runner ended";
  auto p = session_->producer("good");
  auto c = session_->consumer("good");
  for (int n = 0; n < 20; ++n) {
    ASSERT_EQ(p.send("abc", 3, kBound), Status::ok);
    auto m = c.receive(kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    EXPECT_EQ(std::memcmp(m->bytes().data(), "ABC", 3), 0);
  }
  EXPECT_FALSE(broker_->dump("q").empty());
  EXPECT_EQ(broker_->stats().runner_deaths, 0u);
}

}  // namespace
}  // namespace ipcq_test
