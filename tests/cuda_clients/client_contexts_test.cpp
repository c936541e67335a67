// What becomes of a client's endpoints when a context does not last as long as they do: it fails beside another one,
// its device is reset, the process exits with endpoints that are globals, the pool is made anew. Part of it happens in
// a process of its own: this program again, running one of the disabled tests.
#include "cuda_clients/client_fixture.hpp"
#include "cuda_clients/driver_function.hpp"
#include "device_queues/runners.hpp"

namespace ipcq_test {
namespace {

void reset_device() {
  check_cuda(driver_function<CUresult(CUdevice)>("cuDevicePrimaryCtxReset")(0), "cuDevicePrimaryCtxReset", "test");
}

class CudaClientContexts : public CudaClient {
 protected:
  // Runs that test in a process of its own, as a client of this broker.
  void run_peer(const std::string& test) {
    ::setenv("IPCQ_TEST_BROKER", name_.c_str(), 1);
    const pid_t peer = spawn_program({"/proc/self/exe", "--gtest_also_run_disabled_tests",
                                      "--gtest_filter=CudaClientContextsPeer.DISABLED_" + test});
    ASSERT_GT(peer, 0);
    int status = 0;
    ASSERT_EQ(::waitpid(peer, &status, 0), peer);  // it has an alarm
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << "wait status " << status;
  }
};
// With a mirror: one context of a process at a time maps the pool itself.
INSTANTIATE_TEST_SUITE_P(, CudaClientContexts, testing::Values(kKinds[1], kKinds[3]), kind_name);

class CudaClientContextsPeer : public CudaClient {
 protected:
  void attach() {
    const char* const broker = std::getenv("IPCQ_TEST_BROKER");
    ASSERT_NE(broker, nullptr) << "only for CudaClientContexts";
    alarm(60);
    session_.emplace(connect({.broker = broker, .wait_for = kBound, .log = log()}));
  }
  void exchange(Producer& p, Consumer& c, std::uint64_t seed) {
    CUstream out = gpu_->stream();
    CUstream in = gpu_->stream();
    clear_findings();
    ASSERT_EQ(publish(p, out, seed), Status::ok);
    auto m = cuda::receive(c, in, kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    const unsigned mask = std::getenv("IPCQ_TEST_MASK") != nullptr ? 0xff : 0;
    gpu_->check_header(in, m->header(), seed - m->sequence(), mask, 0, findings_);
    ASSERT_TRUE(finish(in));
    EXPECT_EQ(status(0), Status::ok);
    EXPECT_EQ(findings_->wrong_bytes, 0u);
  }
};

// On an H200 with driver 580 a fault fails every context of the process on that GPU, and under MPS those of all clients
// of the server; so it happens in a process of its own, and what another context has written is written before.
TEST_F(CudaClientContextsPeer, DISABLED_FailsAContext) {
  attach();
  if (HasFatalFailure()) return;
  auto p = producer();
  CUstream good = gpu_->stream();
  std::uint32_t* const held_up = gate();
  CUcontext other = nullptr;
  check_cuda(driver_function<CUresult(CUcontext*, unsigned, CUdevice)>("cuCtxCreate")(&other, 0, 0), "cuCtxCreate",
             "test");
  CUstream bad = Gpu::stream_of_current_context();
  CUmodule module = nullptr;
  CUfunction fault = nullptr;
  check_cuda(driver().cuModuleLoadData(&module, ipcq_test_kernels), "cuModuleLoadData", "test kernels");
  check_cuda(driver().cuModuleGetFunction(&fault, module, "fault"), "cuModuleGetFunction", "fault");
  ASSERT_EQ(driver().cuCtxPopCurrent(&other), CUDA_SUCCESS);

  ASSERT_EQ(publish(p, good, 1), Status::ok);
  auto v = cuda::loan(p, bad, kBound);
  ASSERT_TRUE(v) << to_string(v.status());
  wait_for(bad, held_up);
  check_cuda(driver().cuLaunchKernel(fault, 1, 1, 1, 1, 1, 1, 0, bad, nullptr, nullptr), "cuLaunchKernel", "fault");
  ASSERT_EQ(v->publish(kBytes, kBound), Status::ok);
  ASSERT_EQ(publish(p, good, 3), Status::ok);
  ASSERT_TRUE(finish(good));
  open(held_up);
  p.close();  // finds the failed context, and gives up what was to come from there
}

TEST_P(CudaClientContexts, AFailedContextCostsWhatItHadNotWritten) {
  START_OR_SKIP(GetParam(), 4);
  if (under_mps_) return;  // the runner's context fails with it
  run_peer("FailsAContext");
  auto c = consumer(false);
  for (const std::uint64_t seed : {1u, 3u}) {
    auto m = c.receive(kBound);
    ASSERT_TRUE(m) << seed << ": " << to_string(m.status());
    EXPECT_EQ(m->sequence(), seed - 1);
    EXPECT_EQ(wrong_bytes(*m, kBytes, seed, GetParam().mask), 0u) << seed;
  }
  EXPECT_EQ(c.receive(kBound).status(), Status::end);
}

TEST_F(CudaClientContextsPeer, DISABLED_ResetsItsDevice) {
  attach();
  if (HasFatalFailure()) return;
  {
    auto p = producer();
    auto c = consumer(true, "default", Until::forever);
    exchange(p, c, 1);
    CUstream out = gpu_->stream();
    CUstream in = gpu_->stream();
    auto lent = cuda::loan(p, out, kBound);
    ASSERT_TRUE(lent);
    ASSERT_EQ(publish(p, out, 2), Status::ok);
    auto held = cuda::receive(c, in, kBound);
    ASSERT_TRUE(held);
    ASSERT_TRUE(finish(in));
    reset_device();
    const auto refused = [](const auto& call) {
      try {
        call();
        ADD_FAILURE() << "went on in a context that is gone";
      } catch (const UsageError& e) {
        EXPECT_THAT(e.what(), testing::HasSubstr("cudaDeviceReset"));
      }
    };
    refused([&] { (void)cuda::loan(p, out, kBound); });
    refused([&] { (void)cuda::receive(c, in, kBound); });
    refused([&] { (void)cuda::receive_ahead(c, in); });
    refused([&] { (void)cuda::loan(p, nullptr, kBound); });
    EXPECT_EQ(lent->publish(kBytes, kBound), Status::closed);
  }
  session_.reset();
  gpu_ = Gpu::make();
  check_cuda(driver().cuCtxSetCurrent(gpu_->context()), "cuCtxSetCurrent", "GPU 0");
  check_cuda(driver().cuMemHostAlloc(reinterpret_cast<void**>(&findings_), sizeof *findings_,
                                     CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP),
             "cuMemHostAlloc", "test");
  attach();
  auto p = producer();
  auto c = consumer(true, "default", Until::forever);
  exchange(p, c, 3);
}

TEST_P(CudaClientContexts, AResetDeviceIsSaidAndAnotherSessionGoesOn) {
  START_OR_SKIP(GetParam(), 4);
  GetParam().mask != 0 ? ::setenv("IPCQ_TEST_MASK", "1", 1) : ::unsetenv("IPCQ_TEST_MASK");
  run_peer("ResetsItsDevice");
  EXPECT_TRUE(eventually([&] { return broker_->stats().queues.at(0).empty == 4; })) << broker_->dump("q");
}

// Constructed before CUDA, and so destroyed after it has unloaded.
Session global_session;
Producer global_producer;
constexpr std::uint64_t kGlobalMessages = 10;

TEST_F(CudaClientContextsPeer, DISABLED_ExitsWithAGlobalProducer) {
  attach();
  if (HasFatalFailure()) return;
  global_session = std::move(*session_);
  global_producer = global_session.producer("q", {.wait_for = kBound, .cuda = true});
  CUstream out = gpu_->stream();
  constexpr std::uint64_t kSpinNs = 5'000'000;
  for (std::uint64_t n = 0; n < kGlobalMessages; ++n) {
    ASSERT_EQ(publish(global_producer, out, n, kSpinNs), Status::ok);
  }
  std::exit(0);
}

TEST_P(CudaClientContexts, WhatAGlobalProducerPublishedArrives) {
  START_OR_SKIP(GetParam(), 16);
  run_peer("ExitsWithAGlobalProducer");
  auto c = consumer(false);
  for (std::uint64_t n = 0; n < kGlobalMessages; ++n) {
    auto m = c.receive(kBound);
    ASSERT_TRUE(m) << n << ": " << to_string(m.status());
    EXPECT_EQ(wrong_bytes(*m, kBytes, n, GetParam().mask), 0u) << n;
  }
  EXPECT_EQ(c.receive(kBound).status(), Status::end);
}

// A runner's death costs the clients of an MPS server their contexts, too.
TEST_P(CudaClientContexts, AMessageStaysReadableWhileItsPoolIsMadeAnew) {
  START_OR_SKIP(GetParam(), 4);
  if (under_mps_) return;
  auto p = producer();
  auto c = consumer();
  CUstream out = gpu_->stream();
  CUstream in = gpu_->stream();
  std::uint32_t* const held_up = gate();
  ASSERT_EQ(publish(p, out, 5), Status::ok);
  auto m = cuda::receive(c, in, kBound);
  ASSERT_TRUE(m) << to_string(m.status());
  ASSERT_TRUE(finish(in));
  wait_for(in, held_up);
  gpu_->check_header(in, m->header(), 5, GetParam().mask, 0, findings_);
  ASSERT_EQ(runners().size(), 1u);
  ::kill(runners().front(), SIGKILL);
  ASSERT_TRUE(eventually([&] { return c.receive(Duration::zero()).status() == Status::closed; }));
  auto next_consumer = consumer(true, "default", Until::forever);
  auto next_producer = producer();
  EXPECT_EQ(publish(next_producer, out, 7), Status::ok);
  open(held_up);
  ASSERT_TRUE(finish(in));
  EXPECT_EQ(status(0), Status::ok);
  m = Status::closed;  // its end
  auto next = cuda::receive(next_consumer, in, kBound);
  ASSERT_TRUE(next) << to_string(next.status());
  gpu_->check_header(in, next->header(), 7, GetParam().mask, 1, findings_);
  ASSERT_TRUE(finish(in));
  EXPECT_EQ(status(1), Status::ok);
  EXPECT_EQ(findings_->messages, 2u);
  EXPECT_EQ(findings_->wrong_bytes, 0u);
}

}  // namespace
}  // namespace ipcq_test
