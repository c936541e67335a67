// A host executor whose process dies: what is left for the next one.
#include "executor/interrupted.hpp"

#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>

#include "base/crash_point.hpp"
#include "eventually.hpp"
#include "executor/host_executor.hpp"
#include "unit/child.hpp"
#include "unit/segments.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::Child;
using ipcq_test::eventually;

constexpr std::uint32_t kWriter = 5;
constexpr std::uint32_t kReader = 6;

const char* fatal_step = "";
void die_there(const char* name) {
  if (std::strcmp(name, fatal_step) == 0) ::kill(::getpid(), SIGKILL);
}

// Kills its process in the middle of a payload that begins with 'x'; else makes each byte a '.'.
void fragile(const void*, HandlerMessage& m, char*, std::uint64_t) {
  const bool fatal = m.length != 0 && m.data[0] == std::byte{'x'};
  for (std::uint64_t i = 0; i < m.length; ++i) {
    if (fatal && i == m.length / 2) ::kill(::getpid(), SIGKILL);
    m.data[i] = std::byte{'.'};
  }
}

void throwing(const void*, HandlerMessage& m, char* why, std::uint64_t why_bytes) {
  std::strncpy(why, "no reason", why_bytes - 1);
  m.outcome = kThrewOutcome;
}

class InterruptedTest : public testing::Test {
 protected:
  static QueueOptions options() {
    QueueOptions o = Segments::small();
    o.handler = "fragile.cu";
    o.lines = 8;
    return o;
  }
  std::uint64_t send(const std::string& text) {
    const PublishClaim c = s_.claim(kWriter);
    EXPECT_EQ(c.outcome, ClaimOutcome::ok);
    InlineData data{};
    std::memcpy(data.bytes, text.data(), text.size());
    s_.ring().write(c.ticket, Segments::inline_message(c.ticket, static_cast<std::uint32_t>(text.size())), data.bytes);
    return c.ticket;
  }
  std::uint64_t send_in_slot(const std::string& text) {
    const SlotLoan loan = s_.borrow(kWriter);
    std::memcpy(s_.pool_map().payload(loan.slot), text.data(), text.size());
    const PublishClaim c = s_.claim(kWriter);
    s_.pool().mark_message(loan, kWriter, c.groups, c.ticket);
    Descriptor d = Segments::slot_message(loan, c.ticket);
    d.length = static_cast<std::uint32_t>(text.size());
    s_.ring().write(c.ticket, d, nullptr);
    return c.ticket;
  }
  std::unique_ptr<Executor> executor(std::uint64_t first, std::uint32_t threads = 1) {
    return make_host_executor(s_.queue(), s_.pool_map(), {.image = fragile}, threads, Wait::hybrid(), {.first = first});
  }
  // A process works on the queue until it dies at this step of the protocol, or of its handler.
  void work_and_die(const char* step = "", std::uint64_t first = 0) {
    Child child([&] {
      fatal_step = step;
      set_crash_point_hook(die_there);
      const auto working = executor(first);
      ::pause();
    });
    EXPECT_EQ(WTERMSIG(child.reap()), SIGKILL);
  }
  // What readers find; absent: not passed on yet.
  LineRead out(std::uint64_t ticket, Descriptor& d, std::string& text) {
    InlineData data{};
    const LineRead read = s_.ring().read(ticket, d, data.bytes);
    if (read == LineRead::present && d.kind != LineKind::tombstone) {
      const std::byte* const from = d.kind == LineKind::slot ? s_.pool_map().payload(d.slot) : data.bytes;
      text.assign(reinterpret_cast<const char*>(from), d.length);
    }
    return read;
  }
  void expect_failed(std::uint64_t ticket, const std::string& with) {
    Descriptor d;
    std::string text;
    ASSERT_EQ(out(ticket, d, text), LineRead::present) << ticket;
    EXPECT_EQ(d.flags & (kNotProcessed | kHandlerFailed), kNotProcessed | kHandlerFailed) << ticket;
    EXPECT_EQ(text, with);
  }
  void expect_processed(std::uint64_t ticket, const std::string& as) {
    Descriptor d;
    std::string text;
    ASSERT_TRUE(eventually([&] { return out(ticket, d, text) == LineRead::present; })) << ticket;
    EXPECT_EQ(d.flags & (kNotProcessed | kHandlerFailed), 0) << ticket;
    EXPECT_EQ(text, as);
  }
  Interrupted finish() { return finish_interrupted(s_.queue(), s_.pool_map()); }
  std::uint64_t taken() { return s_.control().taken.load(std::memory_order_relaxed); }
  void say_taken(std::uint64_t ticket) { s_.control().taken.store(ticket, std::memory_order_relaxed); }

  Segments s_{options()};
};

TEST_F(InterruptedTest, ANewQueueHasNothing) {
  const Interrupted before = finish();
  EXPECT_EQ(before.next, 0u);
  EXPECT_EQ(before.failed, 0u);
  (void)send("abc");
  EXPECT_EQ(finish().next, 0u) << "published, and not taken";
  Descriptor d;
  std::string text;
  EXPECT_EQ(out(0, d, text), LineRead::absent);
}

TEST_F(InterruptedTest, WhatTheHandlerDiedOnFailsAndTheRestIsDone) {
  (void)send("abc");
  (void)send("xyzw");
  (void)send("def");
  work_and_die();
  const Interrupted left = finish();
  EXPECT_EQ(left.next, 2u);
  EXPECT_EQ(left.failed, 1u);
  expect_processed(0, "...");
  expect_failed(1, "xyzw");  // the bytes of a line are copied before they are changed
  Descriptor d;
  std::string text;
  EXPECT_EQ(out(2, d, text), LineRead::absent);
  const auto next = executor(left.next);
  expect_processed(2, "...");
  EXPECT_EQ(s_.control().failed.load(std::memory_order_relaxed), 1u);
}

