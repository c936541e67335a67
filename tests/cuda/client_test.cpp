// Clients with a GPU: payloads written and read by kernels, in the order of streams. Each test has a broker of its own,
// and with it a runner. Every wait is bounded by kBound.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "driver.hpp"
#include "ipcq/cuda.hpp"
#include "ipcq/ipcq.hpp"
#include "pattern.hpp"

extern "C" const unsigned char ipcq_test_kernels[];

namespace ipcq_test {
namespace {

// Several streams of a test wait at once, each on a hardware queue of its own; under MPS a process has two by default.
const bool kManyQueues = ::setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 0) == 0;

using namespace ipcq;
using namespace std::chrono_literals;
using ipcq::detail::check_cuda;
using ipcq::detail::driver;

constexpr Duration kBound = 20s;
constexpr Duration kMoment = 50ms;
constexpr std::size_t kBytes = 64 * 1024;
constexpr unsigned kNoStatus = 0xff;

template <class Done>
[[nodiscard]] bool eventually(Done done) {
  const auto until = std::chrono::steady_clock::now() + kBound;
  while (!done()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(1ms);
  }
  return true;
}

// GPU 0 of this process, with its kernels; made once.
class Gpu {
 public:
  static Gpu& get() {
    static auto* const gpu = new Gpu;  // a failed attempt throws
    return *gpu;
  }
  CUcontext context() const { return context_; }

  CUstream stream() const {
    CUstream s = nullptr;
    check_cuda(driver().cuStreamCreateWithPriority(&s, CU_STREAM_NON_BLOCKING, 0), "cuStreamCreateWithPriority",
               "test");
    return s;
  }
  void fill(CUstream s, std::byte* data, std::size_t bytes, std::uint64_t seed, std::uint64_t spin_ns = 0) {
    launch(fill_, 16, s, data, std::uint64_t{bytes}, seed, spin_ns);
  }
  void check(CUstream s, const std::byte* data, std::size_t bytes, std::uint64_t seed, unsigned mask, Findings* f,
             std::uint64_t spin_ns = 0) {
    launch(check_, 16, s, data, std::uint64_t{bytes}, seed, mask, spin_ns, f);
  }
  void check_header(CUstream s, const cuda::Header* h, std::uint64_t seed, unsigned mask, unsigned number,
                    Findings* f) {
    launch(check_header_, 16, s, h, seed, mask, number, f);
  }
  void spin(CUstream s, std::uint64_t ns) { launch(spin_, 1, s, ns); }

 private:
  Gpu() {
    const auto& cu = driver();
    CUdevice device = 0;
    check_cuda(cu.cuDeviceGet(&device, 0), "cuDeviceGet", "GPU 0");
    check_cuda(cu.cuDevicePrimaryCtxRetain(&context_, device), "cuDevicePrimaryCtxRetain", "GPU 0");
    check_cuda(cu.cuCtxSetCurrent(context_), "cuCtxSetCurrent", "GPU 0");
    CUmodule module = nullptr;
    check_cuda(cu.cuModuleLoadData(&module, ipcq_test_kernels), "cuModuleLoadData", "test kernels");
    const auto find = [&](CUfunction& f, const char* name) {
      check_cuda(cu.cuModuleGetFunction(&f, module, name), "cuModuleGetFunction", name);
    };
    find(fill_, "fill");
    find(check_, "check");
    find(check_header_, "check_header");
    find(spin_, "spin");
  }

  template <class... Arguments>
  void launch(CUfunction f, unsigned blocks, CUstream s, Arguments... arguments) {
    void* pointers[] = {&arguments...};
    check_cuda(driver().cuLaunchKernel(f, blocks, 1, 1, 256, 1, 1, 0, s, pointers, nullptr), "cuLaunchKernel", "test");
  }

