#include "broker/queue_entry.hpp"

#include <gmock/gmock.h>

#include "broker/parts.hpp"

namespace ipcq::detail {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class QueueEntryTest : public testing::Test {
 protected:
  void open(std::uint32_t endpoint, EndpointKind kind) {
    q_.endpoints[endpoint].client = 10 + endpoint;
    q_.endpoints[endpoint].kind = kind;
  }
  // Has `n` messages lie in the endpoint's held entries, as a former owner's.
  void leave(std::uint32_t endpoint, std::uint32_t n) {
    std::uint32_t entries[4];
    for (std::uint32_t i = 0; i < n; ++i) ASSERT_TRUE(send(q_, 2));
    auto member = q_.map->member(0, endpoint, 50);
    ASSERT_EQ(member.take({entries, n}).count, n);
    for (std::uint32_t i = 0; i < n; ++i) ASSERT_TRUE(member.give_back(entries[i], 0));
    count_kept(q_, endpoint);
  }

  Parts parts_;
  QueueEntry& q_ = parts_.create("q", Parts::small());
};

TEST_F(QueueEntryTest, AnEndpointIsFreeUntilAllAreTaken) {
  for (std::uint32_t i = 0; i < 4; ++i) {
    const std::uint32_t e = choose_endpoint(q_, i % 2 == 0);
    ASSERT_LT(e, 4u);
    open(e, EndpointKind::producer);
  }
  EXPECT_EQ(choose_endpoint(q_, true), 4u);
  EXPECT_EQ(choose_endpoint(q_, false), 4u);
}

TEST_F(QueueEntryTest, AConsumerGetsAnEndpointWithoutLeftoversAndAProducerOneWithMost) {
  leave(1, 3);
  q_.kept[0] = 1;
  EXPECT_EQ(choose_endpoint(q_, false), 1u);
  EXPECT_EQ(choose_endpoint(q_, true), 2u);
}

TEST_F(QueueEntryTest, WhereAllHaveLeftoversTheyAreCountedAnew) {
  for (std::uint32_t i = 0; i < 4; ++i) q_.kept[i] = 4;  // never fewer than there are, and all of these have gone
  EXPECT_EQ(choose_endpoint(q_, true), 0u);
  EXPECT_EQ(q_.kept[0], 0u);
  EXPECT_EQ(q_.kept[1], 4u) << "one with half of its entries free is enough";
}

TEST_F(QueueEntryTest, BlocksOfHeldEntriesAreThoseOfConsumersAndThoseWithLeftovers) {
  EXPECT_THAT(held_blocks(q_), IsEmpty());
  open(0, EndpointKind::producer);
  open(2, EndpointKind::consumer);
  leave(3, 1);
  EXPECT_THAT(held_blocks(q_), ElementsAre(2, 3));
}

TEST_F(QueueEntryTest, TombstonesStayInOrder) {
  add_tombstones(q_, {7, 9});
  add_tombstones(q_, {8, 2});
  EXPECT_THAT(q_.tombstones, ElementsAre(2, 7, 8, 9));
}

TEST_F(QueueEntryTest, AQueueOnTheHostLiesOnNoDevice) { EXPECT_FALSE(lies_with(q_, {0})); }

}  // namespace
}  // namespace ipcq::detail
