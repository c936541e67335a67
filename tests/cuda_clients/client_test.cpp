// Clients with a GPU: payloads written and read by kernels, in the order of streams.
#include "cuda_clients/client_fixture.hpp"

namespace ipcq_test {
namespace {

INSTANTIATE_TEST_SUITE_P(, CudaClient, testing::ValuesIn(kKinds), kind_name);
class CudaClientOnce : public CudaClient {};
INSTANTIATE_TEST_SUITE_P(Once, CudaClientOnce, testing::Values(kKinds[3]), kind_name);

TEST_P(CudaClient, KernelsExchangeMessagesInOrder) {
  START_OR_SKIP(GetParam(), 8);
  constexpr std::uint64_t kMessages = 300;
  auto c = consumer();
  std::atomic<bool> failed{false};
  std::thread writer([&] {
    check_cuda(driver().cuCtxSetCurrent(gpu_->context()), "cuCtxSetCurrent", "GPU 0");
    CUstream s = gpu_->stream();
    auto p = producer();
    for (std::uint64_t n = 0; n < kMessages && !failed; ++n) {
      if (publish(p, s, n) != Status::ok) failed = true;
    }
    if (!finish(s)) failed = true;
  });
  CUstream s = gpu_->stream();
  for (std::uint64_t n = 0; n < kMessages; ++n) {
    auto m = cuda::receive(c, s, kBound);
    if (!m) {
      ADD_FAILURE() << "message " << n << ": " << to_string(m.status());
      failed = true;
      break;
    }
    EXPECT_EQ(m->sequence(), n);
    EXPECT_EQ(m->length(), kBytes);
    EXPECT_TRUE(m->resolved());
    gpu_->check(s, m->device(), m->length(), n, GetParam().mask, findings_);
  }
  writer.join();
  EXPECT_FALSE(failed);
  if (!failed) {
    EXPECT_EQ(cuda::receive(c, s, kBound).status(), Status::end);
  }
  expect_read(s, kMessages);
}

TEST_P(CudaClient, OneThreadDoesBothSides) {
  START_OR_SKIP(GetParam(), 2);
  auto p = producer();
  auto c = consumer();
  CUstream out = gpu_->stream();
  CUstream in = gpu_->stream();
  for (std::uint64_t n = 0; n < 200; ++n) {  // more than a consumer may hold: releases are noticed on the way
    ASSERT_EQ(publish(p, out, n), Status::ok);
    auto m = cuda::receive(c, in, kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    gpu_->check(in, m->device(), m->length(), n, GetParam().mask, findings_);
  }
  expect_read(in, 200u);
}

TEST_P(CudaClient, ReceivesAheadOfAnyProducer) {
  START_OR_SKIP(GetParam(), 4);
  auto c = consumer();
  CUstream in = gpu_->stream();
  std::vector<cuda::Message> kept;
  for (unsigned n = 0; n < 3; ++n) {
    auto m = check_ahead(c, in, n, 7);
    ASSERT_TRUE(m) << to_string(m.status());
    if (n == 2) kept.push_back(std::move(*m));
  }
  EXPECT_FALSE(kept[0].resolved());
  EXPECT_EQ(kept[0].device(), nullptr);
  std::this_thread::sleep_for(kMoment);
  EXPECT_FALSE(is_done(in));

  auto p = producer();
  CUstream out = gpu_->stream();
  for (unsigned n = 0; n < 3; ++n) ASSERT_EQ(publish(p, out, 7 + n, 1'000'000), Status::ok);
  ASSERT_TRUE(finish(in));
  for (unsigned n = 0; n < 3; ++n) EXPECT_EQ(status(n), Status::ok);
  EXPECT_EQ(findings_->messages, 3u);
  EXPECT_EQ(findings_->wrong_bytes, 0u);
  EXPECT_TRUE(kept[0].resolved());
  EXPECT_EQ(kept[0].length(), kBytes);
  EXPECT_EQ(kept[0].sequence(), 2u);
  EXPECT_NE(kept[0].device(), nullptr);
}

TEST_P(CudaClient, MessagesStayUntilTheKernelsThatReadThemHaveEnded) {
  START_OR_SKIP(GetParam(), 2);
  auto c = consumer();
  std::atomic<bool> stop{false};
  std::thread writer([&] {
    check_cuda(driver().cuCtxSetCurrent(gpu_->context()), "cuCtxSetCurrent", "GPU 0");
    CUstream s = gpu_->stream();
    auto p = producer();
    for (std::uint64_t n = 0; !stop;) {
      auto v = cuda::loan(p, s, 100ms);
      if (!v) continue;
      gpu_->fill(s, v->device(), kBytes, n);
      if (v->publish(kBytes, 100ms) == Status::ok) ++n;  // the seed is the sequence number
    }
    EXPECT_TRUE(finish(s));
  });
  CUstream s = gpu_->stream();
  for (unsigned round = 0; round < 5; ++round) {
    auto m = cuda::receive(c, s, kBound);
    EXPECT_TRUE(m) << to_string(m.status());
    if (!m) break;
    gpu_->check(s, m->device(), m->length(), m->sequence(), GetParam().mask, findings_, 100'000'000);
  }  // released at once, read for 100 ms more
  EXPECT_TRUE(finish(s));
  stop = true;
  writer.join();
  EXPECT_EQ(findings_->messages, 5u);
  EXPECT_EQ(findings_->wrong_bytes, 0u);
}

TEST_P(CudaClient, DroppedLoansComeBackOnceTheirStreamHasPassed) {
  START_OR_SKIP(GetParam(), 1);
  auto p = producer();
  CUstream slow = gpu_->stream();
  CUstream other = gpu_->stream();
  std::uint32_t* const held_up = gate();
  {
    auto v = cuda::loan(p, slow, kBound);
    ASSERT_TRUE(v) << to_string(v.status());
    EXPECT_EQ(v->capacity(), kBytes);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(v->device()) % 128, 0u);
    wait_for(slow, held_up);
    gpu_->fill(slow, v->device(), kBytes, 1);
  }
  EXPECT_EQ(cuda::loan(p, other, kMoment).status(), Status::timeout);
  open(held_up);
  auto v = cuda::loan(p, other, kBound);
  ASSERT_TRUE(v) << to_string(v.status());
  EXPECT_TRUE(finish(slow));
}

TEST_P(CudaClient, APublishThatFoundNoLineCanBeRepeated) {
  START_OR_SKIP(GetParam(), 1);
  // One message for every line, all inline, and nobody takes them.
  auto c = consumer();
  auto p = producer();
  std::uint64_t sent = 0;
  while (p.send("x", 1, Duration::zero()) == Status::ok) ++sent;
  CUstream s = gpu_->stream();
  auto v = cuda::loan(p, s, kBound);
  ASSERT_TRUE(v) << to_string(v.status());
  gpu_->fill(s, v->device(), kBytes, 5);
  EXPECT_EQ(v->publish(kBytes, Duration::zero()), Status::full);
  gpu_->fill(s, v->device(), kBytes, 6);  // the loan is still ours
  for (std::uint64_t n = 0; n < sent; ++n) ASSERT_TRUE(c.receive(kBound));
  ASSERT_EQ(v->publish(kBytes, kBound), Status::ok);
  EXPECT_EQ(v->publish(kBytes), Status::not_held);
  auto m = cuda::receive(c, s, kBound);
  ASSERT_TRUE(m) << to_string(m.status());
  gpu_->check(s, m->device(), m->length(), 6, GetParam().mask, findings_);
  expect_read(s, 1u);
}

TEST_P(CudaClient, MoreReceivesMayBePendingThanThereAreSlots) {
  START_OR_SKIP(GetParam(), 2);
  constexpr unsigned kPending = 48;
  auto c = consumer();
  CUstream in = gpu_->stream();
  for (unsigned n = 0; n < kPending; ++n) {
    auto m = check_ahead(c, in, n);
    ASSERT_TRUE(m) << to_string(m.status());
  }
  auto p = producer();
  CUstream out = gpu_->stream();
  for (unsigned n = 0; n < kPending; ++n) ASSERT_EQ(publish(p, out, n), Status::ok);
  ASSERT_TRUE(finish(in));
  for (unsigned n = 0; n < kPending; ++n) EXPECT_EQ(status(n), Status::ok) << n;
  EXPECT_EQ(findings_->messages, kPending);
  EXPECT_EQ(findings_->wrong_bytes, 0u);
}

TEST_P(CudaClient, ReceivesKeepTheOrderOfTheCalls) {
  START_OR_SKIP(GetParam(), 4);
  auto c = consumer();
  CUstream in = gpu_->stream();
  auto first = cuda::receive_ahead(c, in);
  ASSERT_TRUE(first);
  EXPECT_EQ(c.receive(Duration::zero()).status(), Status::empty);
  EXPECT_EQ(cuda::receive(c, in, kMoment).status(), Status::timeout);
  auto p = producer();
  CUstream out = gpu_->stream();
  for (unsigned n = 0; n < 2; ++n) ASSERT_EQ(publish(p, out, n), Status::ok);
  auto second = cuda::receive(c, in, kBound);
  ASSERT_TRUE(second) << to_string(second.status());
  EXPECT_TRUE(first->resolved());
  EXPECT_EQ(first->sequence(), 0u);
  EXPECT_EQ(second->sequence(), 1u);
  EXPECT_TRUE(finish(in));
}

// While the next message is waited for, which may not come before the slot is free.
TEST_P(CudaClientOnce, AReleaseIsNoticedWhileTheNextMessageIsAwaited) {
  START_OR_SKIP(GetParam(), 1);
  constexpr unsigned kMessages = 40;
  auto c = consumer(true, "default", Until::forever);
  auto p = producer(false);
  CUstream in[] = {gpu_->stream(), gpu_->stream()};
  const std::vector<std::byte> bytes(kBytes);
  auto m = cuda::receive_ahead(c, in[0]);
  unsigned prompt = 0;
  for (unsigned n = 0; n < kMessages; ++n) {
    ASSERT_TRUE(m) << to_string(m.status());
    ASSERT_EQ(p.send(bytes.data(), bytes.size(), kBound), Status::ok);
    ASSERT_TRUE(finish(in[n % 2]));
    auto next = cuda::receive_ahead(c, in[(n + 1) % 2]);
    std::this_thread::sleep_for(1ms);  // the consumer's thread waits by now, for 10 ms at a time
    const auto before = std::chrono::steady_clock::now();
    std::swap(m, next);
    next = Status::empty;
    ASSERT_TRUE(eventually([&] { return broker_->stats().queues.at(0).empty == 1; }));
    prompt += std::chrono::steady_clock::now() - before < 5ms ? 1 : 0;
  }
  EXPECT_GT(prompt, kMessages / 2) << "releases wait until the consumer's thread has waited";
}

TEST_P(CudaClient, ReceiveAheadIsFullWhenEverythingIsHeld) {
  START_OR_SKIP(GetParam(), 2);
  auto c = consumer();
  CUstream in = gpu_->stream();
  std::vector<cuda::Message> all;
  for (unsigned n = 0; n < 64; ++n) {  // held
    auto m = cuda::receive_ahead(c, in);
    ASSERT_TRUE(m) << n << ": " << to_string(m.status());
    all.push_back(std::move(*m));
  }
  EXPECT_EQ(cuda::receive_ahead(c, in).status(), Status::full);
  session_->interrupt();
  EXPECT_TRUE(finish(in));
  session_->resume();
  for (const auto& m : all) EXPECT_EQ(m.status(), Status::interrupted);
}

TEST_P(CudaClientOnce, EndpointsSayThatTheyUseCuda) {
  START_OR_SKIP(GetParam(), 2);
  auto p = producer(false);
  auto c = consumer(false);
  CUstream s = gpu_->stream();
  EXPECT_THROW((void)cuda::loan(p, s), UsageError);
  EXPECT_THROW((void)cuda::receive(c, s), UsageError);
  EXPECT_THROW((void)cuda::receive_ahead(c, s), UsageError);
}

// A pool in host memory works as well; kernels reach it across PCIe.
TEST_P(CudaClientOnce, QueuesInHostMemoryWork) {
  for (const char* handler : {"", "invert"}) {
    const std::string queue = std::string("host") + handler;
    if (!broker_) broker_.emplace(BrokerOptions{.name = name_, .log = log()});
    broker_->create(queue, {.slots = 4, .size = kBytes, .handler = handler, .backend = "host"});
    if (!session_) session_.emplace(connect({.broker = name_, .log = log()}));
    auto p = session_->producer(queue, {.cuda = true});
    auto c = session_->consumer(queue, {.cuda = true});
    CUstream out = gpu_->stream();
    CUstream in = gpu_->stream();
    for (std::uint64_t n = 0; n < 100; ++n) {
      ASSERT_EQ(publish(p, out, n), Status::ok);
      auto m = cuda::receive(c, in, kBound);
      ASSERT_TRUE(m) << to_string(m.status());
      gpu_->check(in, m->device(), m->length(), n, *handler != '\0' ? 0xff : 0, findings_);
    }
    ASSERT_TRUE(finish(in));
  }
  EXPECT_EQ(findings_->messages, 200u);
  EXPECT_EQ(findings_->wrong_bytes, 0u);
}

}  // namespace
}  // namespace ipcq_test
