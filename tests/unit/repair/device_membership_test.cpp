// Late payloads, which a GPU may still write: what discards messages leaves them alone, and what ends a queue ends the
// waits for them. No GPU is needed: the streams and the executor are played by hand.
#include "repair/membership.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "client/producer_core.hpp"
#include "device_ends.hpp"
#include "ipcq/broker.hpp"

namespace ipcq::detail {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Executed = QueueMap::Executed;

class DeviceQueue : public Ends, public testing::Test {};

// A direct queue: what is published is what readers take, written or not.
class DirectQueue : public Ends, public testing::Test {
 protected:
  DirectQueue() : Ends(Executed::none) {}
  bool drain(std::uint64_t end) { return drain_left_group(s.queue(), s.pool_map(), 0, end); }
};

// Late payloads are neither discarded nor freed: the slot's next loaner would write beside the stream.

TEST_F(DirectQueue, AGroupThatLeavesWaitsForALatePayload) {
  const SlotLoan loan = s.send_late(2, 0);
  const std::uint64_t end = leave_group(s.queue(), 0);
  EXPECT_FALSE(drain(end));
  EXPECT_EQ(s.state(loan.slot), SlotState::message);
  EXPECT_EQ(s.ring().cursor(1).next, 0u);
  EXPECT_EQ(s.ring().live_groups(), 1u);
  s.write(loan);
  EXPECT_TRUE(drain(end));
  EXPECT_TRUE(s.all_slots_free());
  EXPECT_EQ(s.ring().live_groups(), 0u);
}

TEST_F(DirectQueue, AGroupThatLeavesWaitsForALatePayloadThatWasGivenBack) {
  const SlotLoan loan = s.send_late(2, 0);
  ASSERT_TRUE(s.queue().published_member(0, 0, 5).give_back(s.take_early(0, 0, 5), 0));
  const std::uint64_t end = leave_group(s.queue(), 0);
  EXPECT_FALSE(drain(end));
  EXPECT_EQ(s.state(loan.slot), SlotState::message);
  EXPECT_EQ(s.held_word(0).state, HeldState::orphan);
  s.write(loan);
  EXPECT_TRUE(drain(end));
  EXPECT_EQ(s.held_word(0).state, HeldState::free);
  EXPECT_TRUE(s.all_slots_free());
}

// The executor, too, writes to the slot of a message that was taken early.
TEST_F(DeviceQueue, AGroupThatLeavesWaitsForTheExecutorOfWhatWasGivenBackEarly) {
  const SlotLoan loan = s.send_late(2, 0);
  s.write(loan);
  ASSERT_TRUE(s.queue().published_member(0, 0, 5).give_back(s.take_early(0, 0, 5), 0));
  const std::uint64_t end = leave_group(s.queue(), 0);
  EXPECT_FALSE(drain_left_group(s.queue(), s.pool_map(), 0, end));
  EXPECT_EQ(s.state(loan.slot), SlotState::message);
  s.process(0);
  EXPECT_TRUE(drain_left_group(s.queue(), s.pool_map(), 0, end));
  EXPECT_TRUE(s.all_slots_free());
}

TEST_F(DirectQueue, AGroupThatLeavesDoesNotWaitForAPayloadThatWasReadyBeforeItsLine) {
  s.send_slot(3, 0);
  EXPECT_TRUE(drain(leave_group(s.queue(), 0)));
  EXPECT_TRUE(s.all_slots_free());
}

TEST_F(DirectQueue, AGroupThatLeavesPassesOverABuriedMessage) {
  s.send_late(2, 0);
  ASSERT_EQ(producer_ends(End::died).unwritten, 1u);
  EXPECT_TRUE(drain(leave_group(s.queue(), 0)));
  EXPECT_TRUE(s.all_slots_free());
}

// A producer's own look for room. The broker only keeps its session alive; the maps are made here.
class DropOldest : public testing::Test {
 protected:
  static QueueOptions options() {
    QueueOptions o = Segments::small();
    o.backpressure = Backpressure::drop_oldest;
    return o;
  }
  void open(Executed executed, std::uint32_t slots) {
    s = std::make_shared<DeviceSegments>(executed, options(), slots);
    const Attachment a{{s, &s->queue()}, {s, &s->pool_map()}, 3, 3, 0, true};
    producer.emplace(session, a, Wait::sleep());
  }
  Status send() { return producer->send({}, Duration::zero()); }
  Status borrow() {
    Deadline none = Deadline::none();
    SlotLoan loan;
    return producer->borrow(none, loan);
  }
  std::uint64_t dropped() { return s->control().group[0].dropped.load(std::memory_order_relaxed); }

