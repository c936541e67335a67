#include "client/publish_bells.hpp"

#include <gtest/gtest.h>

#include "segments.hpp"

namespace ipcq::detail {
namespace {

class PublishBellsTest : public testing::Test {
 protected:
  static void let_sleep(Doorbell& bell) { arm(bell, bell.sequence.load(std::memory_order_relaxed)); }
  static void let_all_sleep(Segments& s) {
    QueueControl& c = s.control();
    for (Doorbell* bell : {&c.ready[0], &c.ready[1], &c.space, &c.work, &c.completion_waker}) let_sleep(*bell);
    let_sleep(s.pool_map().control().free);
  }
  // Which of the bells a publish for `groups` has rung.
  static std::string rung(Segments& s, std::uint8_t groups) {
    let_all_sleep(s);
    EXPECT_EQ(PublishBells(s.queue(), s.pool_map()).ring(groups), Status::ok);
    QueueControl& c = s.control();
    std::string names;
    const auto add = [&](const char* name, const Doorbell& bell) {
      if (!is_armed(bell)) names.append(names.empty() ? "" : " ").append(name);
    };
    add("ready0", c.ready[0]);
    add("ready1", c.ready[1]);
    add("space", c.space);
    add("work", c.work);
    add("waker", c.completion_waker);
    add("free", s.pool_map().control().free);
    return names;
  }
};

TEST_F(PublishBellsTest, WakesTheGroupsThatReadTheMessage) {
  Segments s(Segments::small(2));
  EXPECT_EQ(rung(s, 1), "ready0");
  EXPECT_EQ(rung(s, 2), "ready1");
  EXPECT_EQ(rung(s, 3), "ready0 ready1");
}

TEST_F(PublishBellsTest, ALineThatNobodyReadsIsFreeAtOnce) {
  Segments s(Segments::small(2));
  EXPECT_EQ(rung(s, 0), "space");
}

TEST_F(PublishBellsTest, WhatMayBeDiscardedIsRoomForProducers) {
  QueueOptions lossy = Segments::small(2);
  lossy.groups[1].policy = GroupPolicy::lossy;
  Segments s(lossy);
  EXPECT_EQ(rung(s, 1), "ready0");
  EXPECT_EQ(rung(s, 2), "ready1 space free");
  QueueOptions oldest = Segments::small(1);
  oldest.backpressure = Backpressure::drop_oldest;
  Segments drops(oldest);
  EXPECT_EQ(rung(drops, 1), "ready0 space free");
}

TEST_F(PublishBellsTest, AnExecutorGetsTheMessageFirst) {
  QueueOptions handled = Segments::small(1);
  handled.handler = "invert";
  Segments s(handled);
  EXPECT_EQ(rung(s, 1), "work");
}

}  // namespace
}  // namespace ipcq::detail
