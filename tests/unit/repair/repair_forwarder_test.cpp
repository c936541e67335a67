// What a dead forwarder leaves: an alias between two queues.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "repair_fixture.hpp"

namespace ipcq::detail {
namespace {

using testing::ElementsAre;

// The dead process had a consumer here and a producer of another queue with the same pool.
class ForwarderDied : public RepairTest {
 protected:
  Segments other{Segments::small(), 1};  // for its queue; its pool is not used
  std::uint32_t entry = kNone;
  SlotLoan parent;
  SlotLoan alias;
  void SetUp() override {
    RepairTest::SetUp();
    parent = s.send_slot(2, 0);
    entry = s.take(0, 0, 5);
    std::uint32_t hint = 0;
    alias = s.pool().borrow_alias(4, hint, parent, 0);
    ASSERT_NE(alias.slot, kNone);
  }
  RepairReport forwarding_producer_died() {
    return repair_endpoint(other.queue(), s.pool_map(), {4, 3, EndpointKind::producer});
  }
  void mark_alias(std::uint64_t ticket) { s.pool().mark_message(alias, 4, 1, ticket); }
  void publish_line(std::uint64_t ticket) {
    Descriptor d = Segments::slot_message(parent, 0);
    d.alias = alias.slot;
    d.alias_lease = alias.lease;
    other.ring().write(ticket, d, nullptr);
  }
};

TEST_F(ForwarderDied, BeforeItsClaim) {
  EXPECT_EQ(forwarding_producer_died().loans, 1u);
  EXPECT_EQ(s.pool().slot(parent.slot).groups, 1);
  EXPECT_EQ(consumer_died().orphans, 1u);
  EXPECT_THAT(s.receive_all(), ElementsAre(0));
  expect_nothing_left();
}

TEST_F(ForwarderDied, AfterMarkingTheAliasForALineNeverTagged) {
  mark_alias(other.claim(4).ticket);
  const RepairReport r = forwarding_producer_died();
  EXPECT_THAT(r.tombstones, ElementsAre(0));
  EXPECT_EQ(r.loans, 1u);
  EXPECT_EQ(consumer_died().orphans, 1u);
  EXPECT_THAT(s.receive_all(), ElementsAre(0));
  expect_nothing_left();
}

TEST_F(ForwarderDied, AfterPublishingAndBeforeTheHandOver) {
  const std::uint64_t t = other.claim(4).ticket;
  mark_alias(t);
  publish_line(t);
  EXPECT_EQ(forwarding_producer_died().loans, 0u);
  const RepairReport r = consumer_died();
  EXPECT_EQ(r.orphans, 0u);
  EXPECT_EQ(r.finished, 1u);
  EXPECT_EQ(s.held_word(entry).state, HeldState::free);
  EXPECT_TRUE(s.pool().release(alias.slot, alias.lease, 0));  // the other queue's reader
  expect_nothing_left();
}

TEST_F(ForwarderDied, WhenTheOtherQueuesReaderIsDoneAlready) {
  const std::uint64_t t = other.claim(4).ticket;
  mark_alias(t);
  publish_line(t);
  ASSERT_TRUE(s.pool().release(alias.slot, alias.lease, 0));
  const SlotLoan next = s.borrow(3);
  ASSERT_EQ(next.slot, parent.slot);
  forwarding_producer_died();
  EXPECT_EQ(consumer_died().orphans, 0u);
  EXPECT_EQ(s.held_word(entry).state, HeldState::free);
  EXPECT_EQ(s.pool().slot(next.slot).state, SlotState::loan);
}

TEST_F(ForwarderDied, AfterTheHandOverNothingIsLeftToDo) {
  const std::uint64_t t = other.claim(4).ticket;
  mark_alias(t);
  publish_line(t);
  ASSERT_TRUE(s.queue().member(0, 0, 5).hand_over(entry, 0));
  EXPECT_EQ(forwarding_producer_died().loans, 0u);
  EXPECT_EQ(consumer_died().finished, 0u);
  EXPECT_TRUE(s.pool().release(alias.slot, alias.lease, 0));
  expect_nothing_left();
}

TEST_F(RepairTest, PassesOnTheReleaseOfAnAliasWhoseLastReaderDied) {
  const SlotLoan parent = s.send_slot(2, 0);
  const std::uint32_t e = s.take(0, 0, 5);
  std::uint32_t hint = 0;
  const SlotLoan alias = s.pool().borrow_alias(4, hint, parent, 0);
  s.pool().mark_message(alias, 4, 0, 9);  // its readers' bits are all cleared
  ASSERT_TRUE(s.queue().member(0, 0, 5).hand_over(e, 0));
  EXPECT_EQ(consumer_died(77, 2).finished, 1u);
  expect_nothing_left();
}

}  // namespace
}  // namespace ipcq::detail
