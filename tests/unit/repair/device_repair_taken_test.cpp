// What a client with a GPU leaves of messages that it took before the executor was done with them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "device_ends.hpp"
#include "repair/membership.hpp"
#include "repair/repair.hpp"

namespace ipcq::detail {
namespace {

using testing::ElementsAre;

class TakenEarly : public Ends, public testing::TestWithParam<End> {
 protected:
  void claim_take(std::uint32_t client) {
    const Cursor v = s.ring().cursor(1);
    ASSERT_TRUE(s.ring().swap_cursor(1, v, {v.next + 1, client, 1, 0, false}));
  }
  void arrives_once_it_is_processed() {
    EXPECT_EQ(s.held_word(0).state, HeldState::orphan);
    s.process(0);
    EXPECT_THAT(s.receive_all(), ElementsAre(7));
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
  EXPECT_THAT(s.receive_all(), ElementsAre(7));
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

}  // namespace
}  // namespace ipcq::detail
