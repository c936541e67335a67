// Workers of the host over a queue and a pool of the test's own.
#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>

#include "base/deadline.hpp"
#include "eventually.hpp"
#include "executor/host_executor.hpp"
#include "record_batch.hpp"
#include "unit/child.hpp"
#include "unit/segments.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::eventually;
using ipcq_test::RecordBatch;

constexpr std::uint32_t kProducer = 5;
constexpr std::uint32_t kConsumer = 6;

class HostExecutorTest : public testing::Test {
 protected:
  static QueueOptions options() {
    QueueOptions o = Segments::small();
    o.handler = "upper";
    return o;
  }
  void start(std::uint32_t threads = 1, Wait wait = Wait::hybrid()) {
    executor_ = make_host_executor(s_.queue(), s_.pool_map(), {.builtin = find_host_handler("upper")}, threads, wait);
  }
  void ring_work() { ring_always(s_.control().work); }
  std::uint64_t processed() { return s_.control().processed.load(std::memory_order_relaxed); }
  // Publishes it with these bytes, inline.
  std::uint64_t send(const std::string& text) {
    const PublishClaim c = s_.claim(kProducer);
    EXPECT_EQ(c.outcome, ClaimOutcome::ok);
    const auto length = static_cast<std::uint32_t>(text.size());
    InlineData data{};
    std::memcpy(data.bytes, text.data(), text.size());
    s_.ring().write(c.ticket, Segments::inline_message(c.ticket, length), data.bytes);
    ring_work();
    return c.ticket;
  }
  // Publishes it in a slot, which it fills in `slot`.
  std::uint64_t send(RecordBatch& batch, std::uint32_t& slot) {
    const SlotLoan loan = s_.borrow(kProducer);
    EXPECT_LE(batch.size(), s_.pool_map().config().slot_bytes);
    std::memcpy(s_.pool_map().payload(loan.slot), batch.data(), batch.size());
    const PublishClaim c = s_.claim(kProducer);
    s_.pool().mark_message(loan, kProducer, c.groups, c.ticket);
    Descriptor d = Segments::slot_message(loan, 1);
    d.flags |= kRecords;
    d.length = static_cast<std::uint32_t>(batch.size());
    s_.ring().write(c.ticket, d, nullptr);
    ring_work();
    slot = loan.slot;
    return c.ticket;
  }
  // What the executor has made of the batch. `flags`: of the line.
  RecordBatch process(RecordBatch batch, std::uint8_t& flags) {
    std::uint32_t slot = 0;
    InlineData data{};
    const Descriptor d = out(send(batch, slot), data);
    EXPECT_EQ(d.kind, LineKind::slot);
    EXPECT_EQ(d.slot, slot);
    EXPECT_EQ(d.length, batch.size());
    flags = d.flags;
    std::memcpy(batch.data(), s_.pool_map().payload(slot), batch.size());
    return batch;
  }
  std::uint64_t failed() { return s_.control().failed.load(std::memory_order_relaxed); }
  // What the executor wrote for the readers; once it has.
  Descriptor out(std::uint64_t ticket, InlineData& data) {
    Descriptor d;
    EXPECT_TRUE(eventually([&] { return s_.ring().read(ticket, d, data.bytes) == LineRead::present; }));
    return d;
  }

  Segments s_{options()};
  std::unique_ptr<Executor> executor_;
};

TEST_F(HostExecutorTest, WorksOnAnInlinePayload) {
  start(1, Wait::sleep());
  const std::uint64_t ticket = send("abc");
  InlineData data{};
  const Descriptor d = out(ticket, data);
  EXPECT_EQ(d.length, 3u);
  EXPECT_EQ(d.flags & kNotProcessed, 0);
  EXPECT_EQ(std::memcmp(data.bytes, "ABC", 3), 0);
}

