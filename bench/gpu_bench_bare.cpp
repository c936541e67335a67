// Bare loops: one process that uses the GPU by itself.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <thread>
#include <vector>

#include "common/clock.hpp"
#include "common/peer.hpp"
#include "driver.hpp"
#include "gpu_bench.hpp"
#include "gpu_client.hpp"
#include "layout/atomic.hpp"

extern "C" const unsigned char ipcq_gpu_bench_kernels[];  // NOLINT(readability-identifier-naming)

namespace ipcq::bench {

namespace {

using detail::check_cuda;
using detail::driver;
using detail::Pair;

constexpr unsigned kUnits = 4;  // of a line

class BareGpu {
 public:
  BareGpu() : context_(use_gpu()) {
    const auto& cu = driver();
    CUmodule module = nullptr;
    check_cuda(cu.cuModuleLoadData(&module, ipcq_gpu_bench_kernels), "cuModuleLoadData", "gpu_bench");
    check_cuda(cu.cuModuleGetFunction(&move_lines_, module, "move_lines"), "cuModuleGetFunction", "move_lines");
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
  CUfunction move_lines() const { return move_lines_; }

 private:
  CUcontext context_;
  CUfunction move_lines_ = nullptr;
  std::vector<detail::RegisteredMemory> pinned_;
};

struct Rings {
  detail::Unit in[kLines * kUnits];
  detail::Unit out[kLines * kUnits];
  alignas(128) std::uint32_t stop;
};

// The kernel between two rings, while it lives.
class BareRings {
 public:
  BareRings(unsigned threads, std::uint32_t at_once, std::uint64_t total) {
    Rings* r = gpu_.pin(rings_.get(), sizeof(Rings));
    auto* in = r->in;
    auto* out = r->out;
    const std::uint32_t* stop = &r->stop;
    std::uint32_t lines_log2 = kLinesLog2;
    void* arguments[] = {&in, &out, &lines_log2, &at_once, &total, &stop};
    stream_ = make_stream();
    check_cuda(driver().cuLaunchKernel(gpu_.move_lines(), 1, 1, 1, threads, 1, 1, 0, stream_, arguments, nullptr),
               "cuLaunchKernel", "gpu_bench");
  }
  void end() {
    __atomic_store_n(&rings_->stop, 1u, __ATOMIC_RELEASE);
    synchronize(stream_);
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
  SharedMemory<Rings> rings_;  // before the GPU, which lets go of it first
  BareGpu gpu_;
  CUstream stream_ = nullptr;
};

}  // namespace

void latency_bare(benchmark::State& state) {
  const std::size_t count = scaled(100'000);
  const SharedMemory<std::uint64_t> ns(count);
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
  report_latency(state, "latency/bare", ns.values());
}

void inline_bare(benchmark::State& state) {
  const std::size_t count = scaled(20'000'000);
  const SharedMemory<double> rate;
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
        *rate = static_cast<double>(count) / seconds_since(start);
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
  report_figure(state, "inline/bare", "messages_per_s", *rate);
}

void bulk_bare(benchmark::State& state) {
  constexpr std::size_t kBlock = 64u << 20;
  constexpr unsigned kTimes = 20;
  const SharedMemory<double> rate;
  for (auto _ : state) {
    Peer([&] {
      const SharedMemory<std::byte> up(kBlock), down(kBlock);
      BareGpu gpu;
      (void)gpu.pin(up.get(), kBlock), (void)gpu.pin(down.get(), kBlock);
      const CUdeviceptr to = gpu.allocate(kBlock), from = gpu.allocate(kBlock);
      const CUstream streams[] = {make_stream(), make_stream()};
      Clock::time_point start;
      for (unsigned n = 0; n <= kTimes; ++n) {
        check_cuda(driver().cuMemcpyHtoDAsync(to, up.get(), kBlock, streams[0]), "cuMemcpyHtoDAsync", "gpu_bench");
        check_cuda(driver().cuMemcpyDtoHAsync(down.get(), from, kBlock, streams[1]), "cuMemcpyDtoHAsync", "gpu_bench");
        if (n != 0) continue;  // warms up
        for (const CUstream s : streams) synchronize(s);
        start = Clock::now();
      }
      for (const CUstream s : streams) synchronize(s);
      *rate = static_cast<double>(kBlock) * kTimes / seconds_since(start);
    }).join();
  }
  report_figure(state, "bulk/bare", "bytes_per_s", *rate);
}

}  // namespace ipcq::bench
