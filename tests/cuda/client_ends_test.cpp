// What streams wait for never keeps them for ever: ends, closes and deaths, as clients with a GPU see them.
#include "cuda/client_fixture.hpp"

namespace ipcq_test {
namespace {

class CudaClientEnds : public CudaClient {};
INSTANTIATE_TEST_SUITE_P(, CudaClientEnds, testing::ValuesIn(kKinds), kind_name);

TEST_P(CudaClientEnds, TheEndOfTheStreamEndsWaits) {
  START_OR_SKIP(GetParam(), 2);
  auto c = consumer();
  CUstream in = gpu_->stream();
  for (unsigned n = 0; n < 2; ++n) {
    auto m = cuda::receive_ahead(c, in);
    ASSERT_TRUE(m);
    gpu_->check_header(in, m->header(), 0, GetParam().mask, n, findings_);
  }
  {
    auto p = producer();
    CUstream out = gpu_->stream();
    ASSERT_EQ(publish(p, out, 0), Status::ok);
  }
  ASSERT_TRUE(finish(in));
  EXPECT_EQ(status(0), Status::ok);
  EXPECT_EQ(status(1), Status::end);
  EXPECT_EQ(findings_->wrong_bytes, 0u);
}

TEST_P(CudaClientEnds, InterruptEndsWaits) {
  START_OR_SKIP(GetParam(), 2);
  auto c = consumer();
  CUstream in = gpu_->stream();
  auto m = cuda::receive_ahead(c, in);
  ASSERT_TRUE(m);
  gpu_->check_header(in, m->header(), 0, GetParam().mask, 0, findings_);
  session_->interrupt();
  EXPECT_TRUE(finish(in));
  EXPECT_EQ(status(0), Status::interrupted);
  EXPECT_EQ(cuda::receive(c, in, kBound).status(), Status::interrupted);
  session_->resume();
}

TEST_P(CudaClientEnds, TheQueuesCloseEndsWaits) {
  START_OR_SKIP(GetParam(), 2);
  auto c = consumer();
  CUstream in = gpu_->stream();
  auto m = cuda::receive_ahead(c, in);
  ASSERT_TRUE(m);
  gpu_->check_header(in, m->header(), 0, GetParam().mask, 0, findings_);
  broker_->stop();
  EXPECT_TRUE(finish(in));
  EXPECT_THAT(status(0), testing::AnyOf(Status::closed, Status::peer_dead));
}

TEST_P(CudaClientEnds, TheConsumersCloseEndsWaits) {
  START_OR_SKIP(GetParam(), 2);
  auto c = consumer();
  CUstream in = gpu_->stream();
  auto m = cuda::receive_ahead(c, in);
  ASSERT_TRUE(m);
  gpu_->check_header(in, m->header(), 0, GetParam().mask, 0, findings_);
  c.close();
  EXPECT_TRUE(finish(in));
  EXPECT_EQ(status(0), Status::closed);
  EXPECT_EQ(m->length(), 0u);
}

TEST_P(CudaClientEnds, TheBrokersDeathEndsWaits) {
  START_OR_SKIP(GetParam(), 1);  // whether this machine can at all
  session_.reset();
  broker_.reset();
  start_process(
      "q=64KiB,slots=2,backend=cuda,mirror=" + std::string(GetParam().mirror == Mirror::full ? "full" : "none") +
      (*GetParam().handler != '\0' ? std::string(",handler=") + GetParam().handler : std::string()));
  {
    auto c = consumer();
    auto p = producer();
    CUstream out = gpu_->stream();
    CUstream in = gpu_->stream();
    CUstream ahead = gpu_->stream();
    // Published, and never complete before the broker dies.
    std::uint32_t* const held_up = gate();
    auto v = cuda::loan(p, out, kBound);
    ASSERT_TRUE(v) << to_string(v.status());
    wait_for(out, held_up);
    gpu_->fill(out, v->device(), kBytes, 0);
    ASSERT_EQ(v->publish(kBytes, kBound), Status::ok);
    auto m = cuda::receive(c, in, kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    gpu_->check_header(in, m->header(), 0, GetParam().mask, 0, findings_);
    auto next = cuda::receive_ahead(c, ahead);
    ASSERT_TRUE(next) << to_string(next.status());
    gpu_->check_header(ahead, next->header(), 0, GetParam().mask, 1, findings_);
    std::this_thread::sleep_for(kMoment);
    EXPECT_FALSE(is_done(in));
    EXPECT_FALSE(is_done(ahead));
    kill_broker();
    EXPECT_TRUE(finish(in));
    EXPECT_TRUE(finish(ahead));
    EXPECT_EQ(status(0), Status::peer_dead);
    EXPECT_EQ(status(1), Status::peer_dead);
    EXPECT_FALSE(cuda::receive_ahead(c, ahead));
    open(held_up);
    EXPECT_TRUE(finish(out));
  }
  session_.reset();
}

}  // namespace
}  // namespace ipcq_test
