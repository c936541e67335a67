// The assumption that every line rests on: a 16-byte unit crosses PCIe whole, in both directions. One side writes units
// whose words follow from their tag as fast as it can, the other looks for one that is half old and half new. Shared
// memory as a queue's, pinned, and the accesses of device/memory.cuh and atomic.hpp.
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <iostream>
#include <new>
#include <optional>
#include <thread>
#include <vector>

#include "device_queues/own_gpu.hpp"
#include "device_queues/units.hpp"
#include "layout/atomic.hpp"

namespace ipcq_test {
namespace {

using namespace std::chrono_literals;
using ipcq::detail::Pair;

constexpr auto kHunt = 3s;
constexpr std::uint64_t kLimit = 20'000'000'000;  // ns after which a kernel ends by itself
constexpr std::uint64_t kEnough = 100'000;        // changes of value seen, or the hunt was none

Pair pair_of(std::uint32_t tag) {
  const auto u = make_whole(tag);
  return {u.word[0] | std::uint64_t{u.word[1]} << 32, u.word[2] | std::uint64_t{u.word[3]} << 32};
}
ipcq::device::DeviceUnit unit_of(const Pair& p) {
  return {{static_cast<std::uint32_t>(p.lo), static_cast<std::uint32_t>(p.lo >> 32), static_cast<std::uint32_t>(p.hi),
           static_cast<std::uint32_t>(p.hi >> 32)}};
}

class Tearing : public testing::Test {
 protected:
  void SetUp() override {
    try {
      gpu_.emplace();
    } catch (const ipcq::BackendError& e) {
      GTEST_SKIP() << e.what();
    }
    void* const area = ::mmap(nullptr, sizeof(Units), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(area, MAP_FAILED);
    shared_ = new (area) Units{};
    for (unsigned u = 0; u < kUnits; ++u) unit(u).store(pair_of(0), std::memory_order_release);
    pinned_ = ipcq::detail::RegisteredMemory(gpu_->context(), area, sizeof(Units), "test");
    counts_ = gpu_->allocate<UnitCounts>();
  }
  void TearDown() override {
    pinned_ = {};
    if (shared_ != nullptr) ::munmap(shared_, sizeof(Units));
  }

  ipcq::detail::Unit& unit(unsigned u) { return reinterpret_cast<ipcq::detail::Unit*>(shared_->unit)[u]; }
  Units* on_device() {
    CUdeviceptr at = 0;
    check_cuda(driver().cuMemHostGetDevicePointer(&at, shared_, 0), "cuMemHostGetDevicePointer", "test");
    return reinterpret_cast<Units*>(at);
  }
  // CPU threads do `work(first unit, end, stop)` while the kernel runs.
  template <class Work>
  UnitCounts hunt(const char* kernel, Work work) {
    gpu_->launch(gpu_->kernel(kernel), kUnits / 128, 128u, on_device(), counts_, kLimit);
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    constexpr unsigned kThreads = 2;
    for (unsigned t = 0; t < kThreads; ++t) {
      threads.emplace_back([&, t] { work(t * kUnits / kThreads, (t + 1) * kUnits / kThreads, stop); });
    }
    std::this_thread::sleep_for(kHunt);
    stop = true;
    for (auto& t : threads) t.join();
    __atomic_store_n(&shared_->stop, 1u, __ATOMIC_RELEASE);
    gpu_->synchronize();
    return gpu_->fetch(counts_);
  }

  std::optional<OwnGpu> gpu_;
  Units* shared_ = nullptr;
  UnitCounts* counts_ = nullptr;
  ipcq::detail::RegisteredMemory pinned_;
};

TEST(TearingCheck, AMixedUnitIsTold) {
  for (std::uint32_t tag = 0; tag < 1000; ++tag) {
    const auto old = make_whole(tag), next = make_whole(tag + 1);
    EXPECT_TRUE(is_whole(old));
    for (unsigned mix = 1; mix < 15; ++mix) {  // which words are new
      auto u = old;
      for (unsigned w = 0; w < 4; ++w) {
        if ((mix >> w & 1) != 0) u.word[w] = next.word[w];
      }
      EXPECT_FALSE(is_whole(u)) << tag << " mix " << mix;
    }
  }
}

TEST_F(Tearing, TheGpuSeesWholeUnitsThatTheCpuWrites) {
  const UnitCounts c = hunt("read_units", [&](unsigned first, unsigned end, std::atomic<bool>& stop) {
    for (std::uint32_t tag = 1; !stop; ++tag) {
      for (unsigned u = first; u < end; ++u) unit(u).store(pair_of(tag), std::memory_order_release);
    }
  });
  std::cout << c.seen << " changes seen\n";
  EXPECT_GT(c.seen, kEnough);
  EXPECT_EQ(c.mixed, 0u);
}

TEST_F(Tearing, TheCpuSeesWholeUnitsThatTheGpuWrites) {
  std::atomic<std::uint64_t> seen{0}, mixed{0};
  const UnitCounts c = hunt("write_units", [&](unsigned first, unsigned end, std::atomic<bool>& stop) {
    std::vector<std::uint32_t> last(end - first);
    std::uint64_t my_seen = 0, my_mixed = 0;
    while (!stop) {
      for (unsigned u = first; u < end; ++u) {
        const auto v = unit_of(unit(u).load(std::memory_order_acquire));
        if (!is_whole(v)) ++my_mixed;
        if (v.word[3] != last[u - first]) ++my_seen;
        last[u - first] = v.word[3];
      }
    }
    seen += my_seen;
    mixed += my_mixed;
  });
  std::cout << c.seen << " units written, " << seen << " changes seen\n";
  EXPECT_GT(seen, kEnough);
  EXPECT_EQ(mixed, 0u);
}

// What the hunt finds when the writer does not keep to the rule: the proof that it can.
TEST_F(Tearing, UnitsWrittenInTwoHalvesAreCaught) {
  const UnitCounts c = hunt("read_units", [&](unsigned first, unsigned end, std::atomic<bool>& stop) {
    for (std::uint32_t tag = 1; !stop; ++tag) {
      const Pair p = pair_of(tag);
      for (unsigned u = first; u < end; ++u) {
        auto& to = unit(u);
        __atomic_store_n(&to.hi, p.hi, __ATOMIC_RELEASE);
        __atomic_store_n(&to.lo, p.lo, __ATOMIC_RELEASE);
      }
    }
  });
  std::cout << c.mixed << " mixed units among " << c.seen << " changes\n";
  EXPECT_GT(c.mixed, 0u);
}

}  // namespace
}  // namespace ipcq_test
