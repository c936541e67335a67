// What a call says when its time is over: one that was given none looks once, does not sleep, and says `full` or
// `empty`; one that was given some says `timeout`, also where the time ends between two parts of the call.
#include <sys/resource.h>

#include <functional>
#include <list>

#include "conformance/backend.hpp"

namespace ipcq_test {
namespace {

struct Given {
  const char* name;
  Duration time;
  bool any;  // whether that is time
};
constexpr Given kGiven[] = {{"zero", 0ns, false},
                            {"negative", -1ns, false},
                            {"the least", Duration::min(), false},
                            {"one nanosecond", 1ns, true},  // over before anything has been tried
                            {"a moment", kMoment, true}};

long sleeps_of_this_thread() {
  rusage usage{};
  getrusage(RUSAGE_THREAD, &usage);
  return usage.ru_nvcsw;
}

class TimeOut : public BackendTest {
 protected:
  using Call = std::function<Status(Duration)>;
  // `at_once`: what a call without time comes to. `after` undoes what a call did, and may sleep.
  static void expect(
      const char* call_name, Status at_once, const Call& call, const std::function<void()>& after = [] {}) {
    for (const Given& given : kGiven) {
      SCOPED_TRACE(std::string(call_name) + ", given " + given.name);
      EXPECT_EQ(call(given.time), given.any ? Status::timeout : at_once);
      after();
      if (given.any) continue;
      // Swapping, or another program's interrupt, may put the thread aside now and then; the call does not.
      bool slept = true;
      for (int tries = 0; tries < 5 && slept; ++tries) {
        const long before = sleeps_of_this_thread();
        (void)call(given.time);
        slept = sleeps_of_this_thread() != before;
        after();
      }
      EXPECT_FALSE(slept);
    }
  }
  // With the backpressure to reject no call waits, whatever time it has.
  static void expect_full_always(const char* call_name, const Call& call) {
    for (const Given& given : kGiven) {
      EXPECT_EQ(call(given.time), Status::full) << call_name << ", given " << given.name;
    }
  }
  static BatchResult send_batch(Producer& p, std::initializer_list<std::size_t> sizes, Duration time) {
    std::vector<std::vector<std::byte>> bytes;
    for (const std::size_t size : sizes) bytes.push_back(stamped(1, 9, size));
    const std::vector<std::span<const std::byte>> batch(bytes.begin(), bytes.end());
    return p.send_many(batch, time);
  }
};
IPCQ_INSTANTIATE_PER_BACKEND(TimeOut);

constexpr std::size_t kSmall = 30;
constexpr std::size_t kLarge = 90;

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
}

#if !defined(IPCQ_TEST_CUDA)  // who forwards there, the suite Forward tells

class ForwardTimeOut : public TimeOut {
 protected:
  void SetUp() override {
    create_pool("pool", {.slots = 2, .size = 100});
    create_as_is("in", {.pool = "pool", .lines = 8, .groups = {{"default"}, {"tap"}}});
  }
  void TearDown() override {
    consumers_.clear();
    auto tap = consumer("in", "tap");
    while (tap.receive(0ns)) {
    }
    tap.close();
    BackendTest::TearDown();
  }
  // Holds the next message of `in`.
  Message message(std::size_t bytes) {
    auto p = producer("in");
    EXPECT_EQ(send(p, 1, 7, bytes), Status::ok);
    auto c = consumers_.emplace_back(consumer("in")).receive(kBound);
    EXPECT_TRUE(c);
    return c ? std::move(*c) : Message();
  }
  std::list<Consumer> consumers_;
};
IPCQ_INSTANTIATE_PER_BACKEND(ForwardTimeOut);

TEST_P(ForwardTimeOut, WhereALineIsMissing) {
  for (const Backpressure backpressure : {Backpressure::block, Backpressure::reject}) {
    const std::string out = "out-" + std::to_string(static_cast<int>(backpressure));
    create_as_is(out, {.pool = "pool", .lines = 2, .backpressure = backpressure});
    auto next = producer(out);
    for (std::uint64_t i = 0; i < 2; ++i) ASSERT_EQ(send(next, 1, i, kSmall), Status::ok);
    for (const std::size_t bytes : {kSmall, kLarge}) {
      auto m = message(bytes);
      const auto forward = [&](Duration t) { return next.forward(m, t); };
      if (backpressure == Backpressure::reject) {
        expect_full_always("forward", forward);
      } else {
        expect("forward", Status::full, forward);
      }
      EXPECT_EQ(m.release(), Status::ok);  // it is still held
    }
  }
}

TEST_P(ForwardTimeOut, WhereASlotForACopyIsMissing) {
  create_as_is("out", {.pool = "pool", .lines = 8, .handler = "invert"});
  auto next = producer("out");
  auto m = message(kLarge);  // the tap still reads it: it has to be copied
  auto p = producer("in");
  auto loan = p.loan(0ns);
  ASSERT_TRUE(loan);
  expect("forward", Status::full, [&](Duration t) { return next.forward(m, t); });
  EXPECT_EQ(m.release(), Status::ok);
}

TEST_P(ForwardTimeOut, WhereALineForACopyIsMissing) {
  create_as_is("out", {.pool = "pool", .lines = 2, .handler = "invert"});
  auto next = producer("out");
  for (std::uint64_t i = 0; i < 2; ++i) ASSERT_EQ(send(next, 1, i, kSmall), Status::ok);
  ASSERT_TRUE(all_processed("out"));
  auto m = message(kLarge);
  expect("forward", Status::full, [&](Duration t) { return next.forward(m, t); });
  EXPECT_EQ(m.release(), Status::ok);
}

#endif

}  // namespace
}  // namespace ipcq_test
