// Payloads that a GPU or an executor may still write. No GPU is needed: the test writes the words that both would.
#include "client/early_payload.hpp"

#include <gtest/gtest.h>

#include <string>

#include "ipcq/builtin_handlers.hpp"
#include "repair/membership.hpp"
#include "unit/device_segments.hpp"

namespace ipcq::detail {
namespace {

constexpr std::uint32_t kFrom = 5;
constexpr std::uint32_t kTo = 6;

class EarlyPayloadTest : public testing::Test {
 protected:
  static QueueOptions with_handler(const std::string& handler) {
    QueueOptions o = Segments::small();
    o.handler = handler;
    return o;
  }
  EarlyPayload payload(Descriptor& d, std::uint64_t ticket = 0) { return payload(s_, d, ticket); }
  static EarlyPayload payload(DeviceSegments& s, Descriptor& d, std::uint64_t ticket = 0) {
    return {s.queue(), s.pool_map(), ticket, d};
  }
  // The descriptor of a message that a member has taken before the executor was done with it.
  Descriptor take_early() {
    const std::uint32_t entry = s_.take_early(0, 0, kTo);
    EXPECT_NE(entry, kNone);
    const Descriptor d = entry == kNone ? Descriptor{} : s_.held(entry).descriptor.load();
    EXPECT_NE(d.flags & kBeforeExecutor, 0);
    return d;
  }
  SlotLoan send(std::uint64_t sequence, std::uint32_t length = 8, std::uint8_t flags = 0) {
    const SlotLoan loan = s_.borrow(kFrom);
    const std::uint64_t ticket = s_.mark(loan, kFrom);
    Descriptor d = Segments::slot_message(loan, sequence);
    d.length = length;
    d.flags = static_cast<std::uint8_t>(d.flags | flags);
    s_.ring().write(ticket, d, nullptr);
    return loan;
  }
  // Has the ring go round, so that the line of ticket 0 has another message.
  void reuse_line() {
    for (std::uint64_t t = 1; t <= 4; ++t) {
      ASSERT_EQ(s_.send(kFrom, t), t);
      s_.process(t);
      if (t == 4) break;
      ASSERT_NE(s_.take(0, 1, kTo + 1), kNone);
    }
    ASSERT_FALSE(s_.ring().readable(0));
  }
  // Of the message of ticket 0, which was sent and is taken early, processed and lapped.
  std::uint8_t flags_once_the_line_is_reused() {
    Descriptor d = take_early();
    s_.process(0);
    reuse_line();
    EarlyPayload p = payload(d);
    EXPECT_TRUE(p.is_complete());
    EXPECT_TRUE(p.read_outcome());
    return d.flags;
  }

  DeviceSegments s_{QueueMap::Executed::by_device, with_handler("vector_add")};
};

class DirectEarlyPayload : public EarlyPayloadTest {
 protected:
  DeviceSegments direct_{QueueMap::Executed::none};
};

TEST_F(DirectEarlyPayload, IsCompleteOnceItsStreamHasWrittenIt) {
  const SlotLoan loan = direct_.send_late(kFrom, 1);
  Descriptor d = Segments::slot_message(loan, 1);
  d.flags = 0;
  EarlyPayload p = payload(direct_, d);
  EXPECT_FALSE(p.is_complete());
  direct_.write(loan);
  EXPECT_TRUE(p.is_complete());
  EXPECT_TRUE(p.read_outcome());
  EXPECT_EQ(d.flags, 0);
}

TEST_F(DirectEarlyPayload, IsCompleteAtOnceIfItWasBeforeItsLine) {
  Descriptor d = Segments::slot_message(direct_.send_slot(kFrom, 1), 1);
  EarlyPayload p = payload(direct_, d);
  EXPECT_TRUE(p.is_complete());
  EXPECT_TRUE(p.read_outcome());
}

TEST_F(DirectEarlyPayload, WhoseWriterIsGoneIsOverAndNotReadable) {
  const SlotLoan loan = direct_.send_late(kFrom, 1);
  Descriptor d = Segments::slot_message(loan, 1);
  d.flags = 0;
  EarlyPayload p = payload(direct_, d);
  ASSERT_TRUE(bury_payload(direct_.pool_map(), loan.slot, loan.lease));
  EXPECT_TRUE(p.is_complete());
  EXPECT_FALSE(p.read_outcome());
}

TEST_F(EarlyPayloadTest, IsCompleteOnceTheExecutorHasWrittenItsLine) {
  const SlotLoan loan = send(0);
  s_.write(loan);
  Descriptor d = take_early();
  EarlyPayload p = payload(d);
  EXPECT_FALSE(p.is_complete()) << "the executor may still write it";
  s_.process(0);
  EXPECT_TRUE(p.is_complete());
  EXPECT_TRUE(p.read_outcome());
  EXPECT_EQ(d.flags, kPayloadReady | kInMirror) << "as in the line of the executor";
  EXPECT_EQ(d.slot, loan.slot);
}

TEST_F(EarlyPayloadTest, FlagsAreThoseOfTheExecutor) {
  (void)send(0);
  Descriptor d = take_early();
  EarlyPayload p = payload(d);
  Descriptor refused = d;
  refused.flags = kPayloadReady | kNotProcessed;
  s_.ring().write_out(0, refused, nullptr);
  ASSERT_TRUE(p.is_complete());
  EXPECT_TRUE(p.read_outcome());
  EXPECT_EQ(d.flags, kPayloadReady | kNotProcessed);
}

TEST_F(EarlyPayloadTest, ATombstoneOfTheExecutorOrATombOfThePayloadMeansNeverComplete) {
  (void)send(0);
  Descriptor d = take_early();
  EarlyPayload first = payload(d);
  s_.process(0, true);
  ASSERT_TRUE(first.is_complete());
  EXPECT_FALSE(first.read_outcome());
  const SlotLoan loan = send(1);
  Descriptor buried = take_early();
  EarlyPayload second = payload(buried, 1);
  s_.pool_map().tomb(loan.slot).store(loan.lease, std::memory_order_release);
  EXPECT_FALSE(second.is_complete()) << "the executor is not done";
  s_.process(1);
  ASSERT_TRUE(second.is_complete());
  EXPECT_FALSE(second.read_outcome());
}

TEST_F(EarlyPayloadTest, IsCompleteAlsoOnceTheLineIsReused) {
  (void)send(0);
  EXPECT_EQ(flags_once_the_line_is_reused(), kPayloadReady | kInMirror);
}

TEST_F(EarlyPayloadTest, OfAReusedLineTheLengthSaysWhetherTheHandlerRefused) {
  ASSERT_FALSE(handler_accepts("vector_add", 7));
  (void)send(0, 7);
  EXPECT_EQ(flags_once_the_line_is_reused(), kPayloadReady | kInMirror | kNotProcessed);
}

TEST_F(EarlyPayloadTest, OfAReusedLineARecordBatchStaysOne) {
  (void)send(0, 7, kRecords);
  EXPECT_EQ(flags_once_the_line_is_reused(), kPayloadReady | kInMirror | kRecords);
}

}  // namespace
}  // namespace ipcq::detail
