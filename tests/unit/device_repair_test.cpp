// What clients with a GPU leave half-done, built by hand, and what becomes of it: their streams may still write to
// slots (gpub tells which), and they take messages before the executor is done with them. No GPU is needed. Clients: 2,
// 3 producers; 5, 6 members of group 0 at endpoints 0, 1; 9 whoever comes later.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <optional>

#include "device_segments.hpp"
#include "ipcq/broker.hpp"
#include "membership.hpp"
#include "producer_core.hpp"
#include "repair.hpp"

namespace ipcq::detail {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Executed = QueueMap::Executed;

// How a process with a GPU ended, as the broker knows it.
enum class End { died, died_under_mps, closed };
std::ostream& operator<<(std::ostream& s, End end) {
  return s << (end == End::died ? "died" : end == End::closed ? "closed" : "died_under_mps");
}

struct Ends {
  DeviceSegments s;
  explicit Ends(Executed executed = Executed::by_device) : s(executed) {}

  RepairReport end(End how, EndpointKind kind, std::uint32_t client, std::uint32_t endpoint) {
    return repair_endpoint(s.queue(), s.pool_map(),
                           {.client = client,
                            .endpoint = endpoint,
                            .kind = kind,
                            .uses_cuda = true,
                            .alive = how == End::closed,
                            .mps = how == End::died_under_mps});
  }
  RepairReport producer_ends(End how, std::uint32_t client = 2) { return end(how, EndpointKind::producer, client, 3); }
  RepairReport consumer_ends(End how) { return end(how, EndpointKind::consumer, 5, 0); }