TEST_F(HostExecutorTest, WorksInPlaceOnASlot) {
  const SlotLoan loan = s_.borrow(kProducer);
  std::memcpy(s_.pool_map().payload(loan.slot), "abcd", 4);
  const PublishClaim c = s_.claim(kProducer);
  s_.pool().mark_message(loan, kProducer, c.groups, c.ticket);
  Descriptor d = Segments::slot_message(loan, 1);
  d.length = 3;
  s_.ring().write(c.ticket, d, nullptr);
  start();  // what was published before is not missed
  InlineData data{};
  EXPECT_EQ(out(c.ticket, data).slot, loan.slot);
  EXPECT_EQ(std::memcmp(s_.pool_map().payload(loan.slot), "ABCd", 4), 0);
  EXPECT_EQ(processed(), 1u);
}

// A later version may leave room between the head and the payload.
TEST_F(HostExecutorTest, FindsAPayloadBehindTheUnitWhereItsOwnBegins) {
  const PublishClaim c = s_.claim(kProducer);
  ASSERT_EQ(c.outcome, ClaimOutcome::ok);
  InlineData before{};
  std::memcpy(before.bytes, "room for later..abc", 19);
  s_.ring().write(c.ticket, Segments::inline_message(c.ticket, 19), before.bytes);
  Descriptor head = Segments::inline_message(c.ticket, 3);
  head.data_unit = kInlineUnit + 1;
  auto& unit = *s_.ring().in(c.ticket);
  auto word = unit.load(std::memory_order_relaxed);
  word.lo = pack_kind(head);
  unit.store(word, std::memory_order_release);
  start();
  InlineData data{};
  const Descriptor d = out(c.ticket, data);
  EXPECT_EQ(d.length, 3u);
  EXPECT_EQ(std::memcmp(data.bytes, "ABC", 3), 0);
}

TEST_F(HostExecutorTest, SeveralWorkersDoEachMessageOnce) {
  start(3);
  for (std::uint64_t n = 0; n < 40; ++n) {
    const std::uint64_t ticket = send("abc");
    InlineData data{};
    (void)out(ticket, data);
    EXPECT_EQ(std::memcmp(data.bytes, "ABC", 3), 0);
    const std::uint32_t entry = s_.take(0, 1, kConsumer);
    ASSERT_NE(entry, kNone);
    ASSERT_TRUE(s_.release(0, 1, kConsumer, entry));
  }
  EXPECT_EQ(processed(), 40u);
  EXPECT_EQ(s_.control().taken.load(std::memory_order_relaxed), 40u);
}

TEST_F(HostExecutorTest, ALineThatMakesNoSenseIsPassedOverAndCounted) {
  const SlotLoan loan = s_.borrow(kProducer);
  Descriptor d = Segments::slot_message(loan, 1);  // which is not published: a loan still
  const PublishClaim first = s_.claim(kProducer);
  s_.ring().write(first.ticket, d, nullptr);
  d.slot = 99;
  const PublishClaim second = s_.claim(kProducer);
  s_.ring().write(second.ticket, d, nullptr);
  start();
  InlineData data{};
  EXPECT_EQ(out(first.ticket, data).kind, LineKind::tombstone);
  EXPECT_EQ(out(second.ticket, data).kind, LineKind::tombstone);
  EXPECT_EQ(s_.control().damaged.load(std::memory_order_relaxed), 2u);
  EXPECT_EQ(processed(), 0u);
}

TEST_F(HostExecutorTest, WhatTheHandlerRefusesIsMarkedAndPassedOn) {
  executor_ =
      make_host_executor(s_.queue(), s_.pool_map(), {.builtin = find_host_handler("vector_add")}, 1, Wait::hybrid());
  const std::uint64_t ticket = send("abc");
  InlineData data{};
  const Descriptor d = out(ticket, data);
  EXPECT_NE(d.flags & kNotProcessed, 0);
  EXPECT_EQ(std::memcmp(data.bytes, "abc", 3), 0);
  EXPECT_EQ(s_.control().failed.load(std::memory_order_relaxed), 1u);
}

