// Queues that are busy all the time and cannot all have their kernels on the GPU at once: for want of hardware queues,
// or of multiprocessors. Each of them goes on.
#include "device_queues/traffic.hpp"

namespace ipcq_test {
namespace {

// What the next runner finds in its environment; as it was when the scope ends.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    if (const char* before = std::getenv(name)) before_ = before;
    ::setenv(name, value, 1);
  }
  ~Environment() {
    if (before_) {
      ::setenv(name_, before_->c_str(), 1);
    } else {
      ::unsetenv(name_);
    }
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> before_;
};

class GpuArbiter : public GpuTest {
 protected:
  struct Kind {
    ExecutorKind executor;
    std::uint32_t slot_bytes;
  };
  void run_all(const std::vector<Kind>& kinds) {
    std::vector<std::unique_ptr<Traffic>> all;
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      QueueOptions o = on_gpu("invert", kinds[i].executor);
      o.slots = 4;
      o.size = kinds[i].slot_bytes;
      std::string name = std::to_string(i);
      name.insert(0, 1, 'q');
      broker_->create(name, o);
      all.push_back(std::make_unique<Traffic>(*session_, name, o.size));
    }
    for (int round = 0; round < 3; ++round) {
      std::vector<std::uint64_t> before;
      for (const auto& t : all) before.push_back(t->received());
      for (std::size_t i = 0; i < all.size(); ++i) {
        EXPECT_TRUE(eventually([&] { return all[i]->received() >= before[i] + 20; }))
            << "round " << round << ": queue " << i << " stands at " << all[i]->received() << " from " << before[i];
      }
    }
    for (auto& t : all) t->end();
    for (auto& t : all) {
      EXPECT_EQ(t->receiver_ended(), Status::end);
      EXPECT_EQ(t->received(), t->sent());
      EXPECT_EQ(t->wrong(), 0u);
    }
  }
};

constexpr std::uint32_t kBusy = 256 * 1024;

TEST_F(GpuArbiter, WithOneHardwareQueueForAll) {
  const Environment one("CUDA_DEVICE_MAX_CONNECTIONS", "1");
  run_all({{ExecutorKind::persistent, kBusy},
           {ExecutorKind::persistent, kBusy},
           {ExecutorKind::persistent, kBusy},
           {ExecutorKind::stream, kBusy}});
}

TEST_F(GpuArbiter, WithAsManyHardwareQueuesAsTheDriverGives) {
  run_all({{ExecutorKind::persistent, kBusy},
           {ExecutorKind::stream, kBusy},
           {ExecutorKind::persistent, kBusy},
           {ExecutorKind::persistent, kBusy},
           {ExecutorKind::persistent, kBusy}});
}

// Each kernel wants half of the multiprocessors, twice over.
TEST_F(GpuArbiter, OfKernelsThatDoNotFitTogether) {
  run_all(std::vector<Kind>(6, {ExecutorKind::persistent, 3u << 20}));
}

}  // namespace
}  // namespace ipcq_test
