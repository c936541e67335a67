// The fixture of the tests of clients with a GPU: each test has a broker of its own, and so a runner. Every wait is
// bounded by kBound.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "driver.hpp"
#include "eventually.hpp"
#include "ipcq/cuda.hpp"
#include "ipcq/ipcq.hpp"
#include "pattern.hpp"
#include "spawn.hpp"

extern "C" const unsigned char ipcq_test_kernels[];

namespace ipcq_test {

using namespace ipcq;
using namespace std::chrono_literals;
using ipcq::detail::check_cuda;
using ipcq::detail::driver;

constexpr Duration kMoment = 50ms;
constexpr std::size_t kBytes = 64 * 1024;
constexpr unsigned kNoStatus = 0xff;

// GPU 0 as this process uses it, with the kernels of kernels.cu. Made once, never destroyed.
class Gpu {
 public:
  static Gpu& get() {
    static auto* const gpu = new Gpu;  // a failed attempt throws
    return *gpu;
  }
  // Makes another one, after a reset.
  static Gpu* make() { return new Gpu; }
  CUcontext context() const { return context_; }

  // An idle stream of context(), the caller's until the test ends. Created before any stream waits, because the driver
  // may keep a call that creates one until such a wait has ended.
  CUstream stream() {
    const std::scoped_lock lock(mutex_);
    if (idle_.empty()) throw std::logic_error("a test uses more streams than Gpu has created");
    lent_.push_back(idle_.back());
    idle_.pop_back();
    return lent_.back();
  }
  // A new stream of the context that is current, for which kernels have to be loaded anew.
  static CUstream stream_of_current_context() {
    CUstream s = nullptr;
    check_cuda(create_stream(s), "cuStreamCreateWithPriority", "test");
    return s;
  }
  // Between tests. Streams that are not idle, or that a capture has spoilt, are replaced; none is if the context has
  // failed, which is then the test's subject.
  void take_streams_back() noexcept {
    const std::scoped_lock lock(mutex_);
    for (CUstream& s : lent_) {
      if (driver().cuStreamQuery(s) == CUDA_SUCCESS || create_stream(s) == CUDA_SUCCESS) idle_.push_back(s);
    }
    lent_.clear();
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
  void check_payload(CUstream s, const cuda::Payload& p, std::uint64_t seed, unsigned mask, unsigned number,
                     Findings* f) {
    launch(check_payload_, 16, s, p, seed, mask, number, f);
  }
  void fill_tensor(CUstream s, std::byte* data, std::uint32_t count, std::uint64_t seed) {
    launch(fill_tensor_, 16, s, data, count, seed);
  }
  void check_tensor(CUstream s, const cuda::Payload& p, const Tensor& beside, std::uint64_t seed, unsigned mask,
                    Findings* f) {
    launch(check_tensor_, 16, s, p, beside, seed, mask, f);
  }
  void scribble(CUstream s, std::byte* data, std::size_t bytes, std::uint64_t ns, std::uint32_t* begun) {
    launch(scribble_, 16, s, data, std::uint64_t{bytes}, ns, begun);
  }
  void spin(CUstream s, std::uint64_t ns) { launch(spin_, 1, s, ns); }

 private:
  Gpu() {
    // Several streams of a test wait at once, each in a hardware queue of its own; under MPS the default is two a
    // process. The runners that tests start have an environment with fewer, and start faster.
    ::setenv("CUDA_DEVICE_MAX_CONNECTIONS", "32", 1);
    const auto& cu = driver();
    CUdevice device = 0;
    check_cuda(cu.cuDeviceGet(&device, 0), "cuDeviceGet", "GPU 0");
    check_cuda(cu.cuDevicePrimaryCtxRetain(&context_, device), "cuDevicePrimaryCtxRetain", "GPU 0");
    check_cuda(cu.cuCtxSetCurrent(context_), "cuCtxSetCurrent", "GPU 0");
    ::unsetenv("CUDA_DEVICE_MAX_CONNECTIONS");
    CUmodule module = nullptr;
    check_cuda(cu.cuModuleLoadData(&module, ipcq_test_kernels), "cuModuleLoadData", "test kernels");
    const auto find = [&](CUfunction& f, const char* name) {
      check_cuda(cu.cuModuleGetFunction(&f, module, name), "cuModuleGetFunction", name);
    };
    find(fill_, "fill");
    find(check_, "check");
    find(check_header_, "check_header");
    find(check_payload_, "check_payload");
    find(fill_tensor_, "fill_tensor");
    find(check_tensor_, "check_tensor");
    find(scribble_, "scribble");
    find(spin_, "spin");
    constexpr unsigned kStreams = 24;
    idle_.resize(kStreams);
    for (CUstream& s : idle_) check_cuda(create_stream(s), "cuStreamCreateWithPriority", "test");
  }
  static CUresult create_stream(CUstream& s) noexcept {
    return driver().cuStreamCreateWithPriority(&s, CU_STREAM_NON_BLOCKING, 0);
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
  CUfunction check_payload_ = nullptr;
  CUfunction fill_tensor_ = nullptr;
  CUfunction check_tensor_ = nullptr;
  CUfunction scribble_ = nullptr;
  CUfunction spin_ = nullptr;
  std::mutex mutex_;
  std::vector<CUstream> idle_;
  std::vector<CUstream> lent_;
};

// The number of bytes of a message, as the CPU reads it, that differ from those of fill(); a wrong length counts as
// one.
inline std::uint64_t wrong_bytes(const Message& m, std::size_t length, std::uint64_t seed, unsigned mask) {
  std::uint64_t wrong = m.bytes().size() != length ? 1 : 0;
  for (std::size_t i = 0; i < m.bytes().size(); ++i) {
    wrong += m.bytes()[i] != static_cast<std::byte>(pattern_byte(seed, i) ^ mask) ? 1 : 0;
  }
  return wrong;
}

// A kind of queue.
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
inline void PrintTo(const Kind& k, std::ostream* out) { *out << k.name; }

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
    if (broker_pid_ > 0) kill_broker();
    session_.reset();
    if (gpu_ != nullptr) gpu_->take_streams_back();
    if (killed_) Broker({.name = name_});  // removes what the killed one left
  }

