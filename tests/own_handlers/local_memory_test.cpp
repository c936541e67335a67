// A handler that needs more memory for its own variables than any kernel before it: the driver makes room for that when
// it first launches such a kernel, which must not wait for the kernels of queues that are busy.
#include <atomic>
#include <thread>

#include "own_handlers/on_backend.hpp"

namespace ipcq_test {
namespace {

class LocalMemoryTest : public ByEachExecutor {
 protected:
  // Reverses each run of 4096 bytes by way of an array that cannot be in registers.
  std::string reverses() const {
    return full("reverses.cu", R"(    constexpr std::uint64_t kRun = 4096;
    unsigned char run[kRun];
    for (std::uint64_t begin = team.rank() * kRun; begin < m.length; begin += team.size() * kRun) {
      const std::uint64_t n = m.length - begin < kRun ? m.length - begin : kRun;
      for (std::uint64_t i = 0; i < n; ++i) run[i] = static_cast<unsigned char>(m.data[begin + i]);
      for (std::uint64_t i = 0; i < n; ++i) m.data[begin + i] = static_cast<std::byte>(run[n - 1 - i]);
    })");
  }
  void keep_busy() {
    QueueOptions o;
    o.slots = 1;
    o.handler = "invert";
    o.backend = IPCQ_OWN_BACKEND;
    o.executor = kOnGpu ? ExecutorKind::persistent : ExecutorKind::auto_;
    broker().create("busy", o);
    traffic_ = std::thread([this] {
      auto c = session().consumer("busy");
      auto p = session().producer("busy");
      while (!stop_.load()) {
        EXPECT_EQ(p.send("abc", 3, kBound), Status::ok);
        const auto m = c.receive(kBound);
        ASSERT_TRUE(m) << to_string(m.status());
        ++exchanged_;
      }
    });
    ASSERT_TRUE(eventually([this] { return exchanged_.load() > 0; }));
  }
  void TearDown() override {
    stop_.store(true);
    if (traffic_.joinable()) traffic_.join();
  }

  std::thread traffic_;
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> exchanged_{0};
};
INSTANTIATE_TEST_SUITE_P(Executors, LocalMemoryTest, testing::ValuesIn(ByEachExecutor::all()), ByEachExecutor::name_of);

TEST_P(LocalMemoryTest, BeginsBesideAQueueThatIsBusy) {
  keep_busy();
  broker().create("q", options(reverses()));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  EXPECT_EQ(text_of(*exchange(p, c, "abc")), "cba");
  EXPECT_EQ(text_of(*exchange(p, c, std::string(4096, 'a') + "bc")), std::string(4096, 'a') + "cb");
  const std::uint64_t before = exchanged_.load();
  EXPECT_TRUE(eventually([&] { return exchanged_.load() > before; }));
  EXPECT_EQ(broker().stats().runner_deaths, 0u);
}

}  // namespace
}  // namespace ipcq_test