  CUcontext context_ = nullptr;
  CUfunction fill_ = nullptr;
  CUfunction check_ = nullptr;
  CUfunction check_header_ = nullptr;
  CUfunction spin_ = nullptr;
};

// How a queue is made.
struct Kind {
  const char* name;
  const char* handler;
  Mirror mirror;
  unsigned mask;  // what the handler does to every byte
};
constexpr Kind kKinds[] = {{"Direct", "", Mirror::none, 0},
                           {"Mirrored", "", Mirror::full, 0},
                           {"Invert", "invert", Mirror::none, 0xff},
                           {"InvertMirrored", "invert", Mirror::full, 0xff}};
void PrintTo(const Kind& k, std::ostream* out) { *out << k.name; }

class CudaClient : public testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    try {
      gpu_ = &Gpu::get();
      check_cuda(driver().cuCtxSetCurrent(gpu_->context()), "cuCtxSetCurrent", "GPU 0");
    } catch (const BackendError& e) {
      GTEST_SKIP() << e.what();
    }
    const char* const bin = std::getenv("IPCQ_BIN_DIR");
    if (bin != nullptr) ::setenv("IPCQ_RUNNER", (std::string(bin) + "/ipcq-runner").c_str(), 0);
    static std::atomic<unsigned> count{0};
    name_ = "cuda-client-" + std::to_string(getpid()) + "-" + std::to_string(count++);
    check_cuda(driver().cuMemHostAlloc(reinterpret_cast<void**>(&findings_), sizeof *findings_,
                                       CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP),
               "cuMemHostAlloc", "test");
    clear_findings();
  }

  void TearDown() override {
    if (broker_pid_ > 0) {
      ::kill(broker_pid_, SIGKILL);
      ::waitpid(broker_pid_, nullptr, 0);
    }
  }

  // A broker within the test with one queue "q". False: this machine cannot (the test is skipped).
  bool start(Kind kind, std::uint32_t slots, std::vector<GroupOptions> groups = {GroupOptions{}}) {
    broker_.emplace(BrokerOptions{.name = name_, .log = log()});
    try {
      broker_->create("q", {.slots = slots,
                            .slot_bytes = kBytes,
                            .handler = kind.handler,
                            .backend = "cuda",
                            .mirror = kind.mirror,
                            .groups = std::move(groups),
                            .held_per_consumer = 64});
    } catch (const BackendError& e) {
      if (std::string(e.what()).find("runner") == std::string::npos) throw;
      skip_ = e.what();
      return false;
    }
    session_.emplace(connect({.broker = name_, .wait_for = kBound, .log = log()}));
    return true;
  }
  // The same in a process of its own, to be killed.
  void start_process(const std::string& queue) {
    const char* const bin = std::getenv("IPCQ_BIN_DIR");
    ASSERT_NE(bin, nullptr) << "IPCQ_BIN_DIR is not set";
    std::string program = std::string(bin) + "/ipcq-broker";
    std::string arguments[] = {program, "--name", name_, "--queue", queue};
    std::vector<char*> argv;
    for (auto& a : arguments) argv.push_back(a.data());
    argv.push_back(nullptr);
    ASSERT_EQ(::posix_spawn(&broker_pid_, program.c_str(), nullptr, nullptr, argv.data(), environ), 0);
    session_.emplace(connect({.broker = name_, .wait_for = kBound, .log = log()}));
  }
  void kill_broker() {
    ::kill(broker_pid_, SIGKILL);
    ::waitpid(broker_pid_, nullptr, 0);
    broker_pid_ = 0;
  }

  Producer producer(bool cuda = true) { return session_->producer("q", {.wait_for = kBound, .cuda = cuda}); }
  Consumer consumer(bool cuda = true, const std::string& group = "default", Until until = Until::end) {
    return session_->consumer("q", {.group = group, .until = until, .wait_for = kBound, .cuda = cuda});
  }

  Status publish(Producer& p, CUstream s, std::uint64_t seed, std::uint64_t spin_ns = 0) {
    auto v = cuda::loan(p, s, kBound);
    if (!v) return v.status();
    gpu_->fill(s, v->device(), kBytes, seed, spin_ns);
    return v->publish(kBytes, kBound);
  }

  static bool is_done(CUstream s) { return driver().cuStreamQuery(s) == CUDA_SUCCESS; }
  // Waits for the stream, within bounds.
  static bool finish(CUstream s) {
    return eventually([s] { return is_done(s); });
  }
  // A word that streams can wait for.
  std::uint32_t* gate() {
    std::uint32_t* word = nullptr;
    check_cuda(driver().cuMemHostAlloc(reinterpret_cast<void**>(&word), 64,
                                       CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP),
               "cuMemHostAlloc", "test");
    *word = 0;
    return word;
  }
  void wait_for(CUstream s, std::uint32_t* word) {
    check_cuda(driver().cuStreamWaitValue32(s, reinterpret_cast<CUdeviceptr>(word), 1, CU_STREAM_WAIT_VALUE_GEQ),
               "cuStreamWaitValue32", "test");
  }
  static void open(std::uint32_t* word) { __atomic_store_n(word, 1u, __ATOMIC_RELEASE); }

  void clear_findings() {
    std::memset(findings_, 0, sizeof *findings_);
    for (auto& s : findings_->status) s = kNoStatus;
  }
  Status status(unsigned number) const { return static_cast<Status>(findings_->status[number]); }

  LogCallback log() {
    return [](LogLevel level, std::string_view text) {
      if (level >= LogLevel::warning) std::fprintf(stderr, "log: %.*s\n", static_cast<int>(text.size()), text.data());
    };
  }

  Gpu* gpu_ = nullptr;
  Findings* findings_ = nullptr;
  std::string name_;
  std::string skip_;
  std::optional<Broker> broker_;
  pid_t broker_pid_ = 0;
  std::optional<Session> session_;
};

#define START_OR_SKIP(...) \
  if (!start(__VA_ARGS__)) GTEST_SKIP() << skip_

std::string kind_name(const testing::TestParamInfo<Kind>& info_) { return info_.param.name; }
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
  ASSERT_TRUE(finish(s));
  EXPECT_EQ(findings_->messages, kMessages);
  EXPECT_EQ(findings_->wrong_bytes, 0u);
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
  ASSERT_TRUE(finish(in));
  EXPECT_EQ(findings_->messages, 200u);
  EXPECT_EQ(findings_->wrong_bytes, 0u);
}

