// Messages of a GPU's queue as its clients with a GPU take them: when they are published, not when they are processed.
// The executor is played by hand; no GPU is needed. Clients: 2 producer; 5, 6 members of group 0 at endpoints 0, 1.
#include "protocol/published_view.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <optional>
#include <thread>

#include "client/consumer_core.hpp"
#include "device_segments.hpp"
#include "ipcq/broker.hpp"

namespace ipcq::detail {
namespace {

using Executed = QueueMap::Executed;

class PublishedViewTest : public testing::Test {
 protected:
  DeviceSegments s{Executed::by_device};
  PublishedView<SharedAtomics> early{s.ring()};

  std::uint64_t send_bytes(const char* text) {
    const auto length = static_cast<std::uint32_t>(std::strlen(text));
    const PublishClaim c = s.claim(2);
    s.ring().write(c.ticket, Segments::inline_message(c.ticket, length), reinterpret_cast<const std::byte*>(text));
    return c.ticket;
  }
  std::uint64_t publish(LineKind kind) {
    const PublishClaim c = s.claim(2);
    Descriptor d;
    d.kind = kind;
    s.ring().write(c.ticket, d, nullptr);
    return c.ticket;
  }
  Descriptor copy(std::uint32_t entry) {
    EXPECT_NE(entry, kNone);
    return entry != kNone ? s.held(entry).descriptor.load() : Descriptor{};
  }
  unsigned flags(std::uint32_t entry) { return copy(entry).flags; }
};

TEST_F(PublishedViewTest, ShowsAMessageInASlotBeforeItIsProcessed) {
  const SlotLoan loan = s.send_late(2, 7);
  EXPECT_EQ(s.take(0, 0, 5), kNone);  // a member without a GPU
  EXPECT_TRUE(s.queue().published_member(0, 0, 5).has_work());
  const std::uint32_t e = s.take_early(0, 0, 5);
  ASSERT_NE(e, kNone);
  EXPECT_EQ(copy(e).sequence, 7u);
  EXPECT_EQ(copy(e).slot, loan.slot);
  EXPECT_EQ(copy(e).lease, loan.lease);
  EXPECT_EQ(flags(e), kBeforeExecutor);
}

TEST_F(PublishedViewTest, ShowsAnInlineMessageOnceItIsProcessed) {
  const std::uint64_t ticket = send_bytes("raw");
  EXPECT_EQ(s.take_early(0, 0, 5), kNone);
  EXPECT_FALSE(s.queue().published_member(0, 0, 5).has_work());
  s.ring().write_out(ticket, Segments::inline_message(0, 3), reinterpret_cast<const std::byte*>("RAW"));
  const std::uint32_t e = s.take_early(0, 0, 5);
  ASSERT_NE(e, kNone);
  EXPECT_EQ(std::memcmp(s.held(e).data.view(), "RAW", 3), 0);
  EXPECT_EQ(flags(e) & kBeforeExecutor, 0u);
}

TEST_F(PublishedViewTest, KeepsTheOrderOfSlotsAndInlineMessages) {
  s.send_late(2, 0);
  send_bytes("x");
  s.send_late(2, 2);
  EXPECT_EQ(copy(s.take_early(0, 0, 5)).sequence, 0u);
  EXPECT_EQ(s.take_early(0, 0, 5), kNone);  // the second is not processed: the third waits too
  s.process(1);
  std::uint32_t entries[3];
  const Taken t = s.queue().published_member(0, 0, 5).take(entries);
  ASSERT_EQ(t.count, 2u);
  EXPECT_EQ(copy(entries[0]).sequence, 1u);
  EXPECT_EQ(copy(entries[1]).sequence, 2u);
}

TEST_F(PublishedViewTest, TakesWhatIsProcessedEarlyToo) {
  s.write(s.send_late(2, 0));
  s.process(0);
  const std::uint32_t e = s.take_early(0, 0, 5);
  ASSERT_NE(e, kNone);
  EXPECT_NE(flags(e) & kBeforeExecutor, 0u);
  EXPECT_TRUE(early.is_processed(0));
}

TEST_F(PublishedViewTest, IsTheRingItselfWhereNobodyStandsBetween) {
  DeviceSegments direct(Executed::none);
  direct.send_late(2, 0);
  ASSERT_EQ(direct.send(2, 1), 1u);
  const std::uint32_t first = direct.take_early(0, 0, 5);
  const std::uint32_t second = direct.take_early(0, 0, 5);
  ASSERT_NE(second, kNone);
  EXPECT_EQ(unsigned{direct.held(first).descriptor.load().flags}, 0u);
  EXPECT_EQ(direct.held(second).descriptor.load().sequence, 1u);
}

TEST_F(PublishedViewTest, PassesOverTombstonesAndControlLines) {
  publish(LineKind::tombstone);
  publish(LineKind::control);
  s.send_late(2, 2);
  std::uint32_t entries[4];
  const Taken t = s.queue().published_member(0, 0, 5).take(entries);
  ASSERT_EQ(t.count, 1u);
  EXPECT_EQ(t.damaged, 0u);
  EXPECT_EQ(copy(entries[0]).sequence, 2u);
  for (std::uint64_t ticket = 0; ticket < 3; ++ticket) {
    EXPECT_EQ(own_state(s.ring().own(1, ticket).load(std::memory_order_relaxed)), OwnState::done) << ticket;
  }
}

TEST_F(PublishedViewTest, GivesNoLineToAProducerBeforeTheExecutorIsDoneWithIt) {
  for (std::uint64_t n = 0; n < 4; ++n) s.send_late(2, n);
  for (int n = 0; n < 4; ++n) ASSERT_NE(s.take_early(0, 0, 5), kNone);
  EXPECT_EQ(s.claim(3).outcome, ClaimOutcome::full);
  s.process(0);
  EXPECT_EQ(s.claim(3, 4).count, 1u);
}

TEST_F(PublishedViewTest, CountsALineAsDamagedThatHasNoMeaning) {
  const PublishClaim c = s.claim(2);
  s.ring().in(c.ticket)->store(make_unit(0x77, 2, 1), std::memory_order_release);
  std::uint32_t entry = kNone;
  const Taken t = s.queue().published_member(0, 0, 5).take_one(entry);
  EXPECT_EQ(t.count, 0u);
  EXPECT_EQ(t.damaged, 1u);
}

// The mark says how a held copy was made. A line that carries it is scribbled over.
class ScribbledMark : public PublishedViewTest {
 protected:
  void scribble(const SlotLoan& loan, Unit* line) {
    Descriptor d = Segments::slot_message(loan, 0);
    d.flags = 0xff;
    write_line(line, 1, d, nullptr);
  }
};

TEST_F(ScribbledMark, IsNotBelievedInOut) {
  const SlotLoan loan = s.send_late(2, 0);
  scribble(loan, s.ring().out(0));
  const std::uint32_t e = s.take(0, 0, 5);
  ASSERT_NE(e, kNone);
  EXPECT_EQ(flags(e), kPayloadReady | kNotProcessed | kInMirror | kRecords | kHandlerFailed | kFiltered);
}

TEST_F(ScribbledMark, IsNotBelievedInTheLineOfADirectQueue) {
  DeviceSegments direct(Executed::none);
  scribble(direct.send_late(2, 0), direct.ring().in(0));
  const std::uint32_t e = direct.take_early(0, 0, 5);
  ASSERT_NE(e, kNone);
  EXPECT_EQ(unsigned{direct.held(e).descriptor.load().flags},
            kPayloadReady | kNotProcessed | kInMirror | kRecords | kHandlerFailed | kFiltered);
}

class ProcessedLaps : public PublishedViewTest, public testing::WithParamInterface<std::uint64_t> {};

TEST_P(ProcessedLaps, TellsWhatIsProcessedForEver) {
  const std::uint64_t lap = GetParam();
  const std::uint64_t ticket = (lap - 1) * s.ring().lines() + 2;
  const auto write_out = [&](std::uint64_t of_lap) {
    Descriptor d;
    d.kind = LineKind::tombstone;
    write_line(s.ring().out(ticket), of_lap, d, nullptr);
  };
  write_out(lap - 1);
  EXPECT_TRUE(early.is_processed(ticket - s.ring().lines()));
  EXPECT_FALSE(early.is_processed(ticket));
  EXPECT_FALSE(early.is_processed(ticket + s.ring().lines()));
  for (const std::uint64_t later : {0u, 1u, 2u, 1000u}) {
    write_out(lap + later);
    EXPECT_TRUE(early.is_processed(ticket)) << later;
    EXPECT_FALSE(early.is_processed(ticket + (later + 1) * s.ring().lines())) << later;
  }
}

INSTANTIATE_TEST_SUITE_P(Near, ProcessedLaps,
                         testing::Values(std::uint64_t{2}, std::uint64_t{1} << 20, std::uint64_t{1} << 31,
                                         std::uint64_t{1} << 32));

TEST_F(PublishedViewTest, HasNothingProcessedWhenItIsNew) {
  for (std::uint64_t ticket = 0; ticket < 4; ++ticket) EXPECT_FALSE(early.is_processed(ticket));
}

// Taken early by client 5 and given back: client 6, who has no GPU, gets it once it is processed. The broker only keeps
// its session alive; the maps are made here.
class GivenBackEarly : public testing::Test {
 protected:
  void SetUp() override {
    loan = s->send_late(2, 7);
    s->write(loan);
    std::memcpy(s->pool_map().payload(loan.slot), "old", 3);
    const std::uint32_t e = s->take_early(0, 0, 5);
    ASSERT_NE(e, kNone);
    ASSERT_TRUE(s->queue().published_member(0, 0, 5).give_back(e, 0));
    const Attachment a{{s, &s->queue()}, {s, &s->pool_map()}, 6, 1, 0, false};
    consumer.emplace(session, a, ConsumerOptions{});
  }
  Status receive(Duration timeout = Duration::zero()) { return consumer->receive(message, timeout); }
  // Receives in a thread; returns once that has taken the message.
  std::thread receive_in_thread() {
    std::thread t([this] {
      status = receive(std::chrono::seconds(30));
      returned = true;
    });
    const std::uint64_t deadline = deadline_after(std::chrono::seconds(10));
    bool taken = false;
    while (!(taken = s->held_word(0).client == 6) && now_ns() < deadline) std::this_thread::yield();
    EXPECT_TRUE(taken);
    std::this_thread::sleep_for(std::chrono::milliseconds(30));  // it goes back, uncounted, and is taken again
    EXPECT_FALSE(returned);
    return t;
  }

