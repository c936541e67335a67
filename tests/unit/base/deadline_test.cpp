#include "base/deadline.hpp"

#include <gtest/gtest.h>

#include <thread>

namespace ipcq::detail {
namespace {

using std::chrono::milliseconds;
using std::chrono::nanoseconds;

TEST(Deadline, OfNoTimeHasPassedAndStaysOne) {
  for (const Duration none : {Duration::zero(), Duration(-1), Duration::min()}) {
    Deadline d(none);
    EXPECT_FALSE(d.was_given_time());
    EXPECT_TRUE(d.has_passed());
    EXPECT_EQ(d.at_ns(), 0u);
    EXPECT_EQ(d.outcome(Status::full), Status::full);
    EXPECT_FALSE(d.round(1'000'000).was_given_time());
    EXPECT_EQ(d.round(1'000'000).at_ns(), 0u);
  }
}

TEST(Deadline, ThatHasPassedIsStillOneWithTime) {
  Deadline d{nanoseconds(1)};
  d.start();
  std::this_thread::sleep_for(milliseconds(1));
  EXPECT_TRUE(d.has_passed());
  EXPECT_TRUE(d.was_given_time());
  EXPECT_EQ(d.outcome(Status::empty), Status::timeout);
  Deadline round = d.round(1'000'000);
  EXPECT_TRUE(round.has_passed());
  EXPECT_EQ(round.outcome(Status::full), Status::timeout);
}

TEST(Deadline, StartsOnceWithTheFirstLook) {
  Deadline d{milliseconds(500)};
  const std::uint64_t before = now_ns();
  const std::uint64_t at = d.at_ns();
  EXPECT_GE(at, before + 500'000'000);
  std::this_thread::sleep_for(milliseconds(2));
  d.start();
  EXPECT_EQ(d.at_ns(), at);
}

TEST(Deadline, OfForEverNeverPasses) {
  Deadline d(kForever);
  EXPECT_EQ(d.at_ns(), kNever);
  EXPECT_FALSE(d.has_passed());
  const std::uint64_t now = now_ns();
  Deadline round = d.round(1'000'000);
  EXPECT_GE(round.at_ns(), now + 1'000'000);
  EXPECT_NE(round.at_ns(), kNever);
}

TEST(Deadline, SaturatesTimeOutsThatAreTooLong) {
  EXPECT_EQ(deadline_after(kForever), kNever);
  EXPECT_GT(deadline_after(kForever - Duration(1)), now_ns());
  EXPECT_EQ(deadline_after(Duration::zero()), 0u);
  EXPECT_EQ(deadline_after(Duration(-5)), 0u);
}

TEST(Deadline, ARoundEndsNoLaterThanItself) {
  Deadline d{milliseconds(1)};
  const std::uint64_t at = d.at_ns();
  EXPECT_EQ(d.round(1'000'000'000).at_ns(), at);
}

}  // namespace
}  // namespace ipcq::detail
