// What each call of ipcq::cuda that takes a time-out says when its time is over, as the calls of the host: without time
// it looks once and says `full` or `empty`; with time it says `timeout`; one that waits for ever is ended by an
// interrupt and by the end of the broker.
#include <array>
#include <functional>
#include <optional>
#include <vector>

#include "cuda_clients/client_fixture.hpp"
#include "time_outs.hpp"

namespace ipcq_test {
namespace {

class CudaClientTimeOuts : public CudaClient {
 protected:
  using Call = std::function<Status(Duration)>;

  // A queue "tight" beside "q", with two lines and two slots, of the test's kind unless it is in host memory.
  void create_tight(QueueOptions options = {}) {
    options.slots = 2;
    options.size = kBytes;
    options.lines = 2;
    if (options.backend != "host") {
      options.backend = "cuda";
      options.handler = GetParam().handler;
      options.mirror = GetParam().mirror;
    }
    broker_->create("tight", options);
  }
  Producer tight_producer() { return session_->producer("tight", {.wait_for = kBound, .cuda = true}); }
  Consumer tight_consumer() { return session_->consumer("tight", {.wait_for = kBound, .cuda = true}); }
  // Not always two messages: a line may hold the broker's request to switch executors.
  static void fill_lines(Producer& p) {
    Status said = Status::ok;
    while (said == Status::ok) said = p.send("x", 1, kMoment);
    ASSERT_THAT(said, testing::AnyOf(Status::timeout, Status::full));
  }

