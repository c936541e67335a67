#include "protocol/drop_one.hpp"

#include <gtest/gtest.h>

#include "segments.hpp"

namespace ipcq::detail {
namespace {

class DropOne : public testing::Test {
 protected:
  Segments s{Segments::small()};
};

TEST_F(DropOne, DropsTheOldestMessageWithItsSlot) {
  s.send_slot(2, 0);
  s.send(2, 1);
  bool dropped = false, freed = false;
  EXPECT_TRUE(drop_one(s.ring(), s.pool(), 0, s.ring().cursor(1).next, 2, dropped, freed));
  EXPECT_TRUE(dropped && freed);
  EXPECT_TRUE(s.all_slots_free());
  EXPECT_TRUE(drop_one(s.ring(), s.pool(), 0, s.ring().cursor(1).next, 2, dropped, freed));
  EXPECT_TRUE(dropped && !freed);
  EXPECT_FALSE(drop_one(s.ring(), s.pool(), 0, s.ring().cursor(1).next, 2, dropped, freed));
}

TEST_F(DropOne, DropsNothingWhenTheTicketIsNoLongerTheOneThatWasMeant) {
  s.send(2, 0);
  s.send(2, 1);
  ASSERT_NE(s.take(0, 0, 5), kNone);
  bool dropped = false, freed = false;
  EXPECT_TRUE(drop_one(s.ring(), s.pool(), 0, 0, 2, dropped, freed));
  EXPECT_FALSE(dropped);
  EXPECT_EQ(s.ring().cursor(1).next, 1u);
}

TEST_F(DropOne, DropsNothingThatIsNotPublished) {
  ASSERT_EQ(s.claim(3).ticket, 0u);
  bool dropped = false, freed = false;
  EXPECT_FALSE(drop_one(s.ring(), s.pool(), 0, s.ring().cursor(1).next, 2, dropped, freed));
  EXPECT_EQ(s.ring().cursor(1).next, 0u);
}

}  // namespace
}  // namespace ipcq::detail