  // Starts a broker in the test's process, with one queue "q". False where this machine cannot; the test is skipped.
  bool start(Kind kind, std::uint32_t slots, std::vector<GroupOptions> groups = {GroupOptions{}}) {
    const bool can = start({.slots = slots,
                            .size = kBytes,
                            .handler = kind.handler,
                            .backend = "cuda",
                            .mirror = kind.mirror,
                            .groups = std::move(groups),
                            .held = 64});
    EXPECT_TRUE(!can || eventually([this] { return runner_told_.load(); }));
    return can;
  }
  bool start(const QueueOptions& options) {
    broker_.emplace(BrokerOptions{.name = name_, .log = log()});
    try {
      broker_->create("q", options);
    } catch (const BackendError& e) {
      if (std::string(e.what()).find("runner") == std::string::npos) throw;
      skip_ = e.what();
      return false;
    }
    session_.emplace(connect({.broker = name_, .wait_for = kBound, .log = log()}));
    return true;
  }
  // The same with the broker in a process of its own, which a test can kill.
  void start_process(const std::string& queue) {
    const char* const bin = std::getenv("IPCQ_BIN_DIR");
    ASSERT_NE(bin, nullptr) << "IPCQ_BIN_DIR is not set";
    broker_pid_ = spawn_program({std::string(bin) + "/ipcq-broker", "--name", name_, "--queue", queue});
    ASSERT_GT(broker_pid_, 0);
    session_.emplace(connect({.broker = name_, .wait_for = kBound, .log = log()}));
  }
  void start_process_like(Kind kind) {
    session_.reset();
    broker_.reset();
    start_process("q=64KiB,slots=2,backend=cuda,mirror=" + std::string(kind.mirror == Mirror::full ? "full" : "none") +
                  (*kind.handler != '\0' ? std::string(",handler=") + kind.handler : std::string()));
  }
  void kill_broker() {
    ::kill(broker_pid_, SIGKILL);
    ::waitpid(broker_pid_, nullptr, 0);
    broker_pid_ = 0;
    killed_ = true;
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

  // Receives ahead, and has a kernel of the stream read the message once it is there: it writes status(number).
  Result<cuda::Message> check_ahead(Consumer& c, CUstream s, unsigned number, std::uint64_t seed = 0) {
    auto m = cuda::receive_ahead(c, s);
    if (m) gpu_->check_header(s, m->header(), seed, GetParam().mask, number, findings_);
    return m;
  }

  static bool is_done(CUstream s) { return driver().cuStreamQuery(s) == CUDA_SUCCESS; }
  // Waits until the stream is idle; false after kBound.
  static bool finish(CUstream s) {
    return eventually([s] { return is_done(s); });
  }
  // Once the stream is done: its kernels have read so many messages, each byte as it was to be.
  void expect_read(CUstream s, std::uint64_t messages) const {
    ASSERT_TRUE(finish(s));
    EXPECT_EQ(findings_->messages, messages);
    EXPECT_EQ(findings_->wrong_bytes, 0u);
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
  // The same for a word of its own, which it returns.
  std::uint32_t* hold_up(CUstream s) {
    std::uint32_t* const word = gate();
    wait_for(s, word);
    return word;
  }
  // Enqueues nearly as many operations as the stream takes while it waits (1020 on an H200, driver 580).
  void fill_up(CUstream s) {
    constexpr unsigned kNearlyFull = 1000;
    const auto word = reinterpret_cast<CUdeviceptr>(gate());
    for (unsigned n = 0; n < kNearlyFull; ++n) {
      check_cuda(driver().cuStreamWriteValue64(s, word, n, CU_STREAM_WRITE_VALUE_DEFAULT), "cuStreamWriteValue64",
                 "test");
    }
  }
  static void open(std::uint32_t* word) { __atomic_store_n(word, 1u, __ATOMIC_RELEASE); }

  void clear_findings() {
    std::memset(findings_, 0, sizeof *findings_);
    for (auto& s : findings_->status) s = kNoStatus;
  }
  Status status(unsigned number) const { return static_cast<Status>(findings_->status[number]); }

  LogCallback log() {
    return [this](LogLevel level, std::string_view text) {
      if (text.find(", under MPS") != text.npos) under_mps_ = true;
      if (text.find(", under MPS") != text.npos || text.find(", without MPS") != text.npos) runner_told_ = true;
      if (level >= LogLevel::warning) std::fprintf(stderr, "log: %.*s\n", static_cast<int>(text.size()), text.data());
    };
  }

  Gpu* gpu_ = nullptr;
  Findings* findings_ = nullptr;
  std::string name_;
  std::string skip_;
  std::atomic<bool> under_mps_{false};    // from the broker's log, once its runner is up
  std::atomic<bool> runner_told_{false};  // the log has named the runner; its callback runs in a thread of its own
  std::optional<Broker> broker_;
  pid_t broker_pid_ = 0;
  bool killed_ = false;
  std::optional<Session> session_;
};

#define START_OR_SKIP(...) \
  if (!start(__VA_ARGS__)) GTEST_SKIP() << skip_

inline std::string kind_name(const testing::TestParamInfo<Kind>& info_) { return info_.param.name; }

}  // namespace ipcq_test
