// Values and metadata of clients with a GPU: tensors in VRAM whose shape the CPU reads, and tensors that kernels read.
#include "cuda_clients/client_fixture.hpp"

namespace ipcq_test {
namespace {

struct Frame {
  std::uint64_t number;
  Tensor image;
};
IPCQ_SCHEMA(Frame, number, image)

class TypedCudaClient : public CudaClient {
 protected:
  bool start_typed(Kind kind) {
    return start({.slots = 4,
                  .size = kBytes,
                  .handler = kind.handler,
                  .backend = "cuda",
                  .mirror = kind.mirror,
                  .held = 64,
                  .metadata = 256});
  }
};
INSTANTIATE_TEST_SUITE_P(, TypedCudaClient, testing::ValuesIn(kKinds), kind_name);
// Without a handler, which would change the description with the rest.
class DirectTypedCudaClient : public TypedCudaClient {};
INSTANTIATE_TEST_SUITE_P(, DirectTypedCudaClient, testing::Values(kKinds[0], kKinds[1]), kind_name);

#define START_TYPED_OR_SKIP() \
  if (!start_typed(GetParam())) GTEST_SKIP() << skip_

TEST_P(TypedCudaClient, AFrameIsDescribedBesideItsPixels) {
  START_TYPED_OR_SKIP();
  auto p = session_->producer<Frame>("q", {.wait_for = kBound, .cuda = true});
  auto c = session_->consumer<Frame>("q", {.wait_for = kBound, .cuda = true});
  CUstream out = gpu_->stream();
  CUstream in = gpu_->stream();
  for (std::uint32_t n = 1; n <= 8; ++n) {
    auto loan = cuda::loan(p.raw(), out, kBound);
    ASSERT_TRUE(loan);
    FlatWriter<Frame> frame({}, std::span(loan->device(), loan->capacity()));
    frame->number = n;
    const auto pixels = frame.make<std::uint8_t>(frame->image, {n, 100, 3});
    ASSERT_EQ(pixels.size(), 300U * n);
    gpu_->fill(out, reinterpret_cast<std::byte*>(pixels.data()), pixels.size(), n, 2'000'000);
    ASSERT_EQ(loan->set_metadata(std::as_bytes(std::span(&*frame, 1))), Status::ok);
    ASSERT_EQ(loan->publish(frame.length(), kBound), Status::ok);

    auto m = cuda::receive(c.raw(), in, kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    ASSERT_EQ(m->metadata().size(), sizeof(Frame));
    Frame got;
    std::memcpy(&got, m->metadata().data(), sizeof got);
    EXPECT_EQ(got.number, n);
    EXPECT_EQ(got.image.shape[0], n);
    gpu_->check_tensor(in, m->payload(), got.image, n, GetParam().mask, findings_);
  }
  expect_read(in, 8);
}

TEST_P(DirectTypedCudaClient, AKernelReadsATensorThatAnotherHasDescribed) {
  START_TYPED_OR_SKIP();
  auto p = producer();
  auto c = consumer();
  CUstream out = gpu_->stream();
  CUstream in = gpu_->stream();
  for (std::uint32_t n = 1; n <= 8; ++n) {
    auto loan = cuda::loan(p, out, kBound);
    ASSERT_TRUE(loan);
    gpu_->fill_tensor(out, loan->device(), 1000 * n, n);
    ASSERT_EQ(loan->publish(sizeof(Tensor) + 1000 * n, kBound), Status::ok);
    auto m = cuda::receive(c, in, kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    EXPECT_TRUE(m->metadata().empty());
    gpu_->check_tensor(in, m->payload(), Tensor{}, n, 0, findings_);
  }
  expect_read(in, 8);
}

TEST_P(DirectTypedCudaClient, AKernelReadsNothingBeyondAPayloadThatIsCutShort) {
  START_TYPED_OR_SKIP();
  auto p = producer();
  auto c = consumer();
  CUstream out = gpu_->stream();
  CUstream in = gpu_->stream();
  auto loan = cuda::loan(p, out, kBound);
  ASSERT_TRUE(loan);
  gpu_->fill_tensor(out, loan->device(), 1000, 1);
  ASSERT_EQ(loan->publish(sizeof(Tensor) + 999, kBound), Status::ok);
  auto m = cuda::receive(c, in, kBound);
  ASSERT_TRUE(m) << to_string(m.status());
  gpu_->check_tensor(in, m->payload(), Tensor{}, 1, 0, findings_);
  ASSERT_TRUE(finish(in));
  EXPECT_EQ(findings_->messages, 1u);
  EXPECT_EQ(findings_->wrong_bytes, 1u);
}

}  // namespace
}  // namespace ipcq_test
