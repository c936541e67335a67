// Streams that capture graphs: what is for one message never becomes part of one, and nobody's capture is spoilt.
#include "cuda_clients/client_fixture.hpp"
#include "cuda_clients/driver_function.hpp"

namespace ipcq_test {
namespace {

void begin_capture(CUstream s) {
  static auto* const begin = driver_function<CUresult(CUstream, CUstreamCaptureMode)>("cuStreamBeginCapture");
  check_cuda(begin(s, CU_STREAM_CAPTURE_MODE_GLOBAL), "cuStreamBeginCapture", "test");
}
// False: something spoilt it.
bool end_capture(CUstream s) {
  static auto* const end = driver_function<CUresult(CUstream, CUgraph*)>("cuStreamEndCapture");
  CUgraph graph = nullptr;
  return end(s, &graph) == CUDA_SUCCESS;
}

class CudaClientCaptures : public CudaClient {};
INSTANTIATE_TEST_SUITE_P(, CudaClientCaptures, testing::Values(kKinds[3]), kind_name);

TEST_P(CudaClientCaptures, CallsOnAStreamThatCapturesAreRefused) {
  START_OR_SKIP(GetParam(), 2);
  auto p = producer();
  auto c = consumer();
  CUstream s = gpu_->stream();
  begin_capture(s);
  EXPECT_THROW((void)cuda::loan(p, s), UsageError);
  EXPECT_THROW((void)cuda::receive(c, s), UsageError);
  EXPECT_THROW((void)cuda::receive_ahead(c, s), UsageError);
  EXPECT_TRUE(end_capture(s));
  ASSERT_EQ(publish(p, s, 0), Status::ok);
  auto m = cuda::receive(c, s, kBound);
  ASSERT_TRUE(m) << to_string(m.status());
  EXPECT_TRUE(finish(s));
}

TEST_P(CudaClientCaptures, ALoanIsNotPublishedInACapture) {
  START_OR_SKIP(GetParam(), 2);
  auto p = producer();
  auto c = consumer();
  CUstream s = gpu_->stream();
  auto v = cuda::loan(p, s, kBound);
  ASSERT_TRUE(v) << to_string(v.status());
  gpu_->fill(s, v->device(), kBytes, 0);
  begin_capture(s);
  EXPECT_EQ(v->publish(kBytes, kBound), Status::closed);
  EXPECT_TRUE(end_capture(s));
  EXPECT_EQ(c.receive(Duration::zero()).status(), Status::empty);
  ASSERT_EQ(v->publish(kBytes, kBound), Status::ok);
  auto m = cuda::receive(c, s, kBound);
  ASSERT_TRUE(m) << to_string(m.status());
  gpu_->check(s, m->device(), m->length(), 0, GetParam().mask, findings_);
  expect_read(s, 1u);
}

// Nobody knows what the stream still does with them.
TEST_P(CudaClientCaptures, WhatEndsInACaptureIsKeptUntilTheClose) {
  START_OR_SKIP(GetParam(), 2);
  CUstream s = gpu_->stream();
  {
    auto p = producer();
    auto c = consumer();
    ASSERT_EQ(publish(p, s, 0), Status::ok);
    {
      auto m = cuda::receive(c, s, kBound);
      ASSERT_TRUE(m) << to_string(m.status());
      auto v = cuda::loan(p, s, kBound);
      ASSERT_TRUE(v) << to_string(v.status());
      ASSERT_TRUE(finish(s));
      begin_capture(s);
    }
    EXPECT_TRUE(end_capture(s));
    EXPECT_EQ(cuda::loan(p, s, kMoment).status(), Status::timeout) << "a slot came back";
  }
  auto again = consumer(false).receive(kBound);
  ASSERT_TRUE(again) << to_string(again.status());
  EXPECT_EQ(again->redeliveries(), 1u);
}

// The first use of an endpoint, a wait for a stream and a close ask the driver much.
TEST_P(CudaClientCaptures, TheCaptureOfAnotherThreadIsNotSpoilt) {
  START_OR_SKIP(GetParam(), 2);
  broker_->create("host", {.slots = 2, .size = kBytes, .backend = "host"});
  CUstream captures = gpu_->stream();
  CUstream s = gpu_->stream();
  std::uint32_t* const held_up = gate();
  begin_capture(captures);
  std::thread other([&] {
    check_cuda(driver().cuCtxSetCurrent(gpu_->context()), "cuCtxSetCurrent", "GPU 0");
    auto p = session_->producer("host", {.wait_for = kBound, .cuda = true});
    auto c = session_->consumer("host", {.wait_for = kBound, .cuda = true});
    wait_for(s, held_up);
    std::thread opener([&] {
      std::this_thread::sleep_for(kMoment);
      open(held_up);
    });
    EXPECT_EQ(publish(p, s, 0), Status::ok);
    EXPECT_TRUE(cuda::receive(c, s, kBound));
    opener.join();
    { auto dropped = cuda::loan(p, s, kBound); }
  });
  other.join();
  EXPECT_TRUE(end_capture(captures));
}

}  // namespace
}  // namespace ipcq_test
