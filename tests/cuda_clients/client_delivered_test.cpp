// What kernels find of a message: header, payload and inline bytes, in device memory.
#include "cuda_clients/client_fixture.hpp"

namespace ipcq_test {
namespace {

// Read by every thread of a kernel, host memory would cost each warp a trip across PCIe.
TEST_P(CudaClient, KernelsReadDeviceMemoryAlone) {
  START_OR_SKIP(GetParam(), 2);
  auto p = producer();
  auto c = consumer();
  CUstream out = gpu_->stream();
  CUstream in = gpu_->stream();
  const auto is_in_device_memory = [](const void* at) {
    CUdeviceptr base = 0;
    std::size_t size = 0;
    return driver().cuMemGetAddressRange(&base, &size, reinterpret_cast<CUdeviceptr>(at)) == CUDA_SUCCESS;
  };
  auto ahead = cuda::receive_ahead(c, in);
  ASSERT_TRUE(ahead) << to_string(ahead.status());
  EXPECT_TRUE(is_in_device_memory(ahead->header()));
  EXPECT_EQ(ahead->status(), Status::empty);
  for (std::uint64_t n = 0; n < 2; ++n) ASSERT_EQ(publish(p, out, n), Status::ok);
  auto slot = cuda::receive(c, in, kBound);
  ASSERT_TRUE(slot) << to_string(slot.status());
  EXPECT_TRUE(is_in_device_memory(slot->header()));
  EXPECT_TRUE(is_in_device_memory(slot->device()));
  const std::byte sent[4] = {};
  ASSERT_EQ(p.send(sent, sizeof sent, kBound), Status::ok);
  auto inlined = cuda::receive(c, in, kBound);
  ASSERT_TRUE(inlined) << to_string(inlined.status());
  EXPECT_TRUE(is_in_device_memory(inlined->header()));
  EXPECT_TRUE(is_in_device_memory(inlined->device()));
  EXPECT_TRUE(is_in_device_memory(inlined->payload().data));
  EXPECT_TRUE(finish(in));
  for (const auto* m : {&*ahead, &*slot, &*inlined}) EXPECT_EQ(m->status(), Status::ok);
}

TEST_P(CudaClient, PayloadsAreForEveryThreadToAsk) {
  START_OR_SKIP(GetParam(), 4);
  auto p = producer();
  auto c = consumer();
  CUstream out = gpu_->stream();
  CUstream in = gpu_->stream();
  constexpr unsigned kMessages = 40;  // entries are used again
  for (unsigned n = 0; n < kMessages; ++n) {
    // Half of them come while the stream is on its way, the others are there.
    ASSERT_EQ(publish(p, out, n, n % 2 == 0 ? 1'000'000 : 0), Status::ok);
    if (n % 2 != 0) {
      EXPECT_TRUE(finish(out));
    }
    auto m = cuda::receive(c, in, kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    gpu_->check_payload(in, m->payload(), 0, GetParam().mask, n % 8, findings_);
    gpu_->check_payload(in, m->payload(), 0, GetParam().mask, n % 8, findings_);
  }
  expect_read(in, 2 * kMessages);
}

TEST_P(CudaClient, InlineMessagesReachKernels) {
  START_OR_SKIP(GetParam(), 2);
  auto p = producer();
  auto c = consumer();
  CUstream in = gpu_->stream();
  const auto send = [&](std::uint64_t seed, std::size_t length) {
    std::byte bytes[72];
    for (std::size_t i = 0; i < length; ++i) bytes[i] = static_cast<std::byte>(pattern_byte(seed, i));
    return p.send(bytes, length, kBound);
  };
  ASSERT_EQ(send(0, 72), Status::ok);
  {
    auto m = cuda::receive(c, in, kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    EXPECT_EQ(m->length(), 72u);
    gpu_->check(in, m->device(), m->length(), 0, GetParam().mask, findings_);
  }
  {
    auto m = check_ahead(c, in, 0);
    ASSERT_TRUE(m) << to_string(m.status());
  }
  ASSERT_EQ(send(1, 13), Status::ok);
  ASSERT_TRUE(finish(in));
  EXPECT_EQ(status(0), Status::ok);
  EXPECT_EQ(findings_->messages, 2u);
  EXPECT_EQ(findings_->wrong_bytes, 0u);
}

}  // namespace
}  // namespace ipcq_test
