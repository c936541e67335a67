#include "broker/recreation_queue.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace ipcq_test {
namespace {

using ipcq::detail::Recreation;
using ipcq::detail::RecreationQueue;
using Kind = Recreation::Kind;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::uint64_t kLate = RecreationQueue::kPatienceNs;
constexpr std::uint64_t kRetry = RecreationQueue::kRetryEveryNs;

class RecreationQueueTest : public testing::Test {
 protected:
  void add(Kind kind, const std::string& name, const std::string& pool = {}) {
    waiting_.add({kind, name, pool, [] {}});
  }
  std::string next(std::uint64_t now = 0) const {
    const auto r = waiting_.next(now);
    return r ? r->object() : "none";
  }
  void succeed(std::uint64_t now = 0) { waiting_.succeeded(*waiting_.next(now)); }
  std::vector<std::string> fail(std::uint64_t now, bool final = false) {
    return waiting_.failed(*waiting_.next(now), "why", final, now);
  }

  RecreationQueue waiting_;
};

TEST_F(RecreationQueueTest, ComeInAnOrderThatCanWork) {
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

TEST_F(RecreationQueueTest, APoolIsAwaitedUntilAllInItAreThere) {
  add(Kind::pool, "p");
  add(Kind::sharing, "a", "p");
  EXPECT_EQ(waiting_.awaiting("p"), "a");
  EXPECT_EQ(waiting_.awaiting("a"), "");
  succeed();
  EXPECT_EQ(waiting_.awaiting("p"), "a");
  succeed();
  EXPECT_EQ(waiting_.awaiting("p"), "");
}

TEST_F(RecreationQueueTest, APatientOneIsTriedOnAndSaysSoOnce) {
  waiting_.add({Kind::queue, "q", {}, [] {}, true});
  EXPECT_THAT(fail(1), IsEmpty());
  const std::uint64_t late = 1 + kLate;
  EXPECT_THAT(fail(late), ElementsAre(AllOf(HasSubstr("queue 'q'"), HasSubstr("tried on"), HasSubstr("why"))));
  for (std::uint64_t n = 1; n <= 3; ++n) EXPECT_THAT(fail(late + n * kRetry), IsEmpty());
  EXPECT_EQ(next(late + 4 * kRetry), "queue 'q'");
  EXPECT_THAT(fail(late + 4 * kRetry, true), ElementsAre(HasSubstr("is gone")));
  EXPECT_TRUE(waiting_.empty());
}

TEST_F(RecreationQueueTest, WhatDiesAgainComesBeforeWhatNeedsIt) {
  add(Kind::pool, "p");
  add(Kind::sharing, "a", "p");
  add(Kind::sharing, "b", "p");
  succeed();
  succeed();
  EXPECT_EQ(next(), "queue 'b'");
  const Recreation b = *waiting_.next(0);  // while it is created
  add(Kind::pool, "p");
  add(Kind::sharing, "a", "p");
  EXPECT_THAT(waiting_.failed(b, "why", true, 2 * kLate), IsEmpty());
  EXPECT_EQ(next(), "pool 'p'");
  succeed();
  succeed();
  EXPECT_EQ(next(), "queue 'b'");
}

TEST_F(RecreationQueueTest, AreTriedUntilItIsTimeToGiveUp) {
  add(Kind::queue, "q");
  EXPECT_THAT(fail(5), IsEmpty());  // from now on
  EXPECT_EQ(next(5), "none");
  EXPECT_THAT(fail(kLate), IsEmpty());
  EXPECT_TRUE(waiting_.awaits_queue("q"));
  EXPECT_EQ(next(kLate + 5), "none");
  EXPECT_THAT(fail(kLate + 5 + kRetry), ElementsAre(HasSubstr("'q'")));
  add(Kind::queue, "q");
  EXPECT_THAT(fail(5), IsEmpty());
  EXPECT_THAT(fail(kLate + 5), ElementsAre(AllOf(HasSubstr("queue 'q'"), HasSubstr("gone: why"))));
  EXPECT_FALSE(waiting_.awaits_queue("q"));
  add(Kind::queue, "q");
  EXPECT_THAT(fail(1, true), ElementsAre(HasSubstr("queue 'q'")));
  EXPECT_TRUE(waiting_.empty());
}

TEST_F(RecreationQueueTest, AQueueIsGivenUpWithThePoolThatItShares) {
  add(Kind::pool, "p");
  add(Kind::queue, "q");
  add(Kind::sharing, "a", "p");
  add(Kind::sharing, "b", "q");
  EXPECT_THAT(fail(0), IsEmpty());
  EXPECT_THAT(fail(0), IsEmpty());
  EXPECT_EQ(next(0), "none");
  EXPECT_THAT(fail(kLate),
              ElementsAre(HasSubstr("pool 'p'"), AllOf(HasSubstr("'a'"), HasSubstr("gone with pool 'p'"))));
  EXPECT_THAT(fail(kLate), ElementsAre(HasSubstr("queue 'q'"), HasSubstr("'b'")));
  EXPECT_TRUE(waiting_.empty());
}

TEST_F(RecreationQueueTest, TheTimeOfASharingQueueCountsFromThePoolsReturn) {
  add(Kind::pool, "p");
  add(Kind::sharing, "a", "p");
  succeed();
  EXPECT_THAT(fail(0), IsEmpty());
  add(Kind::pool, "p");  // lost again
  EXPECT_EQ(next(kLate), "pool 'p'");
  succeed(kLate);
  EXPECT_THAT(fail(kLate), IsEmpty());
  EXPECT_THAT(fail(2 * kLate - 1), IsEmpty());
  EXPECT_THAT(fail(2 * kLate + kRetry), ElementsAre(HasSubstr("'a'")));
}

TEST_F(RecreationQueueTest, OneThatFailsHoldsUpOnlyThoseThatNeedIt) {
  add(Kind::pool, "p");
  add(Kind::sharing, "a", "p");
  add(Kind::queue, "q");
  EXPECT_THAT(fail(0), IsEmpty());
  EXPECT_EQ(next(0), "queue 'q'");
  succeed();
  EXPECT_EQ(next(0), "none");
  EXPECT_EQ(next(kRetry), "pool 'p'");
  succeed(kRetry);
  EXPECT_EQ(next(kRetry), "queue 'a'");
}

TEST_F(RecreationQueueTest, WhatDiesAgainBeforeItsFateIsToldStays) {
  add(Kind::queue, "q");
  const auto created = waiting_.next(0);
  ASSERT_TRUE(created);
  add(Kind::queue, "q");  // its new runner has died already
  waiting_.succeeded(*created);
  EXPECT_TRUE(waiting_.awaits_queue("q"));
  EXPECT_THAT(waiting_.failed(*created, "why", true, 0), IsEmpty());
  EXPECT_EQ(next(), "queue 'q'");
  succeed();
  EXPECT_TRUE(waiting_.empty());
}

}  // namespace
}  // namespace ipcq_test
