// Own handlers on the backend that the build names: the host, or a GPU (also one that is played by the CPU).
#pragma once

#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "beside_this_test.hpp"
#include "own_handlers/own_handlers.hpp"

namespace ipcq_test {

inline constexpr bool kOnGpu = std::string_view(IPCQ_OWN_BACKEND) == "cuda";

class OnBackend : public OwnHandlers {
 protected:
  void SetUp() override {
    if (!kOnGpu) return;
    try {
      broker().create("probe", {.slots = 1, .handler = "identity", .backend = "cuda"});
    } catch (const BackendError& e) {
      GTEST_SKIP() << e.what();
    }
  }
  // scripts/gpu-check runs the tests also with handlers that are inlined from the beginning.
  static QueueOptions options(const std::string& file) {
    const char* const quick = std::getenv("IPCQ_TEST_QUICK_START");
    const bool is_inlined =
        quick != nullptr && std::string_view(quick) == "no" && file.find(".cu") != std::string::npos;
    return {.slots = 16, .size = 8192, .handler = file, .quick_start = !is_inlined, .backend = IPCQ_OWN_BACKEND};
  }
  void kill_runner() {
    const auto of_q = kOnGpu ? runners() : host_runners();
    ASSERT_EQ(of_q.size(), 1u);
    const std::uint64_t before = broker().stats().runner_deaths;
    ::kill(of_q.front(), SIGKILL);
    ASSERT_TRUE(eventually([&] { return broker().stats().runner_deaths == before + 1; }));
  }
};

// By each executor that there is.
class ByEachExecutor : public OnBackend, public testing::WithParamInterface<ExecutorKind> {
 public:
  static std::vector<ExecutorKind> all() {
    if (!kOnGpu) return {ExecutorKind::auto_};
    return {ExecutorKind::persistent, ExecutorKind::stream};
  }
  static std::string name_of(const testing::TestParamInfo<ExecutorKind>& info) {
    return kOnGpu ? std::string(to_string(info.param)) : "host";
  }

 protected:
  static QueueOptions options(const std::string& file) {
    QueueOptions o = OnBackend::options(file);
    o.executor = GetParam();
    return o;
  }
};

}  // namespace ipcq_test