TEST_F(HostExecutorTest, WorksOnEachRecordOfABatch) {
  start();
  std::uint8_t flags = 0;
  const RecordBatch b = process(RecordBatch({"abc", "", std::string(100, 'x')}), flags);
  EXPECT_EQ(flags, kPayloadReady | kRecords);
  EXPECT_EQ(b.text(0), "ABC");
  EXPECT_EQ(b.text(1), "");
  EXPECT_EQ(b.text(2), std::string(100, 'X'));
  EXPECT_EQ(b.head().refused, 0u);
  EXPECT_EQ(processed(), 1u);
  EXPECT_EQ(failed(), 0u);
}

TEST_F(HostExecutorTest, ABatchWithRecordsThatTheHandlerRefusesCountsOnce) {
  executor_ =
      make_host_executor(s_.queue(), s_.pool_map(), {.builtin = find_host_handler("vector_add")}, 1, Wait::hybrid());
  std::uint8_t flags = 0;
  const RecordBatch b = process(RecordBatch({"abc", std::string(8, '\0'), "abcd"}), flags);
  EXPECT_EQ(flags, kPayloadReady | kRecords) << "which tells of the whole message";
  EXPECT_TRUE(b.is_refused(0));
  EXPECT_FALSE(b.is_refused(1));
  EXPECT_TRUE(b.is_refused(2));
  EXPECT_EQ(b.text(0) + b.text(2), "abcabcd");
  EXPECT_EQ(b.head().refused, 1u);
  EXPECT_EQ(failed(), 1u);
}

TEST_F(HostExecutorTest, ABatchThatMakesNoSenseIsPassedOnAsItIs) {
  executor_ =
      make_host_executor(s_.queue(), s_.pool_map(), {.builtin = find_host_handler("vector_add")}, 1, Wait::hybrid());
  RecordBatch bad({"abc", "abcd"});
  bad.set_head({3, bad.head().index_at, 0, 0});
  std::uint8_t flags = 0;
  EXPECT_EQ(process(bad, flags).bytes(), bad.bytes());
  EXPECT_EQ(flags, kPayloadReady | kRecords);
  EXPECT_EQ(processed(), 1u);
  EXPECT_EQ(failed(), 0u);
}

TEST_F(HostExecutorTest, ABatchInALineMakesNoSense) {
  const PublishClaim c = s_.claim(kProducer);
  RecordBatch batch({"abc"});
  Descriptor d = Segments::inline_message(c.ticket, static_cast<std::uint32_t>(batch.size()));
  d.flags = kRecords;
  s_.ring().write(c.ticket, d, batch.data());
  start();
  InlineData data{};
  EXPECT_EQ(out(c.ticket, data).kind, LineKind::tombstone);
  EXPECT_EQ(s_.control().damaged.load(std::memory_order_relaxed), 1u);
}

TEST_F(HostExecutorTest, AnEmptyPlaceIsPassedOn) {
  start();
  const PublishClaim c = s_.claim(kProducer);
  Descriptor d;
  d.kind = LineKind::tombstone;
  s_.ring().write(c.ticket, d, nullptr);
  ring_work();
  InlineData data{};
  EXPECT_EQ(out(c.ticket, data).kind, LineKind::tombstone);
  EXPECT_EQ(processed(), 0u);
  EXPECT_EQ(s_.control().damaged.load(std::memory_order_relaxed), 0u);
}

TEST_F(HostExecutorTest, WakesReadersAndThoseWhoWaitForSpace) {
  arm(s_.control().ready[0], s_.control().ready[0].sequence.load(std::memory_order_relaxed));
  arm(s_.control().space, s_.control().space.sequence.load(std::memory_order_relaxed));
  start();
  (void)send("abc");
  EXPECT_TRUE(eventually([&] { return s_.control().ready[0].sequence.load(std::memory_order_relaxed) != 0; }));
  EXPECT_TRUE(eventually([&] { return s_.control().space.sequence.load(std::memory_order_relaxed) != 0; }));
}

TEST_F(HostExecutorTest, StopsWhileItSleepsAndMoreThanOnce) {
  for (const Wait wait : {Wait::sleep(), Wait::hybrid(), Wait::spin()}) {
    start(2, wait);
    executor_->stop();
    executor_->stop();
    executor_.reset();
  }
  const std::uint64_t ticket = send("abc");
  InlineData data{};
  Descriptor d;
  EXPECT_EQ(s_.ring().read(ticket, d, data.bytes), LineRead::absent);
}

