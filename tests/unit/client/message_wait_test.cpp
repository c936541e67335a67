// What a consumer waits for, of a queue whose words the test writes by hand. The session is a real one of another
// broker, since only its own state counts.
#include "client/message_wait.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <future>
#include <memory>
#include <string>

#include "eventually.hpp"
#include "ipcq/broker.hpp"
#include "unit/segments.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::eventually;
using ipcq_test::kBound;
using ipcq_test::kPrompt;
using namespace std::chrono_literals;

constexpr std::uint32_t kWriter = 5;
constexpr std::uint32_t kOther = 6;
constexpr std::uint32_t kSelf = 7;
constexpr Duration kWhile = 30ms;

class MessageWaitTest : public testing::Test {
 protected:
  static QueueOptions eight_lines(const std::string& handler = {}) {
    QueueOptions o = Segments::small(2);
    o.lines = 8;
    o.handler = handler;
    return o;
  }
  static std::string broker_name() { return "message-wait-" + std::to_string(::getpid()); }

  MessageWait wait_with(const ConsumerOptions& options = {}) { return wait_on(s_, options); }
  MessageWait wait_on(Segments& s, const ConsumerOptions& options) { return {session_, s.queue(), member_, options}; }
  // What await_batch() returns to a consumer that waits so, before it takes `room` messages.
  std::uint64_t batch(std::size_t room, Wait wait = Wait::hybrid()) {
    return wait_with({.wait = wait}).await_batch(member_, room);
  }
  // One call that takes a message into a held entry.
  Status take(MessageWait& wait, Duration time, const std::atomic<bool>* roused = nullptr) {
    Deadline deadline(time);
    Taken taken;
    const auto attempt = [&] { return member_.take_one(entry_); };
    return wait.until_taken(member_, attempt, deadline, taken, damaged_, roused);
  }
  void end_stream(std::uint64_t ticket) {
    auto& control = s_.control();
    control.end_count.store(control.end_count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    control.end_ticket.store(ticket, std::memory_order_release);
  }
  // As if somebody slept on the bell.
  static void let_sleep(Doorbell& bell) { arm(bell, bell.sequence.load(std::memory_order_relaxed)); }

  std::unique_ptr<Broker> broker_ = std::make_unique<Broker>(BrokerOptions{.name = broker_name()});
  SessionCore session_{ConnectOptions{.broker = broker_name()}};
  Segments s_{eight_lines()};
  GroupMember<SharedAtomics> member_ = s_.queue().member(0, 0, kSelf);
  std::uint32_t entry_ = kNone;
  std::uint64_t damaged_ = 0;
};

TEST_F(MessageWaitTest, ABatchEndsBehindTheLastTicketThatIsClaimed) {
  for (std::uint64_t n = 0; n < 5; ++n) ASSERT_EQ(s_.send(kWriter, n), n);
  EXPECT_EQ(batch(8), 5u);
  EXPECT_EQ(batch(8, Wait::spin()), 5u);
  EXPECT_EQ(batch(5), 5u);
  EXPECT_EQ(batch(3), 3u) << "within the room of the call";
  ASSERT_NE(s_.take(0, 0, kSelf), kNone);
  EXPECT_EQ(batch(3), 4u) << "from the group's next ticket on";
}

TEST_F(MessageWaitTest, ABatchIsNotWaitedForWhereOneLineIsNone) {
  EXPECT_EQ(batch(8), 0u);
  ASSERT_EQ(s_.send(kWriter, 0), 0u);
  EXPECT_EQ(batch(8), 0u);
  ASSERT_EQ(s_.send(kWriter, 1), 1u);
  EXPECT_EQ(batch(1), 0u);
}

TEST_F(MessageWaitTest, AClaimThatIsNeverPublishedIsNotWaitedForForEver) {
  for (std::uint64_t n = 0; n < 3; ++n) ASSERT_EQ(s_.send(kWriter, n), n);
  ASSERT_EQ(s_.claim(kWriter).outcome, ClaimOutcome::ok);
  EXPECT_EQ(batch(8), 0u);
  EXPECT_EQ(batch(4, Wait::spin()), 0u);
  EXPECT_EQ(batch(3), 3u) << "it lies beyond the room";
}

TEST_F(MessageWaitTest, NoBatchIsWaitedForByOneThatSleepsOrBehindAnExecutor) {
  for (std::uint64_t n = 0; n < 3; ++n) ASSERT_EQ(s_.send(kWriter, n), n);
  EXPECT_EQ(batch(8, Wait::sleep()), 0u);
  Segments handled(eight_lines("copy"));
  ASSERT_TRUE(handled.ring().has_handler());
  const auto member = handled.queue().member(0, 0, kSelf);
  for (std::uint64_t n = 0; n < 3; ++n) {
    ASSERT_EQ(handled.send(kWriter, n), n);
    handled.ring().write_out(n, Segments::inline_message(n), nullptr);
  }
  ASSERT_TRUE(handled.ring().readable(2));
  EXPECT_EQ(wait_on(handled, {}).await_batch(member, 8), 0u);
}

TEST_F(MessageWaitTest, OfAQueueOnADeviceTheExecutorSaysWhichLinesAreWritten) {
  Segments device(eight_lines("copy"), QueueMap::Executed::by_device, {.slots = 4, .size = 256}, nullptr);
  device.control().taken.store(5, std::memory_order_relaxed);
  const auto member = device.queue().member(0, 0, kSelf);
  EXPECT_EQ(wait_on(device, {}).await_batch(member, 8), 5u);
  EXPECT_EQ(wait_on(device, {.wait = Wait::sleep()}).await_batch(member, 8), 5u);
}

TEST_F(MessageWaitTest, ACallGoesOnWhileItHasTime) {
  const MessageWait wait = wait_with();
  Deadline for_ever(kForever);
  EXPECT_EQ(wait.go_on(for_ever), Status::ok);
  Deadline long_time(kBound);
  EXPECT_EQ(wait.go_on(long_time), Status::ok);
  Deadline none = Deadline::none();
  EXPECT_EQ(wait.go_on(none), Status::empty);
  Deadline over = Deadline::until(1);
  EXPECT_EQ(wait.go_on(over), Status::timeout);
}

TEST_F(MessageWaitTest, ACallThatIsInterruptedOrHasNoQueueOrBrokerDoesNotGoOn) {
  MessageWait wait = wait_with();
  Deadline deadline(kBound);
  Deadline none = Deadline::none();
  session_.interrupt();
  EXPECT_EQ(wait.go_on(deadline), Status::interrupted);
  EXPECT_EQ(wait.go_on(none), Status::interrupted);
  EXPECT_EQ(take(wait, kBound), Status::interrupted);
  session_.resume();
  EXPECT_EQ(wait.go_on(deadline), Status::ok);
  broker_.reset();
  ASSERT_TRUE(eventually([&] { return !session_.connected(); }));
  EXPECT_EQ(wait.go_on(deadline), Status::peer_dead);
  EXPECT_EQ(take(wait, kBound), Status::peer_dead);
  s_.control().state.store(static_cast<std::uint64_t>(QueueState::closed), std::memory_order_relaxed);
  EXPECT_EQ(wait.go_on(deadline), Status::closed);
  EXPECT_EQ(take(wait, kBound), Status::closed);
}

TEST_F(MessageWaitTest, AMessageThatIsThereIsTakenWhateverElseHolds) {
  MessageWait wait = wait_with();
  for (std::uint64_t n = 0; n < 2; ++n) ASSERT_EQ(s_.send(kWriter, n), n);
  session_.interrupt();
  EXPECT_EQ(take(wait, Duration::zero()), Status::ok);
  session_.resume();
  s_.control().state.store(static_cast<std::uint64_t>(QueueState::closed), std::memory_order_relaxed);
  EXPECT_EQ(take(wait, Duration::zero()), Status::ok);
}

TEST_F(MessageWaitTest, WhereNothingIsThereTheTimeDecides) {
  for (const Wait w : {Wait::spin(), Wait::hybrid(), Wait::sleep()}) {
    MessageWait wait = wait_with({.wait = w});
    EXPECT_EQ(take(wait, Duration::zero()), Status::empty);
    EXPECT_EQ(take(wait, 1ns), Status::timeout);
    const std::uint64_t before = now_ns();
    EXPECT_EQ(take(wait, kWhile), Status::timeout);
    EXPECT_GE(now_ns() - before, static_cast<std::uint64_t>(kWhile.count()));
  }
}

TEST_F(MessageWaitTest, AMemberWithoutAFreeEntryIsFull) {
  MessageWait wait = wait_with();
  for (std::uint64_t n = 0; n < 5; ++n) ASSERT_EQ(s_.send(kWriter, n), n);
  for (int i = 0; i < 4; ++i) ASSERT_EQ(take(wait, kBound), Status::ok);
  EXPECT_EQ(take(wait, kBound), Status::full);
  session_.interrupt();
  EXPECT_EQ(take(wait, kBound), Status::full) << "it would not have to wait";
  s_.control().state.store(static_cast<std::uint64_t>(QueueState::closed), std::memory_order_relaxed);
  session_.resume();
  EXPECT_EQ(take(wait, kBound), Status::closed);
}

TEST_F(MessageWaitTest, DamagedLinesAreCountedWithAndWithoutAMessageBehindThem) {
  MessageWait wait = wait_with();
  Descriptor too_long = Segments::inline_message(0, s_.ring().inline_bytes() + 1);
  const auto publish_damaged = [&] {
    const PublishClaim c = s_.claim(kWriter);
    ASSERT_EQ(c.outcome, ClaimOutcome::ok);
    s_.ring().write(c.ticket, Segments::inline_message(0), nullptr);
    auto& head = *s_.ring().in(c.ticket);
    Pair word = head.load(std::memory_order_relaxed);
    word.lo = pack_kind(too_long);
    head.store(word, std::memory_order_release);
  };
  publish_damaged();
  EXPECT_EQ(take(wait, Duration::zero()), Status::empty);
  EXPECT_EQ(damaged_, 1u);
  publish_damaged();
  ASSERT_EQ(s_.send(kWriter, 2), 2u);
  EXPECT_EQ(take(wait, Duration::zero()), Status::ok);
  EXPECT_EQ(damaged_, 2u);
}

TEST_F(MessageWaitTest, OneThatIsRousedReturnsBeforeItsTime) {
  MessageWait wait = wait_with({.wait = Wait::sleep()});
  std::atomic<bool> roused{false};
  auto waiting = std::async(std::launch::async, [&] { return take(wait, kBound, &roused); });
  EXPECT_EQ(waiting.wait_for(kWhile), std::future_status::timeout);
  roused = true;
  publisher_fence();
  ring_always(s_.control().ready[0]);
  ASSERT_EQ(waiting.wait_for(kPrompt), std::future_status::ready);
  EXPECT_EQ(waiting.get(), Status::timeout);
}

TEST_F(MessageWaitTest, TheEndComesBehindTheLastMessageOfTheStream) {
  MessageWait wait = wait_with();
  ASSERT_EQ(s_.send(kWriter, 0), 0u);
  end_stream(1);
  EXPECT_EQ(take(wait, Duration::zero()), Status::ok);
  EXPECT_EQ(take(wait, Duration::zero()), Status::end) << "what this member holds itself does not delay it";
  EXPECT_EQ(take(wait, kBound), Status::end);
  MessageWait goes_on = wait_with({.until = Until::forever});
  EXPECT_EQ(take(goes_on, Duration::zero()), Status::empty);
  EXPECT_EQ(take(goes_on, 1ns), Status::timeout);
}

TEST_F(MessageWaitTest, TheEndWaitsForWhatOtherMembersHoldOrGaveBack) {
  MessageWait wait = wait_with();
  ASSERT_EQ(s_.send(kWriter, 0), 0u);
  const std::uint32_t others = s_.take(0, 1, kOther);
  ASSERT_NE(others, kNone);
  end_stream(1);
  EXPECT_EQ(take(wait, Duration::zero()), Status::empty);
  EXPECT_EQ(take(wait, 1ns), Status::timeout);
  ASSERT_TRUE(s_.queue().member(0, 1, kOther).give_back(others, 0));
  ASSERT_EQ(take(wait, Duration::zero()), Status::ok);
  EXPECT_EQ(entry_, others);
  ASSERT_TRUE(s_.release(0, 0, kSelf, entry_, 1));
  EXPECT_EQ(take(wait, Duration::zero()), Status::end);
}

TEST_F(MessageWaitTest, AStreamThatWasOverIsGivenTimeForTheNext) {
  end_stream(0);
  MessageWait at_once = wait_with();
  EXPECT_EQ(take(at_once, kBound), Status::end);
  MessageWait patient = wait_with({.wait_for = kForever});
  EXPECT_EQ(take(patient, Duration::zero()), Status::empty);
  EXPECT_EQ(take(patient, kWhile), Status::timeout);
  const std::uint64_t before = now_ns();
  MessageWait wait = wait_with({.wait = Wait::sleep(), .wait_for = kWhile});
  auto waiting = std::async(std::launch::async, [&] { return take(wait, kBound); });
  ASSERT_EQ(waiting.wait_for(kPrompt), std::future_status::ready) << "it sleeps on when the grace is over";
  EXPECT_EQ(waiting.get(), Status::end);
  EXPECT_GE(now_ns() - before, static_cast<std::uint64_t>(kWhile.count()));
}

TEST_F(MessageWaitTest, TheGraceIsNotForAStreamThatEndsLater) {
  MessageWait early = wait_with({.wait_for = kForever});
  end_stream(0);
  EXPECT_EQ(take(early, Duration::zero()), Status::end) << "it was not over when the consumer attached";
  MessageWait late = wait_with({.wait_for = kForever});
  EXPECT_EQ(take(late, Duration::zero()), Status::empty);
  end_stream(0);
  EXPECT_EQ(take(late, Duration::zero()), Status::end) << "the next stream has ended, too";
}

TEST_F(MessageWaitTest, AStreamWithMessagesLeftIsNotOver) {
  ASSERT_EQ(s_.send(kWriter, 0), 0u);
  end_stream(1);
  MessageWait wait = wait_with({.wait_for = kForever});
  ASSERT_EQ(take(wait, Duration::zero()), Status::ok);
  EXPECT_EQ(take(wait, Duration::zero()), Status::end);
}

TEST_F(MessageWaitTest, FreeLinesWakeProducersAndAtTheEndTheMembers) {
  const MessageWait wait = wait_with();
  auto& control = s_.control();
  let_sleep(control.space);
  let_sleep(control.ready[0]);
  let_sleep(control.ready[1]);
  wait.announce_free_lines();
  EXPECT_FALSE(is_armed(control.space));
  EXPECT_TRUE(is_armed(control.ready[0])) << "no member waits for the end of this stream";
  end_stream(0);
  let_sleep(control.space);
  wait.announce_free_lines();
  EXPECT_FALSE(is_armed(control.space));
  EXPECT_FALSE(is_armed(control.ready[0]));
  EXPECT_TRUE(is_armed(control.ready[1])) << "of another group";
}

TEST_F(MessageWaitTest, WhatIsTakenOrSkippedFreesLines) {
  MessageWait wait = wait_with();
  const PublishClaim c = s_.claim(kWriter);
  Descriptor tombstone;
  tombstone.kind = LineKind::tombstone;
  s_.ring().write(c.ticket, tombstone, nullptr);
  let_sleep(s_.control().space);
  EXPECT_EQ(take(wait, Duration::zero()), Status::empty);
  EXPECT_FALSE(is_armed(s_.control().space)) << "of a tombstone alone";
  ASSERT_EQ(s_.send(kWriter, 1), 1u);
  let_sleep(s_.control().space);
  EXPECT_EQ(take(wait, Duration::zero()), Status::ok);
  EXPECT_FALSE(is_armed(s_.control().space)) << "of a message";
  let_sleep(s_.control().space);
  EXPECT_EQ(take(wait, Duration::zero()), Status::empty);
  EXPECT_TRUE(is_armed(s_.control().space)) << "of nothing";
}

}  // namespace
}  // namespace ipcq::detail
