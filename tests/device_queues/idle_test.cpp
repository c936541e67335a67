// What a queue that has nothing to do costs others on its GPU: the launch of a small kernel by another process (this
// one), on an empty GPU and beside a queue that is idle. Beside a busy one it is printed, not judged: without MPS that
// is a time slice.
#include <algorithm>
#include <vector>

#include "device_queues/gpu_test.hpp"
#include "device_queues/own_gpu.hpp"

namespace ipcq_test {
namespace {

class GpuIdle : public GpuTest, public testing::WithParamInterface<ExecutorKind> {};
INSTANTIATE_TEST_SUITE_P(, GpuIdle, testing::Values(ExecutorKind::persistent, ExecutorKind::stream),
                         [](const auto& info_) { return name_of(info_.param); });

// Best median of several rounds: the machine's own unrest is not the matter.
double launch_us(const OwnGpu& gpu, CUfunction kernel, std::uint32_t* word, unsigned launches, unsigned rounds) {
  double best = 1e9;
  for (unsigned r = 0; r < rounds; ++r) {
    std::vector<double> us;
    for (unsigned n = 0; n < launches; ++n) {
      const auto start = std::chrono::steady_clock::now();
      gpu.launch(kernel, 1, 32u, word);
      gpu.synchronize();
      us.push_back(std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count());
    }
    std::nth_element(us.begin(), us.begin() + us.size() / 2, us.end());
    best = std::min(best, us[us.size() / 2]);
  }
  return best;
}

TEST_P(GpuIdle, OthersWorkAsOnAnEmptyGpu) {
  constexpr double kAtMost = 1.5;
  const OwnGpu gpu;
  const CUfunction kernel = gpu.kernel("tiny");
  auto* const word = gpu.allocate<std::uint32_t>();
  (void)launch_us(gpu, kernel, word, 200, 1);
  const double empty = launch_us(gpu, kernel, word, 500, 5);

  broker_->create("q", on_gpu("identity", GetParam()));
  auto p = session_->producer("q");
  auto c = session_->consumer("q");
  ASSERT_EQ(p.send("x", 1, kBound), Status::ok);
  ASSERT_TRUE(c.receive(kBound));
  if (GetParam() == ExecutorKind::persistent) {
    ASSERT_TRUE(eventually([&] { return stats().parked; }));
  }
  const double idle = launch_us(gpu, kernel, word, 500, 5);

  std::atomic<bool> stop{false};
  std::thread traffic([&] {
    while (!stop) {
      if (p.send("x", 1, kBound) != Status::ok || !c.receive(kBound)) break;
    }
  });
  const double busy = launch_us(gpu, kernel, word, 50, 1);
  stop = true;
  traffic.join();
  std::cout << "launch and wait: empty " << empty << " us, beside an idle queue " << idle << " us, beside a busy one "
            << busy << " us\n";
  RecordProperty("empty_us", std::to_string(empty));
  RecordProperty("idle_us", std::to_string(idle));
  RecordProperty("busy_us", std::to_string(busy));
  EXPECT_LE(idle, kAtMost * empty);
}

}  // namespace
}  // namespace ipcq_test
