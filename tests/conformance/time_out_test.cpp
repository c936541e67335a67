// What a call says when its time is over: one that was given none looks once, does not sleep, and says `full` or
// `empty`; one that was given some says `timeout`, also where the time ends between two parts of the call.
#include <array>

#include "conformance/time_out.hpp"

namespace ipcq_test {
namespace {

IPCQ_INSTANTIATE_PER_BACKEND(TimeOut);

TEST_P(TimeOut, OfEveryPublishingCallWhereALineIsMissing) {
  create("q", {.slots = 4, .size = 100, .lines = 2});
  auto p = producer();
  for (std::uint64_t i = 0; i < 2; ++i) ASSERT_EQ(send(p, 1, i, kSmall), Status::ok);
  ASSERT_TRUE(all_processed());
  expect("send inline", Status::full, [&](Duration t) { return send(p, 1, 2, kSmall, t); });
  // It gets a slot, and then no line.
  expect("send", Status::full, [&](Duration t) { return send(p, 1, 2, kLarge, t); });
  auto loan = p.loan(0ns);
  ASSERT_TRUE(loan);
  expect("publish", Status::full, [&](Duration t) { return loan->publish(kLarge, t); });
  expect("send_many inline", Status::full, [&](Duration t) { return send_batch(p, {kSmall, kSmall}, t).status; });
  expect("send_many", Status::full, [&](Duration t) { return send_batch(p, {kLarge, kSmall}, t).status; });
}

TEST_P(TimeOut, OfEveryPublishingCallWhereASlotIsMissing) {
  create("q", {.slots = 1, .size = 100, .lines = 64});
  auto p = producer();
  auto c = consumer();
  auto loan = p.loan(0ns);
  ASSERT_TRUE(loan);
  expect("loan", Status::full, [&](Duration t) { return p.loan(t).status(); });
  expect("send", Status::full, [&](Duration t) { return send(p, 1, 2, kLarge, t); });
  // One message that needs no slot goes, the next does not.
  expect(
      "send_many", Status::full,
      [&](Duration t) {
        const BatchResult sent = send_batch(p, {kSmall, kLarge}, t);
        EXPECT_EQ(sent.count, 1u);
        return sent.status;
      },
      [&] { EXPECT_NE(next_sequence(c), -1); });
}

TEST_P(TimeOut, OfAPublishingCallThatIsRejected) {
  create("q", {.slots = 2, .size = 100, .lines = 2, .backpressure = Backpressure::reject});
  auto p = producer();
  auto loan = p.loan(0ns);
  ASSERT_TRUE(loan);
  for (std::uint64_t i = 0; i < 2; ++i) ASSERT_EQ(send(p, 1, i, kSmall), Status::ok);
  expect_full_always("send inline", [&](Duration t) { return send(p, 1, 2, kSmall, t); });
  expect_full_always("send", [&](Duration t) { return send(p, 1, 2, kLarge, t); });
  expect_full_always("publish", [&](Duration t) { return loan->publish(kLarge, t); });
  expect_full_always("send_many", [&](Duration t) { return send_batch(p, {kSmall}, t).status; });
  auto other = p.loan(0ns);
  ASSERT_TRUE(other);
  expect_full_always("loan", [&](Duration t) { return p.loan(t).status(); });
}

TEST_P(TimeOut, OfEveryReceivingCallWhereNothingIsThere) {
  create("q", {.slots = 1, .lines = 4});
  auto p = producer();
  auto c = consumer();
  std::vector<Message> batch(3);
  expect("receive", Status::empty, [&](Duration t) { return c.receive(t).status(); });
  expect("receive_many", Status::empty, [&](Duration t) { return c.receive_many(batch, t).status; });
  std::array<std::byte, 100> buffer{};
  expect("receive_into", Status::empty, [&](Duration t) { return c.receive_into(buffer, t).status(); });
  expect("consume", Status::empty, [&](Duration t) { return c.consume([](const MessageView&) {}, t).status; });
}

}  // namespace
}  // namespace ipcq_test
