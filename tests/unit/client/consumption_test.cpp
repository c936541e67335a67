// What one call of consume() shows, takes and returns.
#include "client/consumption.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "unit/client/consumption_fixture.hpp"

namespace ipcq::detail {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST_F(ConsumptionTest, TakesAQuarterOfTheRingAtOnceAndGoesOn) {
  send(0, 10);
  std::vector<std::uint64_t> taken_then;
  const BatchResult r = consume(256, [&](const MessageView& m) {
    EXPECT_EQ(m.sequence(), taken_then.size());
    taken_then.push_back(taken());
    EXPECT_FALSE(s_.ring().has_finished(0, m.sequence())) << "it lies in its line";
    EXPECT_TRUE(all_finished(m.sequence())) << "those before it are done with";
    return true;
  });
  EXPECT_EQ(r.status, Status::ok);
  EXPECT_EQ(r.count, 10u);
  EXPECT_THAT(taken_then, ElementsAre(4, 4, 4, 4, 8, 8, 8, 8, 10, 10));
  EXPECT_TRUE(all_finished(10));
  EXPECT_EQ(counted(), 10u);
}

TEST_F(ConsumptionTest, TakesNoMoreThanTheLimit) {
  send(0, 6);
  send_slots(6, 9);
  EXPECT_THAT(shown(3), ElementsAre(0, 1, 2));
  EXPECT_EQ(taken(), 3u);
  EXPECT_THAT(shown(5), ElementsAre(3, 4, 5, 6, 7));
  EXPECT_EQ(taken(), 8u);
  const BatchResult r = consume(0, [](const MessageView&) { return true; });
  EXPECT_EQ(r.status, Status::ok);
  EXPECT_EQ(r.count, 0u);
  EXPECT_EQ(taken(), 8u);
  EXPECT_THAT(shown(5), ElementsAre(8));
}

TEST_F(ConsumptionTest, TakesNoMoreAtOnceThanItHasEntriesFreeAndNothingWithoutAny) {
  send(0, 16);
  std::vector<Message> held(14);
  Deadline none = Deadline::none();
  ASSERT_EQ(core_->receive_many(held, none).count, 14u);
  send(16, 20);
  EXPECT_THAT(shown(3), ElementsAre(14, 15, 16));
  Message last[2];
  ASSERT_EQ(core_->receive_many(last, none).count, 2u);
  EXPECT_EQ(consume(256, [](const MessageView&) { return true; }).status, Status::full);
  EXPECT_EQ(last[0].release(), Status::ok);
  EXPECT_THAT(shown(), ElementsAre(19));
}

TEST_F(ConsumptionTest, ARangeEndsAtASlotMessageAndTheCallGoesOnWithIt) {
  send(0, 2);
  send_slots(2, 4);
  send(4, 6);
  send_slots(6, 7);
  Seen all;
  std::uint64_t taken_first = 0;
  const BatchResult r = consume(256, [&](const MessageView& m) {
    if (all.empty()) taken_first = taken();
    all.emplace_back(m.sequence(), m.redeliveries());
    return true;
  });
  EXPECT_EQ(r.status, Status::ok);
  EXPECT_EQ(r.count, 7u);
  EXPECT_EQ(taken_first, 2u);
  EXPECT_EQ(all, (Seen{{0, 0}, {1, 0}, {2, 0}, {3, 0}, {4, 0}, {5, 0}, {6, 0}}));
  EXPECT_TRUE(s_.all_slots_free());
  EXPECT_EQ(counted(), 7u);
}

TEST_F(ConsumptionTest, SkipsDamagedLinesAndCountsThem) {
  send(0, 1);
  send_damaged();
  send_tombstone();
  send(3, 4);
  send_damaged();
  EXPECT_THAT(shown(), ElementsAre(0, 3));
  EXPECT_EQ(damaged(), 2u) << "a tombstone is not damaged";
  EXPECT_EQ(counted(), 2u);
  EXPECT_TRUE(all_finished(5));
}

TEST_F(ConsumptionTest, LinesWithoutAMessageAloneAreNoResult) {
  for (const Duration time : {Duration::zero(), Duration(1)}) {
    send_damaged();
    send_tombstone();
    const BatchResult r = consume(
        256, [](const MessageView&) { return true; }, time);
    EXPECT_EQ(r.status, time == Duration::zero() ? Status::empty : Status::timeout);
    EXPECT_EQ(r.count, 0u);
  }
  EXPECT_EQ(damaged(), 2u);
  EXPECT_TRUE(all_finished(4));
}

// As many as one claim takes, so that the message needs another.
TEST_F(ConsumptionTest, FindsTheMessageBehindTombstonesWithoutTimeAlso) {
  for (int i = 0; i < 4; ++i) send_tombstone();
  send(0, 1);
  EXPECT_THAT(shown(1), ElementsAre(0));
}

TEST_F(ConsumptionTest, ADamagedLineInTheRestOfAClaimIsCounted) {
  send(0, 1);
  send_damaged();
  send(1, 2);
  const BatchResult r = consume(3, [](const MessageView&) { return false; });
  EXPECT_EQ(r.count, 1u);
  EXPECT_EQ(damaged(), 1u);
  EXPECT_THAT(others_get(), ElementsAre(std::pair(1, 0)));
}

TEST_F(ConsumptionTest, NothingElseTakesWhileAClaimIsOpen) {
  send(0, 3);
  const BatchResult r = consume(3, [&](const MessageView&) {
    EXPECT_TRUE(core_->is_consuming());
    Message m;
    Descriptor d;
    Deadline none = Deadline::none();
    EXPECT_EQ(core_->receive_early(m, d, none), Status::full);  // as a poll thread calls it
    EXPECT_EQ(core_->receive(m, Duration::zero()), Status::full);
    return true;
  });
  EXPECT_EQ(r.count, 3u);
  EXPECT_FALSE(core_->is_consuming());
}

TEST_F(ConsumptionTest, WaitsForTheFirstMessageOnly) {
  send(0, 1);
  const BatchResult some = consume(
      256, [](const MessageView&) { return true; }, kForever);
  EXPECT_EQ(some.status, Status::ok);
  EXPECT_EQ(some.count, 1u);
  s_.control().end_ticket.store(1, std::memory_order_release);
  const BatchResult none = consume(
      256, [](const MessageView&) { return true; }, kForever);
  EXPECT_EQ(none.status, Status::end);
  EXPECT_EQ(none.count, 0u);
}

TEST_F(ConsumptionTest, AMessageThatWasGivenBackComesBeforeTheLines) {
  send(0, 3);
  const std::uint32_t e = s_.take(0, 1, 6);
  ASSERT_TRUE(s_.queue().member(0, 1, 6).give_back(e, 0));
  Seen all;
  const BatchResult r = consume(256, [&](const MessageView& m) {
    all.emplace_back(m.sequence(), m.redeliveries());
    return true;
  });
  EXPECT_EQ(r.count, 3u);
  EXPECT_EQ(all, (Seen{{0, 1}, {1, 0}, {2, 0}}));
}

TEST_F(ConsumptionTest, ACallbackThatStopsReturnsTheRestAsIfNeverDelivered) {
  send(0, 6);
  const BatchResult r = consume(256, [](const MessageView& m) { return m.sequence() != 1; });
  EXPECT_EQ(r.status, Status::ok);
  EXPECT_EQ(r.count, 2u);
  EXPECT_EQ(taken(), 4u);
  EXPECT_EQ(counted(), 2u);
  EXPECT_EQ(others_get(), (Seen{{2, 0}, {3, 0}, {4, 0}, {5, 0}}));
  EXPECT_TRUE(all_finished(6));
}

TEST_F(ConsumptionTest, ACallbackThatStopsAtASlotMessageReturnsTheRestToo) {
  send_slots(0, 4);
  const BatchResult r = consume(256, [](const MessageView& m) { return m.sequence() != 1; });
  EXPECT_EQ(r.count, 2u);
  EXPECT_EQ(counted(), 2u);
  EXPECT_EQ(others_get(), (Seen{{2, 0}, {3, 0}}));
  EXPECT_TRUE(s_.all_slots_free());
}

TEST_F(ConsumptionTest, ACallbackThatThrowsGivesItsMessageBackAndTheRestInOrder) {
  send(0, 6);
  const auto throws_at_one = [](const MessageView& m) {
    if (m.sequence() == 1) throw std::runtime_error("no");
    return true;
  };
  EXPECT_THROW((void)consume(256, throws_at_one), std::runtime_error);
  EXPECT_EQ(taken(), 4u);
  // Members take them by turns, and each gets the oldest.
  EXPECT_THAT(shown(1), ElementsAre(1));
  EXPECT_EQ(others_get(), (Seen{{2, 0}, {3, 0}, {4, 0}, {5, 0}}));
  EXPECT_TRUE(all_finished(6));
}

TEST_F(ConsumptionTest, OnlyTheMessageOfAThrowCountsAsDelivered) {
  const auto throws = [](const MessageView&) -> bool { throw std::runtime_error("no"); };
  send(0, 2);
  EXPECT_THROW((void)consume(256, throws), std::runtime_error);
  EXPECT_EQ(others_get(), (Seen{{0, 1}, {1, 0}}));
  send_slots(2, 5);
  EXPECT_THROW((void)consume(256, throws), std::runtime_error);
  EXPECT_EQ(others_get(), (Seen{{2, 1}, {3, 0}, {4, 0}}));
  EXPECT_TRUE(s_.all_slots_free());
  EXPECT_EQ(counted(), 2u);
  EXPECT_THAT(shown(), IsEmpty());
}

TEST_F(ConsumptionTest, WhatIsReturnedWakesMembers) {
  send(0, 2);
  auto& ready = s_.control().ready[0];
  arm(ready, ready.sequence.load(std::memory_order_relaxed));
  EXPECT_EQ(consume(256, [](const MessageView&) { return false; }).count, 1u);
  EXPECT_FALSE(is_armed(ready));
}

TEST_F(ConsumptionTest, EachLineWakesProducersAsSoonAsItIsFree) {
  send(0, 2);
  auto& space = s_.control().space;
  const BatchResult r = consume(256, [&](const MessageView& m) {
    if (m.sequence() == 1) {
      EXPECT_FALSE(is_armed(space)) << "the first line is free";
    }
    arm(space, space.sequence.load(std::memory_order_relaxed));
    return true;
  });
  EXPECT_EQ(r.count, 2u);
  EXPECT_FALSE(is_armed(space));
}

TEST_F(ConsumptionTest, ACallbackThatClosesLeavesWhatIsClaimedToTheBroker) {
  send(0, 3);
  const BatchResult r = consume(256, [&](const MessageView&) {
    core_->close();
    return true;
  });
  EXPECT_EQ(r.count, 1u);
  EXPECT_EQ(taken(), 3u);
  for (std::uint64_t t = 0; t < 3; ++t) EXPECT_FALSE(s_.ring().has_finished(0, t));
  EXPECT_EQ(consume(256, [](const MessageView&) { return true; }).status, Status::closed);
}

// Producers never wait for such readers, so no line is kept while a callback runs.
class ConsumptionFromEntries : public ConsumptionTest {
 protected:
  explicit ConsumptionFromEntries(const QueueOptions& options = lossy()) : ConsumptionTest(options) {}
  static QueueOptions lossy() {
    QueueOptions o = sixteen();
    o.groups = {{"g0", GroupPolicy::lossy}};
    return o;
  }
  void expect_lines_are_free() {
    send(0, 3);
    const BatchResult r = consume(256, [&](const MessageView& m) {
      EXPECT_TRUE(s_.ring().has_finished(0, m.sequence()));
      return m.sequence() != 1;
    });
    EXPECT_EQ(r.count, 2u);
    EXPECT_EQ(others_get(), (Seen{{2, 0}}));
  }
};
class ConsumptionWhereTheOldestIsDropped : public ConsumptionFromEntries {
 protected:
  ConsumptionWhereTheOldestIsDropped() : ConsumptionFromEntries(drop_oldest()) {}
  static QueueOptions drop_oldest() {
    QueueOptions o = sixteen();
    o.backpressure = Backpressure::drop_oldest;
    return o;
  }
};

TEST_F(ConsumptionFromEntries, KeepsNoLineOfALossyGroup) { expect_lines_are_free(); }
TEST_F(ConsumptionWhereTheOldestIsDropped, KeepsNoLine) { expect_lines_are_free(); }

}  // namespace
}  // namespace ipcq::detail
