#include "recoveries.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ipcq_test {
namespace {

using ipcq::detail::Recoveries;
using ipcq::detail::Recovery;
using Kind = Recovery::Kind;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t kLate = Recoveries::kPatienceNs;

class RecoveriesTest : public testing::Test {
 protected:
  void add(Kind kind, const std::string& name, const std::string& pool = {}, std::uint64_t now = 0) {
    waiting_.add({kind, name, pool, [] {}}, now);
  }
  std::string next() const { return waiting_.empty() ? "" : waiting_.next().object(); }
  void succeed(std::uint64_t now = 0) { waiting_.succeeded(waiting_.next(), now); }
  std::vector<std::string> fail(std::uint64_t now, bool final = false) {
    return waiting_.failed(waiting_.next(), "why", final, now);
  }

  Recoveries waiting_;
};

TEST_F(RecoveriesTest, ComeInAnOrderThatCanWork) {
  add(Kind::sharing, "a", "z");
  add(Kind::sharing, "b", "p");
  add(Kind::queue, "z");
  add(Kind::pool, "p");
  for (const char* const object : {"pool 'p'", "queue 'z'", "queue 'a'", "queue 'b'"}) {
    EXPECT_EQ(next(), object);
    succeed();
  }
  EXPECT_TRUE(waiting_.empty());
}

TEST_F(RecoveriesTest, WhatDiesAgainComesBeforeWhatNeedsIt) {
  add(Kind::pool, "p");
  add(Kind::sharing, "a", "p");
  add(Kind::sharing, "b", "p");
  succeed();
  succeed();
  EXPECT_EQ(next(), "queue 'b'");
  const Recovery b = waiting_.next();  // while it is created
  add(Kind::pool, "p");
  add(Kind::sharing, "a", "p");
  EXPECT_THAT(waiting_.failed(b, "why", true, 2 * kLate), IsEmpty());
  EXPECT_EQ(next(), "pool 'p'");
  succeed();
  succeed();
  EXPECT_EQ(next(), "queue 'b'");
}

TEST_F(RecoveriesTest, AreTriedUntilItIsTimeToGiveUp) {
  add(Kind::queue, "q", {}, 5);
  EXPECT_THAT(fail(kLate), IsEmpty());
  EXPECT_TRUE(waiting_.awaits_queue("q"));
  EXPECT_THAT(fail(kLate + 5), ElementsAre(AllOf(HasSubstr("queue 'q'"), HasSubstr("gone: why"))));
  EXPECT_FALSE(waiting_.awaits_queue("q"));
  add(Kind::queue, "q");
  EXPECT_THAT(fail(1, true), ElementsAre(HasSubstr("queue 'q'")));
  EXPECT_TRUE(waiting_.empty());
}

TEST_F(RecoveriesTest, AQueueIsGivenUpWithThePoolThatItShares) {
  add(Kind::pool, "p");
  add(Kind::queue, "q");
  add(Kind::sharing, "a", "p");
  add(Kind::sharing, "b", "q");
  EXPECT_THAT(fail(kLate),
              ElementsAre(HasSubstr("pool 'p'"), AllOf(HasSubstr("'a'"), HasSubstr("gone with pool 'p'"))));
  EXPECT_THAT(fail(kLate), ElementsAre(HasSubstr("queue 'q'"), HasSubstr("'b'")));
  EXPECT_TRUE(waiting_.empty());
}

TEST_F(RecoveriesTest, TheTimeOfASharingQueueCountsFromThePoolsReturn) {
  add(Kind::pool, "p");
  add(Kind::sharing, "a", "p");
  succeed(kLate);
  EXPECT_THAT(fail(2 * kLate - 1), IsEmpty());
  EXPECT_THAT(fail(2 * kLate), ElementsAre(HasSubstr("'a'")));
}

}  // namespace
}  // namespace ipcq_test
