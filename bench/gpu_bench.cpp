// Catalogue: messages from one CPU process through a queue on the GPU to another, against bare loops on the same GPU.
//
//   latency/bare        one warp returns 48 bytes in four tagged units; from the first store to the sight of the last
//                       unit, in one process
//   latency/persistent  producer process, persistent kernel (identity), consumer process, both spin, one message of 48
//   latency/stream      bytes at a time; from the clock read before send() to the one read after receive(). The
//   consumer
//                       acknowledges through a shared word, which is not timed
//   inline/bare         a block of 512 threads moves 48-byte lines from ring to ring; one thread writes, one reads
//   inline/ipcq         send_many and receive_many in batches of 256 through the persistent kernel; from the first
//                       receipt to the last; delivered means received, its number checked, and released
//   bulk/bare           copy engines, 64 MiB at a time, to the GPU and back at once; the bytes of one direction
//   bulk/4k             messages of 4 KiB and 1 MiB in slots, pulled from the mirror, processed (identity) and pushed
//   bulk/1m             back; the producer writes and the consumer checks the number at both ends of each; timed as
//   bulk/1m_stream      inline/ipcq. The bytes of one direction
//
// The last lines give ratios and targets. Figures in counters: times in us, rates per second. IPCQ_BENCH_SCALE=0.1
// sends a tenth of the messages.
#include <benchmark/benchmark.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "atomic.hpp"
#include "device/queue_view.hpp"
#include "driver.hpp"
#include "ipcq/ipcq.hpp"

extern "C" const unsigned char ipcq_gpu_bench_kernels[];  // NOLINT(readability-identifier-naming)

namespace {

using namespace std::chrono_literals;
using ipcq::Status;
using ipcq::detail::check_cuda;
using ipcq::detail::driver;
using ipcq::detail::Pair;
using Clock = std::chrono::steady_clock;

constexpr std::size_t kBytes = 48;
constexpr std::size_t kBatch = 256;
constexpr unsigned kUnits = 4;  // of a bare line
constexpr unsigned kLinesLog2 = 14;
constexpr std::uint64_t kLines = 1u << kLinesLog2;
constexpr auto kPatience = 60s;  // for broker, runner and queue to come up

std::map<std::string, double> results;

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "gpu_bench: %s\n", what.c_str());
  std::_Exit(1);
}

std::size_t scaled(std::size_t count) {
  static const double scale = [] {
    const char* const text = std::getenv("IPCQ_BENCH_SCALE");
    return text != nullptr ? std::atof(text) : 1.0;
  }();
  return std::max<std::size_t>(static_cast<std::size_t>(static_cast<double>(count) * scale), 2 * kBatch);
}

std::uint64_t now_ns() {  // the same clock in every process
  return static_cast<std::uint64_t>(Clock::now().time_since_epoch().count());
}
static_assert(std::is_same_v<Clock::period, std::nano>);

