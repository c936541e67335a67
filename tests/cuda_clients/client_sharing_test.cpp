// Clients with a GPU beside clients that have none: these reach payloads in the mirror only.
#include "cuda_clients/client_fixture.hpp"

namespace ipcq_test {
namespace {

class CudaClientMirrored : public CudaClient {};
INSTANTIATE_TEST_SUITE_P(, CudaClientMirrored, testing::Values(kKinds[1], kKinds[3]), kind_name);

// Every message of every kind of producer reaches every kind of consumer.
TEST_P(CudaClientMirrored, ClientsWithAndWithoutGpuShareAQueue) {
  START_OR_SKIP(GetParam(), 8, {{.name = "cpu"}, {.name = "gpu"}});
  constexpr std::uint64_t kEach = 100;
  const std::uint8_t mask = static_cast<std::uint8_t>(GetParam().mask);
  auto on_cpu = consumer(false, "cpu");
  auto on_gpu = consumer(true, "gpu");
  auto cpu_producer = producer(false);
  auto gpu_producer = producer();
  const std::uint32_t gpu_id = gpu_producer.id();
  // The seed tells the producer: even from the GPU, odd from the CPU.
  std::thread gpu_writer([&, p = std::move(gpu_producer)]() mutable {
    check_cuda(driver().cuCtxSetCurrent(gpu_->context()), "cuCtxSetCurrent", "GPU 0");
    CUstream s = gpu_->stream();
    for (std::uint64_t n = 0; n < kEach; ++n) EXPECT_EQ(publish(p, s, 2 * n), Status::ok);
    EXPECT_TRUE(finish(s));
  });
  std::thread cpu_writer([&, p = std::move(cpu_producer)]() mutable {
    for (std::uint64_t n = 0; n < kEach; ++n) {
      auto v = p.loan(kBound);
      ASSERT_TRUE(v) << to_string(v.status());
      for (std::size_t i = 0; i < kBytes; ++i) v->bytes()[i] = static_cast<std::byte>(pattern_byte(2 * n + 1, i));
      EXPECT_EQ(v->publish(kBytes, kBound), Status::ok);
    }
  });
  std::thread cpu_reader([&] {
    for (std::uint64_t n = 0; n < 2 * kEach; ++n) {
      auto m = on_cpu.receive(kBound);
      ASSERT_TRUE(m) << n << ": " << to_string(m.status());
      ASSERT_EQ(m->bytes().size(), kBytes);
      ASSERT_NE(m->bytes().data(), nullptr);
      const std::uint64_t seed = 2 * m->sequence() + (m->producer() == gpu_id ? 0 : 1);
      EXPECT_EQ(wrong_bytes(*m, kBytes, seed, mask), 0u)
          << "message " << m->sequence() << " of producer " << m->producer();
    }
  });
  CUstream s = gpu_->stream();
  for (std::uint64_t n = 0; n < 2 * kEach; ++n) {
    auto m = cuda::receive(on_gpu, s, kBound);
    EXPECT_TRUE(m) << n << ": " << to_string(m.status());
    if (!m) break;
    const std::uint64_t seed = 2 * m->sequence() + (m->producer() == gpu_id ? 0 : 1);
    gpu_->check(s, m->device(), m->length(), seed, mask, findings_);
  }
  gpu_writer.join();
  cpu_writer.join();
  cpu_reader.join();
  expect_read(s, 2 * kEach);
}

// What a consumer with a GPU took before the executor had it goes back, and is complete for whoever gets it next.
TEST_P(CudaClientMirrored, MessagesOfAClosedConsumerGoToOthersProcessed) {
  START_OR_SKIP(GetParam(), 2);
  auto p = producer();
  auto taker = consumer();
  auto heir = consumer(false);
  CUstream out = gpu_->stream();
  CUstream in = gpu_->stream();
  std::uint32_t* const held_up = hold_up(out);
  ASSERT_EQ(publish(p, out, 3), Status::ok);
  auto m = cuda::receive(taker, in, kBound);
  ASSERT_TRUE(m) << to_string(m.status());
  taker.close();
  std::thread opener([&] {
    std::this_thread::sleep_for(kMoment);
    open(held_up);
  });
  auto again = heir.receive(kBound);
  opener.join();
  ASSERT_TRUE(again) << to_string(again.status());
  EXPECT_EQ(again->redeliveries(), 1u);
  ASSERT_NE(again->bytes().data(), nullptr);
  EXPECT_EQ(wrong_bytes(*again, kBytes, 3, GetParam().mask), 0u);
  EXPECT_TRUE(finish(in));
}

}  // namespace
}  // namespace ipcq_test
