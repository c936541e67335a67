// What clients with a GPU leave half-done, built by hand, and what the repair makes of it: their streams may still
// write to slots (gpub tells which). What they took before the executor was done with it: device_repair_taken_test.cpp.
// No GPU is needed.
#include "repair/repair.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "device_ends.hpp"
#include "repair/membership.hpp"

namespace ipcq::detail {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

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

TEST_P(StreamsMayLiveOn, ItsClientsQuarantineEndsOnceItsWorkHas) {
  const SlotLoan loan = s.borrow_for_gpu(2);
  const SlotLoan others = s.borrow_for_gpu(3);
  ASSERT_EQ(producer_ends(GetParam()).quarantined, 1u);
  ASSERT_EQ(producer_ends(GetParam(), 3).quarantined, 1u);
  EXPECT_EQ(end_quarantine(s.pool_map(), 9), 0u);
  EXPECT_EQ(end_quarantine(s.pool_map(), 2), 1u);
  EXPECT_EQ(end_quarantine(s.pool_map(), 2), 0u);
  EXPECT_EQ(s.state(loan.slot), SlotState::free);
  EXPECT_TRUE(s.is_bit_set(loan.slot));
  EXPECT_EQ(s.state(others.slot), SlotState::quarantine);
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

// Its publish failed: the stream may have been given more since, of which gpub says nothing.
TEST_P(StreamsMayLiveOn, ALoanWhosePublishFailedIsQuarantinedThoughItWasWrittenOnce) {
  const SlotLoan loan = s.borrow_for_gpu(2, LoanWriter::gpu_again);
  s.write(loan);
  const RepairReport r = producer_ends(GetParam());
  EXPECT_EQ(r.loans, 0u);
  EXPECT_EQ(r.quarantined, 1u);
  EXPECT_EQ(slots_to_lend(), 3u);
}

TEST_F(DeviceRepair, FreesALoanWhosePublishFailedWithItsProcess) {
  const SlotLoan loan = s.borrow_for_gpu(2, LoanWriter::gpu_again);
  EXPECT_EQ(producer_ends(End::died).loans, 1u);
  EXPECT_EQ(s.state(loan.slot), SlotState::free);
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
  EXPECT_EQ(r.late, 1u);  // the broker watches the process until then
  EXPECT_EQ(s.buried(loan.slot), 0u);
  EXPECT_LT(s.written(loan.slot), loan.lease);
  EXPECT_EQ(s.state(loan.slot), SlotState::message);
  s.write(loan);
  s.process(0);
  EXPECT_THAT(s.receive_all(), ElementsAre(0));
  EXPECT_TRUE(s.all_slots_free());
}

// It closed, and its process ends before its streams have written.
TEST_F(DeviceRepair, BuriesALateMessageOnceTheProcessHasEndedToo) {
  const SlotLoan late = s.send_late(2, 0);
  const SlotLoan written = s.send_late(2, 1);
  ASSERT_EQ(producer_ends(End::closed).late, 2u);
  s.write(written);
  const RepairReport r = process_ends(End::died);
  EXPECT_EQ(r.unwritten, 1u);
  EXPECT_EQ(r.quarantined + r.late, 0u);
  EXPECT_EQ(s.buried(late.slot), late.lease);
  EXPECT_EQ(s.written(late.slot), late.lease);
  EXPECT_EQ(s.state(late.slot), SlotState::free);
  EXPECT_TRUE(s.is_bit_set(late.slot));
  EXPECT_EQ(s.buried(written.slot), 0u);
  EXPECT_EQ(s.state(written.slot), SlotState::message);
}

TEST_F(DeviceRepair, QuarantinesALateMessageOnceTheProcessHasEndedUnderMps) {
  const SlotLoan late = s.send_late(2, 0);
  ASSERT_EQ(producer_ends(End::closed).late, 1u);
  const RepairReport r = process_ends(End::died_under_mps);
  EXPECT_EQ(r.unwritten, 1u);
  EXPECT_EQ(r.quarantined, 1u);
  EXPECT_EQ(s.buried(late.slot), late.lease);
  EXPECT_EQ(s.state(late.slot), SlotState::quarantine);
}

// The tomb of the slot's earlier loan says nothing about this one.
TEST_F(DeviceRepair, LeavesAMessageAloneWhoseSlotWasBuriedBefore) {
  s.send_late(3, 0);
  ASSERT_EQ(producer_ends(End::died, 3).unwritten, 1u);
  const SlotLoan loan = s.send_late(2, 1);
  ASSERT_EQ(s.buried(loan.slot), loan.lease - 1);
  EXPECT_EQ(producer_ends(End::closed).late, 1u);
  EXPECT_EQ(s.state(loan.slot), SlotState::message);
}

// Its own context had failed: it said so in tomb and gpub before it ended. Readers pass over the message.
TEST_P(DeviceEnds, AMessageThatItsProducerBuriedIsFree) {
  const SlotLoan loan = s.send_late(2, 0);
  ASSERT_TRUE(bury_payload(s.pool_map(), loan.slot, loan.lease));
  const RepairReport r = producer_ends(GetParam());
  EXPECT_EQ(r.unwritten + r.quarantined + r.late, 0u);
  s.process(0, true);
  EXPECT_THAT(s.receive_all(), IsEmpty());
  EXPECT_EQ(slots_to_lend(), 4u);
}

TEST_P(DeviceEnds, AMessageThatIsWrittenArrives) {
  const SlotLoan loan = s.send_late(2, 0);
  s.write(loan);
  const RepairReport r = producer_ends(GetParam());
  EXPECT_EQ(r.unwritten + r.quarantined + r.loans + r.late, 0u);
  EXPECT_EQ(s.buried(loan.slot), 0u);
  EXPECT_EQ(s.state(loan.slot), SlotState::message);
  s.process(0);
  EXPECT_THAT(s.receive_all(), ElementsAre(0));
  EXPECT_TRUE(s.all_slots_free());
}

TEST_P(DeviceEnds, ABuriedMessageHoldsNobodyUp) {
  s.send_late(2, 0);
  s.send(3, 1);
  const bool buried = producer_ends(GetParam()).unwritten != 0;
  s.process(0, buried);  // as the executor does that sees the tomb
  s.process(1);
  const std::vector<std::uint64_t> all = {0, 1}, rest = {1};
  EXPECT_EQ(s.receive_all(), buried ? rest : all);
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

// A reader that took the message early releases it when its wait ends. The slot may be another's by then.
TEST_F(DeviceRepair, AReaderOfABuriedMessageReleasesNobodyElsesSlot) {
  const SlotLoan loan = s.send_late(2, 0);
  const std::uint32_t e = s.take_early(0, 0, 5);
  ASSERT_NE(e, kNone);
  producer_ends(End::died);
  const SlotLoan next = s.borrow(3);
  ASSERT_EQ(next.slot, loan.slot);
  s.pool().mark_message(next, 3, 1, 1);
  EXPECT_TRUE(s.release(0, 0, 5, e));
  EXPECT_EQ(s.pool().slot(next.slot).groups, 1);
  EXPECT_EQ(s.held_word(e).state, HeldState::free);
}

// A direct queue has no executor: readers wait for gpub.
TEST(DirectDeviceRepair, GivesAnUnwrittenMessageOfADeadReaderToAnother) {
  Ends q(QueueMap::Executed::none);
  DeviceSegments& s = q.s;
  const SlotLoan loan = s.send_late(2, 7);
  ASSERT_EQ(s.take_early(0, 0, 5), 0u);
  EXPECT_EQ(q.consumer_ends(End::died).orphans, 1u);
  EXPECT_EQ(unsigned{s.held(0).descriptor.load().flags}, 0u);  // nobody stands between: the other waits for gpub
  EXPECT_EQ(s.state(loan.slot), SlotState::message);
  s.write(loan);
  EXPECT_THAT(s.receive_all(), ElementsAre(7));
  EXPECT_TRUE(s.all_slots_free());
}

// A pool in host memory that a producer's GPU writes to.
TEST_P(StreamsMayLiveOn, ALoanInHostMemoryIsQuarantinedAndAMessageThereIsComplete) {
  Segments s(Segments::small());
  const SlotLoan loan = s.borrow(2);
  s.pool().mark_for_gpu(loan, 2, LoanWriter::gpu);
  s.send_slot(2, 0);
  const RepairReport r =
      repair_endpoint(s.queue(), s.pool_map(), Ends::ended(GetParam(), EndpointKind::producer, 2, 3));
  EXPECT_EQ(r.quarantined, 1u);
  EXPECT_EQ(r.late + r.unwritten + r.loans, 0u);
  EXPECT_EQ(s.pool().slot(loan.slot).state, SlotState::quarantine);
  EXPECT_THAT(s.receive_all(), ElementsAre(0));
}

}  // namespace
}  // namespace ipcq::detail