  // What the surviving member receives, by sequence number.
  std::vector<std::uint64_t> receive_all() {
    std::vector<std::uint64_t> got;
    for (std::uint32_t e = s.take(0, 1, 6); e != kNone; e = s.take(0, 1, 6)) {
      got.push_back(s.held(e).descriptor.load().sequence);
      EXPECT_TRUE(s.release(0, 1, 6, e, s.held_word(e).deliveries));
    }
    return got;
  }
  // The slots that can still be lent.
  std::size_t slots_to_lend() {
    std::size_t n = 0;
    while (s.borrow(9).slot != kNone) ++n;
    return n;
  }
};
class DeviceRepair : public Ends, public testing::Test {};
class DeviceEnds : public Ends, public testing::TestWithParam<End> {};
INSTANTIATE_TEST_SUITE_P(After, DeviceEnds, testing::Values(End::died, End::died_under_mps, End::closed),
                         testing::PrintToStringParamName());

// A loan: nobody may be given a slot that a stream may still write to.

TEST_F(DeviceRepair, FreesALoanWhoseStreamsDiedWithTheirProcess) {
  const SlotLoan loan = s.borrow_for_gpu(2);
  const RepairReport r = producer_ends(End::died);
  EXPECT_EQ(r.loans, 1u);
  EXPECT_EQ(r.quarantined, 0u);
  EXPECT_EQ(s.state(loan.slot), SlotState::free);
  EXPECT_EQ(slots_to_lend(), 4u);
}

class StreamsMayLiveOn : public Ends, public testing::TestWithParam<End> {};
INSTANTIATE_TEST_SUITE_P(After, StreamsMayLiveOn, testing::Values(End::died_under_mps, End::closed),
                         testing::PrintToStringParamName());

TEST_P(StreamsMayLiveOn, ALoanIsQuarantined) {
  const SlotLoan loan = s.borrow_for_gpu(2);
  const RepairReport r = producer_ends(GetParam());
  EXPECT_EQ(r.loans, 0u);
  EXPECT_EQ(r.quarantined, 1u);
  EXPECT_EQ(s.state(loan.slot), SlotState::quarantine);
  EXPECT_FALSE(s.is_bit_set(loan.slot));
  EXPECT_EQ(slots_to_lend(), 3u);
}

TEST_P(StreamsMayLiveOn, AQuarantineOutlastsLaterRepairs) {
  const SlotLoan loan = s.borrow_for_gpu(2);
  ASSERT_EQ(producer_ends(GetParam()).quarantined, 1u);
  for (const End how : {End::died, GetParam()}) {
    const RepairReport again = producer_ends(how);
    EXPECT_EQ(again.quarantined + again.loans + again.unwritten, 0u);
    EXPECT_EQ(s.state(loan.slot), SlotState::quarantine);
  }
  EXPECT_EQ(slots_to_lend(), 3u);
}

TEST_P(DeviceEnds, ALoanThatItsStreamHasWrittenIsFree) {
  const SlotLoan loan = s.borrow_for_gpu(2);
  s.write(loan);
  const RepairReport r = producer_ends(GetParam());
  EXPECT_EQ(r.loans, 1u);
  EXPECT_EQ(r.quarantined, 0u);
  EXPECT_EQ(slots_to_lend(), 4u);
}

TEST_P(DeviceEnds, ALoanThatTheCpuWritesToIsFree) {
  (void)s.borrow(2);
  const RepairReport r = producer_ends(GetParam());
  EXPECT_EQ(r.loans, 1u);
  EXPECT_EQ(r.quarantined, 0u);
  EXPECT_EQ(slots_to_lend(), 4u);
}

TEST_P(DeviceEnds, AnotherProducersLoanIsLeftAlone) {
  const SlotLoan loan = s.borrow_for_gpu(3);
  const RepairReport r = producer_ends(GetParam(), 2);
  EXPECT_EQ(r.loans + r.quarantined, 0u);
  EXPECT_TRUE(is_gpu_loan(s.pool().slot(loan.slot)));
}

// An earlier loan of the slot was written: that says nothing about this one.
TEST_P(StreamsMayLiveOn, TheLeaseOfAnEarlierLoanDoesNotCount) {
  const SlotLoan first = s.borrow_for_gpu(2);
  s.write(first);
  ASSERT_TRUE(s.pool().give_back(first, 2));
  ASSERT_EQ(s.borrow_for_gpu(2).slot, first.slot);
  EXPECT_EQ(producer_ends(GetParam()).quarantined, 1u);
}

// A published message.

TEST_F(DeviceRepair, BuriesAMessageWhoseWriterDied) {
  const SlotLoan loan = s.send_late(2, 0);
  const RepairReport r = producer_ends(End::died);
  EXPECT_EQ(r.unwritten, 1u);
  EXPECT_EQ(r.quarantined, 0u);
  EXPECT_THAT(r.tombstones, IsEmpty());
  EXPECT_EQ(s.buried(loan.slot), loan.lease);
  EXPECT_EQ(s.written(loan.slot), loan.lease);
  EXPECT_EQ(s.state(loan.slot), SlotState::free);
  const SlotLoan next = s.borrow(9);
  ASSERT_EQ(next.slot, loan.slot);
  EXPECT_EQ(s.buried(next.slot), next.lease - 1);  // the tomb is of the message, not of the slot's next
}

TEST_F(DeviceRepair, BuriesAMessageUnderMpsAndQuarantinesItsSlot) {
  const SlotLoan loan = s.send_late(2, 0);
  const RepairReport r = producer_ends(End::died_under_mps);
  EXPECT_EQ(r.unwritten, 1u);
  EXPECT_EQ(r.quarantined, 1u);
  EXPECT_EQ(s.buried(loan.slot), loan.lease);
  EXPECT_EQ(s.written(loan.slot), loan.lease);
  EXPECT_EQ(s.state(loan.slot), SlotState::quarantine);
  EXPECT_EQ(slots_to_lend(), 3u);
}

TEST_F(DeviceRepair, LeavesAMessageAloneWhoseProducerOnlyClosed) {
  const SlotLoan loan = s.send_late(2, 0);
  const RepairReport r = producer_ends(End::closed);
  EXPECT_EQ(r.unwritten + r.quarantined + r.loans, 0u);
  EXPECT_EQ(s.buried(loan.slot), 0u);
  EXPECT_LT(s.written(loan.slot), loan.lease);
  EXPECT_EQ(s.state(loan.slot), SlotState::message);
  s.write(loan);
  s.process(0);
  EXPECT_THAT(receive_all(), ElementsAre(0));
  EXPECT_TRUE(s.all_slots_free());
}

TEST_P(DeviceEnds, AMessageThatIsWrittenArrives) {
  const SlotLoan loan = s.send_late(2, 0);
  s.write(loan);
  const RepairReport r = producer_ends(GetParam());
  EXPECT_EQ(r.unwritten + r.quarantined + r.loans, 0u);
  EXPECT_EQ(s.buried(loan.slot), 0u);
  EXPECT_EQ(s.state(loan.slot), SlotState::message);
  s.process(0);
  EXPECT_THAT(receive_all(), ElementsAre(0));
  EXPECT_TRUE(s.all_slots_free());
}

TEST_P(DeviceEnds, ABuriedMessageHoldsNobodyUp) {
  s.send_late(2, 0);
  s.send(3, 1);
  const bool buried = producer_ends(GetParam()).unwritten != 0;
  s.process(0, buried);  // as the executor does that sees the tomb
  s.process(1);
  const std::vector<std::uint64_t> all = {0, 1}, rest = {1};
  EXPECT_EQ(receive_all(), buried ? rest : all);
  EXPECT_EQ(s.claim(9, 4).count, 4u);
}

TEST_P(DeviceEnds, ATicketThatWasNeverPublishedIsATombstone) {
  const SlotLoan loan = s.borrow_for_gpu(2);
  s.write(loan);
  s.mark(loan, 2);
  const RepairReport r = producer_ends(GetParam());
  EXPECT_THAT(r.tombstones, ElementsAre(0));
  EXPECT_EQ(r.loans, 1u);
  EXPECT_TRUE(s.all_slots_free());
}

TEST_F(DeviceRepair, FreesTheSlotOfATicketThatWasNeverPublished) {
  s.mark(s.borrow_for_gpu(2), 2);
  EXPECT_THAT(producer_ends(End::died).tombstones, ElementsAre(0));
  EXPECT_TRUE(s.all_slots_free());
}

TEST_F(DeviceRepair, QuarantinesTheSlotOfATicketThatWasNeverPublishedUnderMps) {
  s.mark(s.borrow_for_gpu(2), 2);
  const RepairReport r = producer_ends(End::died_under_mps);
  EXPECT_THAT(r.tombstones, ElementsAre(0));
  EXPECT_EQ(r.quarantined, 1u);
  EXPECT_EQ(slots_to_lend(), 3u);
}

// Nobody writes gpub for a producer without a GPU.
TEST_F(DeviceRepair, TakesNoMessageOfAProducerWithoutAGpuForUnwritten) {
  const SlotLoan loan = s.send_slot(2, 0);
  const RepairReport r = repair_endpoint(s.queue(), s.pool_map(), {2, 3, EndpointKind::producer});
  EXPECT_EQ(r.unwritten + r.quarantined, 0u);
  EXPECT_EQ(s.buried(loan.slot), 0u);
  EXPECT_EQ(s.state(loan.slot), SlotState::message);
}

// Consumers only read.
TEST_P(DeviceEnds, AConsumersEndTouchesNoPayload) {
  const SlotLoan loan = s.send_late(5, 0);  // its process has both; this is not the producer's end
  const RepairReport r = consumer_ends(GetParam());
  EXPECT_EQ(r.unwritten + r.quarantined, 0u);
  EXPECT_EQ(s.buried(loan.slot), 0u);
  EXPECT_EQ(s.state(loan.slot), SlotState::message);
}

// A reader that took the message early lets go of it when its wait ends. The slot may be another's by then.
TEST_F(DeviceRepair, AReaderOfABuriedMessageReleasesNobodyElsesSlot) {
  const SlotLoan loan = s.send_late(2, 0);
  const std::uint32_t e = s.take_early(0, 0, 5);
  ASSERT_NE(e, kNone);
  producer_ends(End::died);
  const SlotLoan next = s.borrow(3);
  ASSERT_EQ(next.slot, loan.slot);
  s.pool().publish(next, 3, 1, 1);
  EXPECT_TRUE(s.release(0, 0, 5, e));
  EXPECT_EQ(s.pool().slot(next.slot).groups, 1);
  EXPECT_EQ(s.held_word(e).state, HeldState::free);
}

// Taken before the executor, and its taker ends.

class TakenEarly : public DeviceEnds {
 protected:
  void claim_take(std::uint32_t client) {
    const Cursor v = s.ring().cursor(1);
    ASSERT_TRUE(s.ring().swap_cursor(1, v, {v.next + 1, client, 1, 0, false}));
  }
  void arrives_once_it_is_processed() {
    EXPECT_EQ(s.held_word(0).state, HeldState::orphan);
    s.process(0);
    EXPECT_THAT(receive_all(), ElementsAre(7));
    EXPECT_TRUE(s.all_slots_free());
    EXPECT_EQ(s.claim(9, 4).count, 4u);
  }
};
INSTANTIATE_TEST_SUITE_P(After, TakenEarly, testing::Values(End::died, End::died_under_mps, End::closed),
                         testing::PrintToStringParamName());

TEST_P(TakenEarly, AClaimedMessageGoesToAnother) {
  s.write(s.send_late(2, 7));
  claim_take(5);
  const RepairReport r = consumer_ends(GetParam());
  EXPECT_EQ(r.orphans, 1u);
  EXPECT_EQ(r.lost, 0u);
  EXPECT_NE(s.held(0).descriptor.load().flags & kBeforeExecutor, 0);
  EXPECT_EQ(s.held_word(0).deliveries, 0u);
  arrives_once_it_is_processed();
}

TEST_P(TakenEarly, AHeldMessageGoesToAnother) {
  s.write(s.send_late(2, 7));
  ASSERT_EQ(s.take_early(0, 0, 5), 0u);
  const RepairReport r = consumer_ends(GetParam());
  EXPECT_EQ(r.orphans, 1u);
  EXPECT_NE(s.held(0).descriptor.load().flags & kBeforeExecutor, 0);
  EXPECT_EQ(s.held_word(0).deliveries, 1u);
  arrives_once_it_is_processed();
}

TEST_P(TakenEarly, AClaimedMessageThatIsProcessedByNowGoesToAnother) {
  s.write(s.send_late(2, 7));
  claim_take(5);
  s.process(0);
  EXPECT_EQ(consumer_ends(GetParam()).orphans, 1u);
  EXPECT_EQ(s.held(0).descriptor.load().flags & kBeforeExecutor, 0);
  EXPECT_THAT(receive_all(), ElementsAre(7));
}

TEST_P(TakenEarly, ATombstoneIsPassedOver) {
  s.mark(s.borrow(2), 2);
  ASSERT_EQ(producer_ends(End::died).tombstones.size(), 1u);
  claim_take(5);
  EXPECT_EQ(consumer_ends(GetParam()).orphans, 0u);
  s.process(0);
  EXPECT_EQ(s.claim(9, 4).count, 4u);
}

// Its slot is nobody's any more: there is nothing to hand on.
TEST_P(TakenEarly, AHeldMessageWhoseWriterDiedTooIsLetGo) {
  s.send_late(2, 7);
  ASSERT_EQ(s.take_early(0, 0, 5), 0u);
  ASSERT_EQ(producer_ends(End::died).unwritten, 1u);
  EXPECT_EQ(consumer_ends(GetParam()).orphans, 0u);
  EXPECT_EQ(s.held_word(0).state, HeldState::free);
  s.process(0, true);
  EXPECT_TRUE(s.all_slots_free());
  EXPECT_EQ(s.claim(9, 4).count, 4u);
}

// Claimed only: whoever gets it sees by the tomb that it never came.
TEST_P(TakenEarly, AClaimedMessageWhoseWriterDiedTooIsHandedOnWithItsTomb) {
  const SlotLoan loan = s.send_late(2, 7);
  claim_take(5);
  ASSERT_EQ(producer_ends(End::died).unwritten, 1u);
  ASSERT_EQ(consumer_ends(GetParam()).orphans, 1u);
  const std::uint32_t e = s.take_early(0, 1, 6);
  ASSERT_EQ(e, 0u);
  EXPECT_EQ(s.held(e).descriptor.load().lease, s.buried(loan.slot));
  EXPECT_TRUE(s.release(0, 1, 6, e));
  EXPECT_EQ(slots_to_lend(), 4u);
}

// A direct queue: what is published is what readers take, written or not.
class DirectQueue : public Ends, public testing::Test {
 protected:
  DirectQueue() : Ends(Executed::none) {}
  bool drain(std::uint64_t end) { return drain_left_group(s.queue(), s.pool_map(), 0, end); }
};

TEST_F(DirectQueue, GivesAnUnwrittenMessageOfADeadReaderToAnother) {
  const SlotLoan loan = s.send_late(2, 7);
  ASSERT_EQ(s.take_early(0, 0, 5), 0u);
  EXPECT_EQ(consumer_ends(End::died).orphans, 1u);
  EXPECT_EQ(unsigned{s.held(0).descriptor.load().flags}, 0u);  // nobody stands between: the other waits for gpub
  EXPECT_EQ(s.state(loan.slot), SlotState::message);
  s.write(loan);
  EXPECT_THAT(receive_all(), ElementsAre(7));
  EXPECT_TRUE(s.all_slots_free());
}

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
  ASSERT_TRUE(s.queue().early_member(0, 0, 5).give_back(s.take_early(0, 0, 5), 0));
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
TEST_F(DeviceRepair, AGroupThatLeavesWaitsForTheExecutorOfWhatWasGivenBackEarly) {
  const SlotLoan loan = s.send_late(2, 0);
  s.write(loan);
  ASSERT_TRUE(s.queue().early_member(0, 0, 5).give_back(s.take_early(0, 0, 5), 0));
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
    SlotLoan loan;
    return producer->borrow(Duration::zero(), loan);
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

TEST_F(DeviceRepair, ReleasesEveryWaitForALatePayload) {
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

TEST(DeviceMembership, HasNoLatePayloadsInHostMemory) {
  Segments s(Segments::small());
  const SlotLoan loan = s.borrow(2);
  const PublishClaim c = s.claim(2);
  s.pool().publish(loan, 2, c.groups, c.ticket);
  Descriptor d = Segments::slot_message(loan, 0);
  d.flags = 0;  // scribbled
  s.ring().publish(c.ticket, d, nullptr);
  release_late_payloads(s.queue(), s.pool_map());
  EXPECT_EQ(s.pool_map().gpub(loan.slot).load(std::memory_order_relaxed), 0u);
}

TEST_F(DeviceRepair, BuriesWhatTheLostExecutorHadNotPassedOn) {
  for (std::uint64_t n = 0; n < 4; ++n) s.send(3, n);
  s.process(0);
  s.process(2);  // several at a time, in any order
  bury_unprocessed(s.queue(), s.pool_map());
  EXPECT_THAT(receive_all(), ElementsAre(0, 2));
  EXPECT_EQ(s.ring().cursor(1).next, 4u);
  bury_unprocessed(s.queue(), s.pool_map());
  EXPECT_THAT(receive_all(), IsEmpty());
}

// Streams that took it early are let go by the tag of `out`: only the tomb tells them.
TEST_F(DeviceRepair, ATombSaysWhatTheLostExecutorHadNotProcessed) {
  const SlotLoan lost = s.send_late(2, 0);
  const SlotLoan done = s.send_late(2, 1);
  s.write(lost);
  s.write(done);
  s.process(1);
  bury_unprocessed(s.queue(), s.pool_map());
  EXPECT_EQ(s.buried(lost.slot), lost.lease);
  EXPECT_EQ(s.buried(done.slot), 0u);
}

TEST_F(DeviceRepair, BuriesNothingOfTheLapBefore) {
  for (std::uint64_t n = 0; n < 6; ++n) {
    ASSERT_EQ(s.send(3, n), n);
    if (n < 4) {
      s.process(n);
      EXPECT_THAT(receive_all(), ElementsAre(n));
    }
  }
  bury_unprocessed(s.queue(), s.pool_map());
  for (const std::uint64_t done : {2u, 3u}) EXPECT_TRUE(s.ring().readable(done));
  for (const std::uint64_t gone : {4u, 5u}) EXPECT_TRUE(s.ring().readable(gone));
  EXPECT_THAT(receive_all(), IsEmpty());
}

// Nobody stands between: the lines are the producers'.
TEST_F(DirectQueue, LosesNothingWithoutAnExecutor) {
  const PublishClaim c = s.claim(2);
  bury_unprocessed(s.queue(), s.pool_map());
  EXPECT_FALSE(s.ring().readable(c.ticket));
  s.ring().publish(c.ticket, Segments::inline_message(3), nullptr);
  EXPECT_THAT(receive_all(), ElementsAre(3));
}

}  // namespace
}  // namespace ipcq::detail
