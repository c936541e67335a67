// What a forward says when its time is over, on the host. Who forwards on a GPU, the suite Forward tells.
#include <list>

#include "conformance/time_out.hpp"

namespace ipcq_test {
namespace {

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

}  // namespace
}  // namespace ipcq_test