  Broker broker{{"device-repair-" + std::to_string(getpid()), "", {}}};
  std::shared_ptr<SessionCore> session =
      std::make_shared<SessionCore>(ConnectOptions{broker.socket_path(), Duration::zero(), {}});
  std::shared_ptr<DeviceSegments> s;
  std::optional<ProducerCore> producer;
};

TEST_F(DropOldest, LeavesALatePayloadAloneForALine) {
  open(Executed::none, 4);
  const SlotLoan loan = s->send_late(2, 0);
  for (int n = 0; n < 3; ++n) ASSERT_EQ(send(), Status::ok);
  EXPECT_EQ(send(), Status::full);
  EXPECT_EQ(dropped(), 0u);
  EXPECT_EQ(s->state(loan.slot), SlotState::message);
  s->write(loan);
  EXPECT_EQ(send(), Status::ok);
  EXPECT_EQ(dropped(), 1u);
  EXPECT_EQ(s->state(loan.slot), SlotState::free);
}

TEST_F(DropOldest, LeavesALatePayloadAloneForASlot) {
  open(Executed::none, 1);
  const SlotLoan loan = s->send_late(2, 0);
  EXPECT_EQ(borrow(), Status::full);
  EXPECT_EQ(dropped(), 0u);
  s->write(loan);
  EXPECT_EQ(borrow(), Status::ok);
  EXPECT_EQ(dropped(), 1u);
}

TEST_F(DropOldest, LeavesWhatTheExecutorHasNotFinishedAlone) {
  open(Executed::by_device, 1);
  const SlotLoan loan = s->send_late(2, 0);
  s->write(loan);
  EXPECT_EQ(borrow(), Status::full);
  EXPECT_EQ(dropped(), 0u);
  s->process(0);
  EXPECT_EQ(borrow(), Status::ok);
  EXPECT_EQ(dropped(), 1u);
}

// The end of a queue, or of its runner.

TEST_F(DeviceQueue, ReleasesEveryWaitForALatePayload) {
  const SlotLoan late = s.send_late(2, 0);
  const SlotLoan written = s.send_late(2, 1);
  s.write(written);
  const SlotLoan ready = s.send_slot(3, 2);
  s.send(3, 3);
  release_late_payloads(s.queue(), s.pool_map());
  EXPECT_EQ(s.buried(late.slot), late.lease);
  EXPECT_EQ(s.written(late.slot), late.lease);
  EXPECT_EQ(s.buried(written.slot), 0u);
  EXPECT_EQ(s.buried(ready.slot), 0u);
  EXPECT_EQ(s.written(ready.slot), 0u);
}

TEST(HostQueue, HasNoLatePayloadsInHostMemory) {
  Segments s(Segments::small());
  const SlotLoan loan = s.borrow(2);
  const PublishClaim c = s.claim(2);
  s.pool().mark_message(loan, 2, c.groups, c.ticket);
  Descriptor d = Segments::slot_message(loan, 0);
  d.flags = 0;  // scribbled
  s.ring().write(c.ticket, d, nullptr);
  release_late_payloads(s.queue(), s.pool_map());
  EXPECT_EQ(s.pool_map().gpub(loan.slot).load(std::memory_order_relaxed), 0u);
}

TEST_F(DeviceQueue, BuriesWhatTheLostExecutorHadNotPassedOn) {
  for (std::uint64_t n = 0; n < 4; ++n) s.send(3, n);
  s.process(0);
  s.process(2);  // several at a time, in any order
  bury_unprocessed(s.queue(), s.pool_map());
  EXPECT_THAT(s.receive_all(), ElementsAre(0, 2));
  EXPECT_EQ(s.ring().cursor(1).next, 4u);
  bury_unprocessed(s.queue(), s.pool_map());
  EXPECT_THAT(s.receive_all(), IsEmpty());
}

// The tag of `out` ends the waits of streams that took it early: only the tomb tells them.
TEST_F(DeviceQueue, ATombSaysWhatTheLostExecutorHadNotProcessed) {
  const SlotLoan lost = s.send_late(2, 0);
  const SlotLoan done = s.send_late(2, 1);
  s.write(lost);
  s.write(done);
  s.process(1);
  bury_unprocessed(s.queue(), s.pool_map());
  EXPECT_EQ(s.buried(lost.slot), lost.lease);
  EXPECT_EQ(s.buried(done.slot), 0u);
}

// Its line comes after the executor's tombstone: the wait of a stream that takes it early ends at once.
TEST_F(DeviceQueue, ATombSaysWhatIsPublishedAfterTheExecutorWasLost) {
  s.queue().endpoint(3).client.store(2, std::memory_order_relaxed);
  const SlotLoan done = s.send_late(2, 0);
  s.write(done);
  s.process(0);
  const SlotLoan marked = s.borrow_for_gpu(2);
  const std::uint64_t ticket = s.mark(marked, 2);
  const SlotLoan lent = s.borrow_for_gpu(2);
  const SlotLoan elsewhere = s.borrow_for_gpu(9);  // of a producer of another queue of the pool
  bury_unprocessed(s.queue(), s.pool_map());
  Descriptor d = Segments::slot_message(marked, 1);
  d.flags = 0;
  s.ring().write(ticket, d, nullptr);
  EXPECT_EQ(s.buried(marked.slot), marked.lease);
  EXPECT_EQ(s.buried(lent.slot), lent.lease);
  EXPECT_EQ(s.buried(elsewhere.slot), elsewhere.lease - 1);
  EXPECT_EQ(s.buried(done.slot), done.lease - 1);
}

TEST_F(DeviceQueue, BuriesNothingOfTheLapBefore) {
  for (std::uint64_t n = 0; n < 6; ++n) {
    ASSERT_EQ(s.send(3, n), n);
    if (n < 4) {
      s.process(n);
      EXPECT_THAT(s.receive_all(), ElementsAre(n));
    }
  }
  bury_unprocessed(s.queue(), s.pool_map());
  for (const std::uint64_t done : {2u, 3u}) EXPECT_TRUE(s.ring().readable(done));
  for (const std::uint64_t gone : {4u, 5u}) EXPECT_TRUE(s.ring().readable(gone));
  EXPECT_THAT(s.receive_all(), IsEmpty());
}

// Nobody stands between: the lines are the producers'.
TEST_F(DirectQueue, LosesNothingWithoutAnExecutor) {
  const PublishClaim c = s.claim(2);
  bury_unprocessed(s.queue(), s.pool_map());
  EXPECT_FALSE(s.ring().readable(c.ticket));
  s.ring().write(c.ticket, Segments::inline_message(3), nullptr);
  EXPECT_THAT(s.receive_all(), ElementsAre(3));
}

}  // namespace
}  // namespace ipcq::detail