  // `at_once`: the status of a call without time. `after` undoes what a call has done.
  void expect(
      const char* call_name, Status at_once, const Call& call, const std::function<void()>& after = [] {}) {
    expect_time_outs(*session_, at_once, {call_name, call, after});
  }
  // Expects that the end of the broker ends the call, and that the call says so from then on.
  void expect_ended_by_the_broker(const char* call_name, const Call& call) {
    const auto over = testing::AnyOf(Status::closed, Status::peer_dead);
    expect_ended_by(
        {call_name, call}, [this] { broker_->stop(); }, over);
    SCOPED_TRACE("the broker has stopped");
    expect_at_once({call_name, call}, over);
  }
  void expect_of_publish(cuda::Loan& loan) {
    const auto publish = [&](Duration t) { return loan.publish(kBytes, t); };
    expect("publish", Status::full, publish);
    expect_ended_by_the_broker("publish", publish);
  }
};
INSTANTIATE_TEST_SUITE_P(, CudaClientTimeOuts, testing::Values(kKinds[0], kKinds[3]), kind_name);

TEST_P(CudaClientTimeOuts, OfALoanWhereASlotIsMissing) {
  START_OR_SKIP(GetParam(), 1);
  auto p = producer();
  CUstream out = gpu_->stream();
  auto v = cuda::loan(p, out, Duration::zero());
  ASSERT_TRUE(v) << to_string(v.status());
  const auto loan = [&](Duration t) { return cuda::loan(p, out, t).status(); };
  expect("loan", Status::full, loan);
  expect_ended_by_the_broker("loan", loan);
}

// The first call announces the payload and gets no line. Later ones repeat it, and ask whether the stream is idle.
TEST_P(CudaClientTimeOuts, OfPublishingWhereALineIsMissing) {
  START_OR_SKIP(GetParam(), 1);
  create_tight();
  auto p = tight_producer();
  fill_lines(p);
  CUstream out = gpu_->stream();
  auto v = cuda::loan(p, out, kBound);
  ASSERT_TRUE(v) << to_string(v.status());
  expect_of_publish(*v);
}

TEST_P(CudaClientTimeOuts, OfRepeatingAPublishWhoseStreamIsBusy) {
  START_OR_SKIP(GetParam(), 1);
  create_tight();
  auto p = tight_producer();
  auto c = tight_consumer();
  fill_lines(p);
  CUstream out = gpu_->stream();
  std::uint32_t* const held_up = gate();
  auto v = cuda::loan(p, out, kBound);
  ASSERT_TRUE(v) << to_string(v.status());
  ASSERT_EQ(v->publish(kBytes, kShortTime), Status::timeout);
  while (c.receive(kMoment)) {
  }
  wait_for(out, held_up);  // the only thing that is missing now
  expect_of_publish(*v);
  open(held_up);
}

TEST_P(CudaClientTimeOuts, OfPublishingIntoHostMemoryWhereALineIsMissing) {
  START_OR_SKIP(GetParam(), 1);
  create_tight({.backend = "host"});
  auto p = tight_producer();
  fill_lines(p);
  CUstream out = gpu_->stream();
  auto v = cuda::loan(p, out, kBound);
  ASSERT_TRUE(v) << to_string(v.status());
  expect_of_publish(*v);
}

TEST_P(CudaClientTimeOuts, OfPublishingIntoHostMemoryWhileTheStreamIsBusy) {
  START_OR_SKIP(GetParam(), 1);
  create_tight({.backend = "host"});
  auto p = tight_producer();
  CUstream out = gpu_->stream();
  std::uint32_t* const held_up = gate();
  auto v = cuda::loan(p, out, kBound);
  ASSERT_TRUE(v) << to_string(v.status());
  wait_for(out, held_up);
  expect_of_publish(*v);
  open(held_up);
}

TEST_P(CudaClientTimeOuts, OfAPublishingCallThatIsRejected) {
  START_OR_SKIP(GetParam(), 1);
  create_tight({.backpressure = Backpressure::reject});
  auto p = tight_producer();
  fill_lines(p);
  CUstream out = gpu_->stream();
  auto v = cuda::loan(p, out, kBound);
  auto other = cuda::loan(p, out, kBound);
  ASSERT_TRUE(v && other);
  ASSERT_EQ(v->publish(kBytes, kForever), Status::full);
  ASSERT_TRUE(finish(out));  // each further publish asks for that
  expect_at_once({"publish", [&](Duration t) { return v->publish(kBytes, t); }}, Status::full);
  expect_at_once({"loan", [&](Duration t) { return cuda::loan(p, out, t).status(); }}, Status::full);
}

TEST_P(CudaClientTimeOuts, OfAReceiveWhereNothingIsThere) {
  START_OR_SKIP(GetParam(), 1);
  auto p = producer();
  auto c = consumer();
  CUstream in = gpu_->stream();
  const auto receive = [&](Duration t) { return cuda::receive(c, in, t).status(); };
  expect("receive", Status::empty, receive);
  expect_ended_by_the_broker("receive", receive);
}

// Messages are taken in the order of the calls, so a receive waits for those ahead of it.
TEST_P(CudaClientTimeOuts, OfEveryReceivingCallBehindAReceiveAhead) {
  START_OR_SKIP(GetParam(), 1);
  auto p = producer();
  auto c = consumer();
  CUstream in = gpu_->stream();
  CUstream ahead_on = gpu_->stream();
  std::optional<cuda::Message> ahead;
  const auto look_ahead = [&] {  // an interrupt resolves it
    if (ahead && !ahead->resolved()) return;
    auto m = cuda::receive_ahead(c, ahead_on);
    ASSERT_TRUE(m) << to_string(m.status());
    ahead.emplace(std::move(*m));
  };
  const auto expect_behind = [&](const char* call_name, const Call& call) {
    look_ahead();
    expect(call_name, Status::empty, call, look_ahead);
    EXPECT_FALSE(ahead->resolved()) << call_name;
  };
  std::vector<Message> batch(3);
  std::array<std::byte, 100> buffer{};
  const auto receive = [&](Duration t) { return cuda::receive(c, in, t).status(); };
  expect_behind("cuda::receive", receive);
  expect_behind("receive", [&](Duration t) { return c.receive(t).status(); });
  expect_behind("receive_many", [&](Duration t) { return c.receive_many(batch, t).status; });
  expect_behind("receive_into", [&](Duration t) { return c.receive_into(buffer, t).status(); });
  expect_behind("consume", [&](Duration t) { return c.consume([](const MessageView&) {}, t).status; });
  expect_ended_by_the_broker("cuda::receive", receive);
}

// A consumer that holds all it may: room comes when the stream has passed the message that has ended.
TEST_P(CudaClientTimeOuts, OfAReceiveThatWaitsForAStreamToRelease) {
  START_OR_SKIP(GetParam(), 1);
  create_tight({.held = 1});
  auto p = tight_producer();
  auto c = tight_consumer();
  fill_lines(p);
  CUstream in = gpu_->stream();
  CUstream busy = gpu_->stream();
  std::uint32_t* const held_up = gate();
  {
    auto m = cuda::receive(c, busy, kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    wait_for(busy, held_up);
  }
  const auto receive = [&](Duration t) { return cuda::receive(c, in, t).status(); };
  expect("receive", Status::full, receive);
  expect_ended_by_the_broker("receive", receive);
  open(held_up);
}

// Nothing but the caller can make room.
TEST_P(CudaClientTimeOuts, OfAReceiveWhereTheCallerHoldsAllItMay) {
  START_OR_SKIP(GetParam(), 1);
  create_tight({.held = 1});
  auto p = tight_producer();
  auto c = tight_consumer();
  fill_lines(p);
  CUstream in = gpu_->stream();
  auto m = cuda::receive(c, in, kBound);
  ASSERT_TRUE(m) << to_string(m.status());
  const WaitingCall receive{"receive", [&](Duration t) { return cuda::receive(c, in, t).status(); }};
  expect_at_once(receive, Status::full);
  broker_->stop();
  expect_at_once(receive, testing::AnyOf(Status::closed, Status::peer_dead));
}

}  // namespace
}  // namespace ipcq_test