TEST_F(InterruptedTest, ASlotMayBeChangedInPart) {
  (void)send_in_slot("xyzw");
  work_and_die();
  EXPECT_EQ(finish().failed, 1u);
  expect_failed(0, "..zw");
}

TEST_F(InterruptedTest, ADeathBeforeTheLineIsPassedOnFailsItToo) {
  (void)send("abc");
  work_and_die("execute.handled");
  EXPECT_EQ(finish().failed, 1u);
  expect_failed(0, "abc");
}

TEST_F(InterruptedTest, ADeathWhileThatIsPutInOrderLeavesTheSameTask) {
  (void)send("abc");
  work_and_die("execute.handled");
  Child child([&] {
    fatal_step = "interrupted.read";
    set_crash_point_hook(die_there);
    (void)finish();
  });
  EXPECT_EQ(WTERMSIG(child.reap()), SIGKILL);
  const Interrupted left = finish();
  EXPECT_EQ(left.next, 1u);
  EXPECT_EQ(left.failed, 1u);
  expect_failed(0, "abc");
  EXPECT_EQ(finish().failed, 0u) << "nothing is left";
}

TEST_F(InterruptedTest, SeveralWorkersMayLeaveGaps) {
  for (int n = 0; n < 4; ++n) (void)send("abc");
  say_taken(4);
  Descriptor done = Segments::inline_message(1, 3);
  InlineData data{};
  std::memcpy(data.bytes, "...", 3);
  s_.ring().write_out(1, done, data.bytes);
  const Interrupted left = finish();
  EXPECT_EQ(left.next, 4u);
  EXPECT_EQ(left.failed, 3u);
  expect_failed(0, "abc");
  expect_processed(1, "...");
  expect_failed(3, "abc");
}

// Any client can overwrite the word.
TEST_F(InterruptedTest, AWordThatIsTooLowIsNotBelieved) {
  (void)send("abc");
  (void)send("abc");
  {
    const auto working = executor(0);
    expect_processed(1, "...");
  }
  say_taken(0);
  EXPECT_EQ(finish().next, 2u);
  EXPECT_EQ(taken(), 2u);
}

TEST_F(InterruptedTest, AWordThatIsTooHighEndsWhereNothingIsPublished) {
  (void)send("abc");
  const PublishClaim claimed = s_.claim(kWriter);
  say_taken(~std::uint64_t{0});
  const Interrupted left = finish();
  EXPECT_EQ(left.next, claimed.ticket);
  EXPECT_EQ(left.failed, 1u);
  const auto working = executor(left.next);
  InlineData data{};
  std::memcpy(data.bytes, "abc", 3);
  s_.ring().write(claimed.ticket, Segments::inline_message(claimed.ticket, 3), data.bytes);
  ring_always(s_.control().work);
  expect_processed(claimed.ticket, "...");
}

TEST_F(InterruptedTest, ManyLapsLater) {
  {
    const auto working = executor(0);
    for (std::uint64_t n = 0; n < 20; ++n) {
      const std::uint64_t ticket = send("abc");
      ring_always(s_.control().work);
      expect_processed(ticket, "...");
      const std::uint32_t entry = s_.take(0, 1, kReader);
      ASSERT_NE(entry, kNone);
      ASSERT_TRUE(s_.release(0, 1, kReader, entry));
    }
  }
  (void)send("xyz");
  work_and_die("", 20);
  const Interrupted left = finish();
  EXPECT_EQ(left.next, 21u);
  EXPECT_EQ(left.failed, 1u);
  expect_failed(20, "xyz");
}

TEST_F(InterruptedTest, WhatDoesNotMakeSenseIsPassedOver) {
  const SlotLoan loan = s_.borrow(kWriter);  // and not published: a loan still
  const PublishClaim c = s_.claim(kWriter);
  s_.ring().write(c.ticket, Segments::slot_message(loan, 0), nullptr);
  say_taken(1);
  EXPECT_EQ(finish().failed, 0u);
  Descriptor d;
  std::string text;
  ASSERT_EQ(out(0, d, text), LineRead::present);
  EXPECT_EQ(d.kind, LineKind::tombstone);
  EXPECT_EQ(s_.control().damaged.load(std::memory_order_relaxed), 1u);
}

TEST_F(InterruptedTest, SleepersLearnOfIt) {
  (void)send("abc");
  say_taken(1);
  arm(s_.control().ready[0], s_.control().ready[0].sequence.load(std::memory_order_relaxed));
  (void)finish();
  EXPECT_NE(s_.control().ready[0].sequence.load(std::memory_order_relaxed), 0u);
}

TEST_F(InterruptedTest, WhatAHandlerThrowsIsToldAndMarked) {
  std::atomic<int> told{0};
  const auto working = make_host_executor(
      s_.queue(), s_.pool_map(),
      {.image = throwing, .on_throw = [&](const char* why) { told += std::string(why) == "no reason"; }}, 1,
      Wait::hybrid());
  const std::uint64_t ticket = send("abc");
  ring_always(s_.control().work);
  Descriptor d;
  std::string text;
  ASSERT_TRUE(eventually([&] { return out(ticket, d, text) == LineRead::present; }));
  expect_failed(ticket, "abc");
  EXPECT_EQ(told.load(), 1);
}

}  // namespace
}  // namespace ipcq::detail