TEST_P(CudaClient, ReceivesAheadOfAnyProducer) {
  START_OR_SKIP(GetParam(), 4);
  auto c = consumer();
  CUstream in = gpu_->stream();
  std::vector<cuda::Message> kept;
  for (unsigned n = 0; n < 3; ++n) {
    auto m = cuda::receive_ahead(c, in);
    ASSERT_TRUE(m) << to_string(m.status());
    gpu_->check_header(in, m->header(), 7, GetParam().mask, n, findings_);
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
  ASSERT_TRUE(finish(s));
  EXPECT_EQ(findings_->messages, 1u);
  EXPECT_EQ(findings_->wrong_bytes, 0u);
}

TEST_P(CudaClient, MoreReceivesMayBePendingThanThereAreSlots) {
  START_OR_SKIP(GetParam(), 2);
  constexpr unsigned kPending = 48;
  auto c = consumer();
  CUstream in = gpu_->stream();
  for (unsigned n = 0; n < kPending; ++n) {
    auto m = cuda::receive_ahead(c, in);
    ASSERT_TRUE(m) << to_string(m.status());
    gpu_->check_header(in, m->header(), 0, GetParam().mask, n, findings_);
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

TEST_P(CudaClient, ReceiveAheadIsFullWhenEverythingIsHeld) {
  START_OR_SKIP(GetParam(), 2);
  auto c = consumer();
  CUstream in = gpu_->stream();
  std::vector<cuda::Message> all;
  for (unsigned n = 0; n < 64; ++n) {  // held_per_consumer
    auto m = cuda::receive_ahead(c, in);
    ASSERT_TRUE(m) << n << ": " << to_string(m.status());
    all.push_back(std::move(*m));
  }
  EXPECT_EQ(cuda::receive_ahead(c, in).status(), Status::full);
  session_->interrupt();
  EXPECT_TRUE(finish(in));
  session_->resume();
  for (const auto& m : all) EXPECT_EQ(static_cast<Status>(m.header()->state), Status::interrupted);
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
    auto m = cuda::receive_ahead(c, in);
    ASSERT_TRUE(m) << to_string(m.status());
    gpu_->check_header(in, m->header(), 0, GetParam().mask, 0, findings_);
  }
  ASSERT_EQ(send(1, 13), Status::ok);
  ASSERT_TRUE(finish(in));
  EXPECT_EQ(status(0), Status::ok);
  EXPECT_EQ(findings_->messages, 2u);
  EXPECT_EQ(findings_->wrong_bytes, 0u);
}

TEST_P(CudaClient, TheEndOfTheStreamEndsWaits) {
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

TEST_P(CudaClient, InterruptEndsWaits) {
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

TEST_P(CudaClient, TheQueuesCloseEndsWaits) {
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

TEST_P(CudaClient, TheConsumersCloseEndsWaits) {
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

TEST_P(CudaClient, TheBrokersDeathEndsWaits) {
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

// Every message of every kind of producer reaches every kind of consumer.
TEST_P(CudaClient, ClientsWithAndWithoutGpuShareAQueue) {
  if (GetParam().mirror == Mirror::none) GTEST_SKIP() << "without a mirror clients without a GPU cannot reach payloads";
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
      std::uint64_t wrong = 0;
      for (std::size_t i = 0; i < kBytes; ++i) {
        wrong += m->bytes()[i] != static_cast<std::byte>(pattern_byte(seed, i) ^ mask) ? 1 : 0;
      }
      EXPECT_EQ(wrong, 0u) << "message " << m->sequence() << " of producer " << m->producer();
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
  ASSERT_TRUE(finish(s));
  EXPECT_EQ(findings_->messages, 2 * kEach);
  EXPECT_EQ(findings_->wrong_bytes, 0u);
}

// What a consumer with a GPU took before the executor had it goes back, and is complete for whoever gets it next.
TEST_P(CudaClient, MessagesOfAClosedConsumerGoToOthersProcessed) {
  if (GetParam().mirror == Mirror::none) GTEST_SKIP() << "without a mirror clients without a GPU cannot reach payloads";
  START_OR_SKIP(GetParam(), 2);
  auto p = producer();
  auto taker = consumer();
  auto heir = consumer(false);
  CUstream out = gpu_->stream();
  CUstream in = gpu_->stream();
  std::uint32_t* const held_up = gate();
  wait_for(out, held_up);
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
  std::uint64_t wrong = 0;
  for (std::size_t i = 0; i < kBytes; ++i) {
    wrong += again->bytes()[i] != static_cast<std::byte>(pattern_byte(3, i) ^ GetParam().mask) ? 1 : 0;
  }
  EXPECT_EQ(wrong, 0u);
  EXPECT_TRUE(finish(in));
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
    broker_->create(queue, {.slots = 4, .slot_bytes = kBytes, .handler = handler, .backend = "host"});
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