  Broker broker{{"early-ring-" + std::to_string(getpid()), "", {}}};
  std::shared_ptr<SessionCore> session =
      std::make_shared<SessionCore>(ConnectOptions{broker.socket_path(), Duration::zero(), {}});
  static QueueOptions adding() {
    QueueOptions o = DeviceSegments::small();
    o.handler = "vector_add";
    return o;
  }
  std::shared_ptr<DeviceSegments> s = std::make_shared<DeviceSegments>(Executed::by_device, adding());
  SlotLoan loan;
  std::optional<ConsumerCore> consumer;
  Message message;
  Status status = Status::empty;
  std::atomic<bool> returned{false};
};

TEST_F(GivenBackEarly, IsReceivedOnceItIsProcessed) {
  std::thread t = receive_in_thread();
  std::memcpy(s->pool_map().payload(loan.slot), "new", 3);
  s->process(0);
  t.join();
  ASSERT_EQ(status, Status::ok);
  EXPECT_EQ(message.sequence(), 7u);
  EXPECT_EQ(message.redeliveries(), 1u);  // by the test; that it went back while it was waited for is none
  EXPECT_EQ(message.bytes().data(), s->pool_map().payload(loan.slot));
  EXPECT_EQ(message.release(), Status::ok);
  EXPECT_TRUE(s->all_slots_free());
}

TEST_F(GivenBackEarly, IsReceivedWhenItsLineServesAnotherLapByNow) {
  write_line(s->ring().out(0), 3, Segments::inline_message(0), nullptr);
  ASSERT_EQ(receive(), Status::ok);
  EXPECT_EQ(message.sequence(), 7u);
  EXPECT_TRUE(message.processed());
  EXPECT_NE(message.bytes().data(), nullptr);
}

// What the line said is gone: whether the handler refused the message follows from its length.
TEST_F(GivenBackEarly, SaysThatTheHandlerRefusedItThoughItsLineServesAnotherLap) {
  Descriptor d = s->held(0).descriptor.load();
  d.length = 12;
  s->held(0).descriptor.store(d);
  write_line(s->ring().out(0), 3, Segments::inline_message(0), nullptr);
  ASSERT_EQ(receive(), Status::ok);
  EXPECT_FALSE(message.processed());
}

TEST_F(GivenBackEarly, GoesBackAgainWhenTheWaitIsInterrupted) {
  std::thread t = receive_in_thread();
  session->interrupt();
  t.join();
  EXPECT_EQ(status, Status::interrupted);
  EXPECT_EQ(s->held_word(0).state, HeldState::orphan);
  EXPECT_EQ(s->held_word(0).deliveries, 1u);
}

// Its tombstone is gone already: only the tomb tells.
TEST_F(GivenBackEarly, IsPassedOverWhenItsPayloadNeverCame) {
  s->pool_map().tomb(loan.slot).store(loan.lease, std::memory_order_relaxed);
  write_line(s->ring().out(0), 3, Segments::inline_message(0), nullptr);
  EXPECT_EQ(receive(), Status::empty);
  EXPECT_EQ(s->held_word(0).state, HeldState::free);
}

TEST_F(GivenBackEarly, IsPassedOverWhenTheExecutorMadeATombstoneOfIt) {
  s->process(0, true);
  EXPECT_EQ(receive(), Status::empty);
  EXPECT_EQ(s->held_word(0).state, HeldState::free);
  EXPECT_TRUE(s->all_slots_free());
}

}  // namespace
}  // namespace ipcq::detail
