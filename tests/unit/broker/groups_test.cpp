#include "broker/groups.hpp"

#include <gmock/gmock.h>

#include "broker/parts.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

using testing::HasSubstr;

class GroupsTest : public testing::Test {
 protected:
  std::optional<unsigned> join(const std::string& name, bool lossy = false) {
    refusal_ = {};
    const auto g = choose_group(q_, name, lossy, refusal_);
    if (g) ++q_.groups[*g].members;
    return g;
  }

  Parts parts_;
  QueueEntry& q_ = parts_.create("q", Parts::small());
  Reply refusal_;
};

TEST_F(GroupsTest, ADeclaredGroupIsJoinedWhereItIs) {
  EXPECT_EQ(join("default"), 0u);
  EXPECT_EQ(join("default"), 0u);
  EXPECT_EQ(q_.groups[0].members, 2u);
}

TEST_F(GroupsTest, ANewNameFoundsAGroupThatSeesWhatComesAfter) {
  ASSERT_TRUE(send(q_, 2));
  EXPECT_EQ(join("audit", true), 1u);
  EXPECT_EQ(q_.groups[1].joined_at, 1u);
  EXPECT_TRUE(q_.groups[1].lossy);
  EXPECT_FALSE(q_.groups[1].durable);
  EXPECT_STREQ(q_.map->control().group[1].name, "audit");
  EXPECT_EQ(join("audit"), 1u);
}

TEST_F(GroupsTest, AGroupThatHoldsProducersUpIsNotJoinedAsLossy) {
  EXPECT_EQ(join("default", true), std::nullopt);
  EXPECT_EQ(refusal_.refusal, Refusal::usage);
  EXPECT_THAT(refusal_.text, HasSubstr("it was declared so (group=default:lossy makes it lossy)"));
  join("audit");
  EXPECT_EQ(join("audit", true), std::nullopt);
  EXPECT_THAT(refusal_.text, HasSubstr("the consumer that founded it did not ask for that"));
}

TEST_F(GroupsTest, EightAreTheMost) {
  for (unsigned g = 1; g < kMaxGroups; ++g) EXPECT_EQ(join(std::string("g").append(std::to_string(g))), g);
  EXPECT_EQ(join("one-more"), std::nullopt);
  EXPECT_EQ(refusal_.refusal, Refusal::usage);
  EXPECT_THAT(refusal_.text, HasSubstr("has 8 groups already"));
  EXPECT_THROW((void)join(""), UsageError);
}

TEST_F(GroupsTest, AnEphemeralGroupEndsWithItsLastMemberAndItsPlaceServesAgain) {
  join("audit");
  join("audit");
  EXPECT_FALSE(remove_member(q_, 1));
  EXPECT_TRUE(remove_member(q_, 1));
  EXPECT_TRUE(q_.groups[1].leaving);
  EXPECT_EQ(join("audit"), std::nullopt);
  EXPECT_EQ(refusal_.refusal, Refusal::busy);
  EXPECT_TRUE(dissolve_groups(q_));
  EXPECT_EQ(join("other"), 1u);
}

TEST_F(GroupsTest, ADurableGroupStaysWithoutMembers) {
  join("default");
  EXPECT_FALSE(remove_member(q_, 0));
  EXPECT_TRUE(is_kept(q_.groups[0]));
}

TEST_F(GroupsTest, ADissolvingGroupWaitsForAProducerBetweenClaimAndPublish) {
  join("audit");
  std::uint64_t limit = 0;
  const PublishClaim c = q_.map->ring().claim_publish(2, 1, limit);
  ASSERT_EQ(c.outcome, ClaimOutcome::ok);
  ASSERT_TRUE(remove_member(q_, 1));
  EXPECT_FALSE(dissolve_groups(q_));
  Descriptor d;
  d.kind = LineKind::inlined;
  q_.map->ring().write(c.ticket, d, nullptr);
  EXPECT_TRUE(dissolve_groups(q_));
}

TEST_F(GroupsTest, OfALostQueueAreLeftAlone) {
  join("audit");
  ASSERT_TRUE(remove_member(q_, 1));
  q_.lost = true;
  EXPECT_TRUE(dissolve_groups(q_));
  EXPECT_TRUE(q_.groups[1].leaving);
}

TEST_F(GroupsTest, AnUnreadDefaultIsToldOnce) {
  EXPECT_TRUE(is_default_unread(q_));
  EXPECT_FALSE(is_default_unread(q_));
}

TEST_F(GroupsTest, ADefaultThatSomebodyReadsIsNoOversight) {
  join("default");
  EXPECT_FALSE(is_default_unread(q_));
}

}  // namespace
}  // namespace ipcq::detail