TEST_F(HostExecutorTest, AForkedChildLeavesItsParentsWorkersAlone) {
  start();
  ipcq_test::Child child([&] { executor_.reset(); });
  EXPECT_EQ(child.exit_code(), 0);
  InlineData data{};
  (void)out(send("abc"), data);
  EXPECT_EQ(std::memcmp(data.bytes, "ABC", 3), 0);
}

std::atomic<bool> image_waits{false};  // the handler of an image does not return
std::atomic<int> image_calls{0};

void count_calls(const void*, HandlerMessage& m, char*, std::uint64_t) {
  ++image_calls;
  while (image_waits.load()) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  m.data[0] = std::byte{'1'};
}
void another(const void*, HandlerMessage& m, char*, std::uint64_t) { m.data[0] = std::byte{'2'}; }

class PausedExecutorTest : public HostExecutorTest, public testing::WithParamInterface<Wait::Kind> {
 protected:
  PausedExecutorTest() {
    image_calls = 0;
    const Wait wait = GetParam() == Wait::Kind::spin ? Wait::spin() : Wait::sleep();
    images_ = make_host_executor(s_.queue(), s_.pool_map(), {.image = count_calls}, 3, wait);
  }
  static std::uint64_t soon() { return deadline_after(std::chrono::milliseconds(50)); }
  static std::uint64_t in_time() { return deadline_after(std::chrono::seconds(60)); }
  std::unique_ptr<HostExecutor> images_;
};

INSTANTIATE_TEST_SUITE_P(Waits, PausedExecutorTest, testing::Values(Wait::Kind::spin, Wait::Kind::sleep));

TEST_P(PausedExecutorTest, NoMessageIsTakenBetweenPauseAndResume) {
  for (int n = 0; n < 3; ++n) {
    ASSERT_TRUE(images_->pause(in_time()));
    const int before = image_calls.load();
    send("a");
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    EXPECT_EQ(image_calls.load(), before);
    images_->resume();
    EXPECT_TRUE(eventually([&] { return image_calls.load() == before + 1; }));
    EXPECT_TRUE(eventually([&] { return processed() == static_cast<std::uint64_t>(before) + 1; }));
  }
}

TEST_P(PausedExecutorTest, AHandlerThatDoesNotReturnIsNotWaitedFor) {
  image_waits = true;
  send("a");
  ASSERT_TRUE(eventually([] { return image_calls.load() == 1; }));
  EXPECT_FALSE(images_->pause(soon()));
  image_waits = false;
  EXPECT_TRUE(eventually([&] { return processed() == 1; }));
  send("b");
  EXPECT_TRUE(eventually([&] { return processed() == 2; }));
  EXPECT_TRUE(images_->pause(in_time()));
}

TEST_P(PausedExecutorTest, AnotherHandlerGoesOn) {
  send("a");
  ASSERT_TRUE(eventually([&] { return processed() == 1; }));
  ASSERT_TRUE(images_->pause(in_time()));
  images_->set_call({.image = another});
  images_->resume();
  send("b");
  ASSERT_TRUE(eventually([&] { return processed() == 2; }));
  EXPECT_EQ(image_calls.load(), 1);
}

TEST_P(PausedExecutorTest, MayBeginPausedAndPauseAgainWhileItIs) {
  images_.reset();
  send("a");
  for (const bool built_in : {false, true}) {
    const HostCall call = built_in ? HostCall{.builtin = find_host_handler("upper")} : HostCall{.image = count_calls};
    const std::uint64_t before = processed();
    const auto e =
        make_host_executor(s_.queue(), s_.pool_map(), call, 2, Wait::sleep(), {.first = before, .paused = true});
    EXPECT_TRUE(e->pause(in_time()));
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    EXPECT_EQ(processed(), before);
    e->resume();
    EXPECT_TRUE(eventually([&] { return processed() == before + 1; }));
    EXPECT_TRUE(e->pause(in_time()));  // and ends so
    send("b");
  }
}

}  // namespace
}  // namespace ipcq::detail