// Zeroed memory that this process shares with those that it forks.
template <class T>
T* shared(std::size_t count = 1) {
  void* const p =
      mmap(nullptr, count * sizeof(T), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (p == MAP_FAILED) fail("mmap failed");
  return static_cast<T*>(p);
}

// Another process: a fork that never returns from `body`. This one never touches CUDA, which does not survive a fork.
class Peer {
 public:
  template <class Body>
  explicit Peer(Body body) : pid_(fork()) {
    if (pid_ < 0) fail("fork failed");
    if (pid_ == 0) {
      try {
        body();
      } catch (const std::exception& e) {
        fail(e.what());
      }
      std::_Exit(0);
    }
  }
  void join() {
    int status = 0;
    waitpid(pid_, &status, 0);
    if (status != 0) fail("a process of the benchmark failed");
  }

 private:
  pid_t pid_;
};

// ---- bare loops: one process that uses the GPU by itself ----

class BareGpu {
 public:
  BareGpu() {
    const auto& cu = driver();
    CUdevice device = 0;
    check_cuda(cu.cuDeviceGet(&device, 0), "cuDeviceGet", "GPU 0");
    check_cuda(cu.cuDevicePrimaryCtxRetain(&context_, device), "cuDevicePrimaryCtxRetain", "GPU 0");
    check_cuda(cu.cuCtxSetCurrent(context_), "cuCtxSetCurrent", "GPU 0");
    CUmodule module = nullptr;
    check_cuda(cu.cuModuleLoadData(&module, ipcq_gpu_bench_kernels), "cuModuleLoadData", "gpu_bench");
    check_cuda(cu.cuModuleGetFunction(&move_lines_, module, "move_lines"), "cuModuleGetFunction", "move_lines");
  }
  CUstream stream() const {
    CUstream s = nullptr;
    check_cuda(driver().cuStreamCreateWithPriority(&s, CU_STREAM_NON_BLOCKING, 0), "cuStreamCreate", "GPU 0");
    return s;
  }
  template <class T>
  T* pin(T* data, std::size_t bytes) {
    pinned_.emplace_back(context_, data, bytes, "gpu_bench");
    T* at = nullptr;
    check_cuda(driver().cuMemHostGetDevicePointer(reinterpret_cast<CUdeviceptr*>(&at), data, 0),
               "cuMemHostGetDevicePointer", "gpu_bench");
    return at;
  }
  CUdeviceptr allocate(std::size_t bytes) const {
    CUdeviceptr at = 0;
    check_cuda(driver().cuMemAlloc(&at, bytes), "cuMemAlloc", "gpu_bench");
    return at;
  }
  static void synchronize(CUstream s) {
    check_cuda(driver().cuStreamSynchronize(s), "cuStreamSynchronize", "gpu_bench");
  }
  CUfunction move_lines() const { return move_lines_; }

 private:
  CUcontext context_ = nullptr;
  CUfunction move_lines_ = nullptr;
  std::vector<ipcq::detail::RegisteredMemory> pinned_;
};

struct Rings {
  ipcq::detail::Unit in[kLines * kUnits];
  ipcq::detail::Unit out[kLines * kUnits];
  alignas(128) std::uint32_t stop;
};

// The kernel between two rings, while it lives.
class BareRings {
 public:
  BareRings(unsigned threads, std::uint32_t at_once, std::uint64_t total) : rings_(shared<Rings>()) {
    Rings* r = gpu_.pin(rings_, sizeof(Rings));
    auto* in = r->in;
    auto* out = r->out;
    const std::uint32_t* stop = &r->stop;
    std::uint32_t lines_log2 = kLinesLog2;
    void* arguments[] = {&in, &out, &lines_log2, &at_once, &total, &stop};
    stream_ = gpu_.stream();
    check_cuda(driver().cuLaunchKernel(gpu_.move_lines(), 1, 1, 1, threads, 1, 1, 0, stream_, arguments, nullptr),
               "cuLaunchKernel", "gpu_bench");
  }
  void end() {
    __atomic_store_n(&rings_->stop, 1u, __ATOMIC_RELEASE);
    BareGpu::synchronize(stream_);
  }
  void write(std::uint64_t n) {
    const auto tag = static_cast<std::uint32_t>(n >> kLinesLog2) + 1;
    for (unsigned u = 0; u < kUnits; ++u) {
      rings_->in[(n & (kLines - 1)) * kUnits + u].store({n, std::uint64_t{tag} << 32 | u}, std::memory_order_release);
    }
  }
  void await(std::uint64_t n) {
    const auto tag = static_cast<std::uint32_t>(n >> kLinesLog2) + 1;
    for (unsigned u = 0; u < kUnits; ++u) {
      Pair p;
      do {
        p = rings_->out[(n & (kLines - 1)) * kUnits + u].load(std::memory_order_acquire);
      } while (static_cast<std::uint32_t>(p.hi >> 32) != tag);
      if (p.lo != n) fail("a bare loop delivered a wrong line");
    }
  }

 private:
  BareGpu gpu_;
  Rings* rings_;
  CUstream stream_ = nullptr;
};

// ---- reports ----

void report_times(benchmark::State& state, const std::string& name, const std::uint64_t* ns, std::size_t count) {
  std::vector<std::uint64_t> sorted(ns + count / 10, ns + count);  // the first tenth warms up
  std::sort(sorted.begin(), sorted.end());
  const auto at = [&](double q) {
    return static_cast<double>(sorted[static_cast<std::size_t>(q * static_cast<double>(sorted.size() - 1))]) / 1000;
  };
  state.counters["p50_us"] = results[name] = at(0.5);
  state.counters["p99_us"] = results[name + "/p99"] = at(0.99);
  state.counters["p999_us"] = at(0.999);
  state.counters["min_us"] = at(0);
}

void report_rate(benchmark::State& state, const std::string& name, const char* counter, double rate) {
  state.counters[counter] = results[name] = rate;
}

// ---- cases ----

void latency_bare(benchmark::State& state) {
  const std::size_t count = scaled(100'000);
  auto* const ns = shared<std::uint64_t>(count);
  for (auto _ : state) {
    Peer([&] {
      BareRings rings(32, 1, ~std::uint64_t{0});
      for (std::size_t n = 0; n < count; ++n) {
        const std::uint64_t start = now_ns();
        rings.write(n);
        rings.await(n);
        ns[n] = now_ns() - start;
      }
      rings.end();
    }).join();
  }
  report_times(state, "latency/bare", ns, count);
}

// The same in every process of a run: main() calls it before the first fork.
const std::string& broker_name() {
  static const std::string name = "gpu-bench-" + std::to_string(getpid());
  return name;
}

ipcq::Session attach() { return ipcq::connect({.broker = broker_name(), .wait_for = kPatience}); }

void latency(benchmark::State& state, const char* name, ipcq::ExecutorKind executor) {
  struct Area {
    alignas(128) std::atomic<std::uint64_t> acknowledged;
  };
  const std::size_t count = scaled(executor == ipcq::ExecutorKind::stream ? 50'000 : 200'000);
  auto* const area = shared<Area>();
  auto* const ns = shared<std::uint64_t>(count);
  for (auto _ : state) {
    area->acknowledged = 0;
    Peer consumer([&] {
      auto session = attach();
      auto in = session.consumer("q", {.wait = ipcq::Wait::spin(), .wait_for = kPatience});
      for (std::size_t n = 0; n < count; ++n) {
        auto m = in.receive();
        const std::uint64_t now = now_ns();
        if (!m) fail("receive failed");
        std::uint64_t stamp = 0;
        std::memcpy(&stamp, m->bytes().data(), sizeof stamp);
        ns[n] = now - stamp;
        if (m->bytes().size() != kBytes || m->release() != Status::ok) fail("wrong message");
        area->acknowledged.store(n + 1, std::memory_order_release);
      }
    });
    Peer producer([&] {
      auto session = attach();
      auto out = session.producer("q", {.wait = ipcq::Wait::spin(), .wait_for = kPatience});
      std::byte message[kBytes] = {};
      for (std::size_t n = 0; n < count; ++n) {
        const std::uint64_t stamp = now_ns();
        std::memcpy(message, &stamp, sizeof stamp);
        if (out.send(message) != Status::ok) fail("send failed");
        while (area->acknowledged.load(std::memory_order_acquire) != n + 1) __builtin_ia32_pause();
      }
    });
    ipcq::Broker broker({.name = broker_name()});
    broker.create("q", {.slots = 0, .handler = "identity", .backend = "cuda", .executor = executor});
    producer.join();
    consumer.join();
  }
  report_times(state, name, ns, count);
}

void latency_persistent(benchmark::State& state) {
  latency(state, "latency/persistent", ipcq::ExecutorKind::persistent);
}
void latency_stream(benchmark::State& state) { latency(state, "latency/stream", ipcq::ExecutorKind::stream); }

void inline_bare(benchmark::State& state) {
  const std::size_t count = scaled(20'000'000);
  auto* const rate = shared<double>();
  for (auto _ : state) {
    Peer([&] {
      BareRings rings(512, 8, count);
      std::atomic<std::uint64_t> read{0};
      std::thread reader([&] {
        Clock::time_point start;
        for (std::uint64_t n = 0; n < count; ++n) {
          rings.await(n);
          if (n == 0) start = Clock::now();
          if (n % 256 == 255) read.store(n + 1, std::memory_order_release);
        }
        *rate = static_cast<double>(count) / std::chrono::duration<double>(Clock::now() - start).count();
      });
      std::uint64_t limit = kLines;
      for (std::uint64_t n = 0; n < count; ++n) {
        while (n >= limit) limit = read.load(std::memory_order_acquire) + kLines;
        rings.write(n);
      }
      reader.join();
      rings.end();
    }).join();
  }
  report_rate(state, "inline/bare", "messages_per_s", *rate);
}

void inline_ipcq(benchmark::State& state) {
  const std::size_t count = scaled(20'000'000) / kBatch * kBatch;
  auto* const rate = shared<double>();
  for (auto _ : state) {
    Peer consumer([&] {
      auto session = attach();
      auto in = session.consumer("q", {.wait = ipcq::Wait::spin(), .wait_for = kPatience});
      std::vector<ipcq::Message> batch(kBatch);
      Clock::time_point start;
      for (std::size_t n = 0; n < count;) {
        const auto got = in.receive_many(batch);
        if (got.status != Status::ok) fail("receive failed");
        if (n == 0) start = Clock::now();
        for (std::size_t i = 0; i < got.count; ++i, ++n) {
          if (std::memcmp(batch[i].bytes().data(), &n, sizeof n) != 0) fail("wrong message");
          if (batch[i].release() != Status::ok) fail("release failed");
        }
      }
      *rate = static_cast<double>(count) / std::chrono::duration<double>(Clock::now() - start).count();
    });
    Peer producer([&] {
      auto session = attach();
      auto out = session.producer("q", {.wait = ipcq::Wait::spin(), .wait_for = kPatience});
      std::vector<std::byte> bytes(kBatch * kBytes);
      std::vector<std::span<const std::byte>> batch;
      for (std::size_t i = 0; i < kBatch; ++i) batch.emplace_back(bytes.data() + i * kBytes, kBytes);
      for (std::size_t n = 0; n < count; n += kBatch) {
        for (std::size_t i = 0; i < kBatch; ++i) {
          const std::size_t number = n + i;
          std::memcpy(bytes.data() + i * kBytes, &number, sizeof number);
        }
        if (out.send_many(batch).status != Status::ok) fail("batch not sent");
      }
    });
    ipcq::Broker broker({.name = broker_name()});
    broker.create("q", {.slots = 0,
                        .lines = kLines,
                        .handler = "identity",
                        .backend = "cuda",
                        .executor = ipcq::ExecutorKind::persistent,
                        .held_per_consumer = kBatch});
    producer.join();
    consumer.join();
  }
  report_rate(state, "inline/ipcq", "messages_per_s", *rate);
}

void bulk_bare(benchmark::State& state) {
  constexpr std::size_t kBlock = 64u << 20;
  constexpr unsigned kTimes = 20;
  auto* const rate = shared<double>();
  for (auto _ : state) {
    Peer([&] {
      BareGpu gpu;
      std::byte* const up = shared<std::byte>(kBlock);
      std::byte* const down = shared<std::byte>(kBlock);
      (void)gpu.pin(up, kBlock), (void)gpu.pin(down, kBlock);
      const CUdeviceptr to = gpu.allocate(kBlock), from = gpu.allocate(kBlock);
      const CUstream streams[] = {gpu.stream(), gpu.stream()};
      Clock::time_point start;
      for (unsigned n = 0; n <= kTimes; ++n) {
        check_cuda(driver().cuMemcpyHtoDAsync(to, up, kBlock, streams[0]), "cuMemcpyHtoDAsync", "gpu_bench");
        check_cuda(driver().cuMemcpyDtoHAsync(down, from, kBlock, streams[1]), "cuMemcpyDtoHAsync", "gpu_bench");
        if (n != 0) continue;  // warms up
        for (const CUstream s : streams) BareGpu::synchronize(s);
        start = Clock::now();
      }
      for (const CUstream s : streams) BareGpu::synchronize(s);
      *rate = static_cast<double>(kBlock) * kTimes / std::chrono::duration<double>(Clock::now() - start).count();
    }).join();
  }
  report_rate(state, "bulk/bare", "bytes_per_s", *rate);
}

void bulk(benchmark::State& state, const char* name, std::size_t bytes, std::size_t messages,
          ipcq::ExecutorKind executor) {
  const std::size_t count = scaled(messages);
  auto* const rate = shared<double>();
  for (auto _ : state) {
    Peer consumer([&] {
      auto session = attach();
      auto in = session.consumer("q", {.wait = ipcq::Wait::spin(), .wait_for = kPatience});
      Clock::time_point start;
      for (std::size_t n = 0; n < count; ++n) {
        auto m = in.receive();
        if (!m || m->bytes().size() != bytes) fail("receive failed");
        if (n == 0) start = Clock::now();
        const std::byte* const data = m->bytes().data();
        if (std::memcmp(data, &n, sizeof n) != 0 || std::memcmp(data + bytes - sizeof n, &n, sizeof n) != 0) {
          fail("wrong message");
        }
      }
      const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
      *rate = static_cast<double>(count - 1) * static_cast<double>(bytes) / seconds;
    });
    Peer producer([&] {
      auto session = attach();
      auto out = session.producer("q", {.wait = ipcq::Wait::spin(), .wait_for = kPatience});
      for (std::size_t n = 0; n < count; ++n) {
        auto loan = out.loan();
        if (!loan) fail("no loan");
        std::memcpy(loan->bytes().data(), &n, sizeof n);
        std::memcpy(loan->bytes().data() + bytes - sizeof n, &n, sizeof n);
        if (loan->publish(bytes) != Status::ok) fail("not published");
      }
    });
    ipcq::Broker broker({.name = broker_name()});
    broker.create("q", {.slots = bytes < 65536 ? 1024u : 64u,
                        .slot_bytes = bytes,
                        .handler = "identity",
                        .backend = "cuda",
                        .executor = executor});
    producer.join();
    consumer.join();
  }
  report_rate(state, name, "bytes_per_s", *rate);
}

void bulk_4k(benchmark::State& state) { bulk(state, "bulk/4k", 4096, 400'000, ipcq::ExecutorKind::persistent); }
void bulk_1m(benchmark::State& state) { bulk(state, "bulk/1m", 1u << 20, 20'000, ipcq::ExecutorKind::persistent); }
void bulk_1m_stream(benchmark::State& state) {
  bulk(state, "bulk/1m_stream", 1u << 20, 20'000, ipcq::ExecutorKind::stream);
}

// ---- the last lines ----

bool has(const char* name) { return results.count(name) != 0 && results[name] != 0; }

void print_ratio(const char* text, const char* above, const char* below) {
  if (has(above) && has(below)) std::printf("%-62s %8.3f\n", text, results[above] / results[below]);
}

void print_figure(const char* text, const char* name, double unit, const char* unit_name) {
  if (has(name)) std::printf("%-62s %8.2f %s\n", text, results[name] / unit, unit_name);
}

void print_target(const char* text, const char* name, double target_us) {
  if (!has(name)) return;
  std::printf("%-62s %8.2f us   (target below %.1f: %s)\n", text, results[name], target_us,
              results[name] < target_us ? "met" : "MISSED");
}

// First line of a file, or of what a command says.
std::string first_line(std::FILE* file, int (*close)(std::FILE*)) {
  char line[256] = {};
  if (file == nullptr) return "unknown";
  const bool read = std::fgets(line, sizeof line, file) != nullptr;
  close(file);
  line[std::strcspn(line, "\n")] = '\0';
  return read ? line : "unknown";
}

std::string cpu_model() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string commit() {
  if (const char* const given = std::getenv("IPCQ_COMMIT"); given != nullptr && *given != '\0') return given;
  return first_line(popen("git rev-parse --short HEAD 2>/dev/null", "r"), pclose);
}

// What the broker says of its runner: "GPU 0 (NVIDIA H200): runner pid 77, under MPS".
std::string describe_gpu() {
  std::string said;
  try {
    ipcq::Broker broker({.name = broker_name(), .log = [&](ipcq::LogLevel, std::string_view text) {
                           if (text.find("runner pid") != std::string_view::npos) said = text;
                         }});
    broker.create("q", {.slots = 0, .handler = "identity", .backend = "cuda"});
  } catch (const std::exception& e) {
    fail(e.what());
  }
  return said;
}

}  // namespace

BENCHMARK(latency_bare)->Name("latency/bare")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(latency_persistent)->Name("latency/persistent")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(latency_stream)->Name("latency/stream")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(inline_bare)->Name("inline/bare")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(inline_ipcq)->Name("inline/ipcq")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(bulk_bare)->Name("bulk/bare")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(bulk_4k)->Name("bulk/4k")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(bulk_1m)->Name("bulk/1m")->Iterations(1)->Unit(benchmark::kMillisecond);
BENCHMARK(bulk_1m_stream)->Name("bulk/1m_stream")->Iterations(1)->Unit(benchmark::kMillisecond);

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 2;
  const std::string gpu = describe_gpu();
  benchmark::AddCustomContext("cpu", cpu_model());
  benchmark::AddCustomContext("gpu", gpu.substr(0, gpu.find(": runner")));
  benchmark::AddCustomContext("driver", first_line(std::fopen("/proc/driver/nvidia/version", "re"), std::fclose));
  benchmark::AddCustomContext("mps", gpu.find("under MPS") != std::string::npos ? "yes" : "no");
  benchmark::AddCustomContext("ipcq", std::string(ipcq::kVersion) + ", ABI " + std::to_string(ipcq::kAbiVersion));
  benchmark::AddCustomContext("commit", commit());
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  print_target("48 B, process to process through the persistent kernel, p50", "latency/persistent", 6.0);
  print_figure("48 B, process to process through the stream executor, p50", "latency/stream", 1, "us");
  print_figure("48 B, bare round trip through one warp, p50", "latency/bare", 1, "us");
  print_ratio("48 B p50: persistent / bare", "latency/persistent", "latency/bare");
  print_ratio("48 B p50: stream / bare", "latency/stream", "latency/bare");
  print_figure("48 B messages through the persistent kernel", "inline/ipcq", 1e6, "M/s");
  print_ratio("48 B messages: ipcq / bare block", "inline/ipcq", "inline/bare");
  print_figure("4 KiB messages, there and back", "bulk/4k", 1e9, "GB/s each way");
  print_figure("1 MiB messages, there and back", "bulk/1m", 1e9, "GB/s each way");
  print_ratio("4 KiB: ipcq / copy engines", "bulk/4k", "bulk/bare");
  print_ratio("1 MiB: ipcq / copy engines", "bulk/1m", "bulk/bare");
  print_ratio("1 MiB, stream executor: ipcq / copy engines", "bulk/1m_stream", "bulk/bare");
  return 0;
}
