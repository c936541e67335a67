#include "protocol/asymmetric_fence.hpp"

#include <gtest/gtest.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstddef>
#include <string>
#include <string_view>
#include <thread>

#include "ipcq/ipcq.hpp"
#include "protocol/doorbell.hpp"

namespace ipcq::detail {
namespace {

constexpr int kNoSeccomp = 77;
constexpr unsigned kWatchdogSeconds = 60;

// From now on membarrier fails with `error` in this process. False where that cannot be had.
bool refuse_membarrier(int error) {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<std::uint32_t>(error)),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{sizeof program / sizeof *program, program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

// Runs `body` in a child, for which membarrier was registered and then fails. Its exit status; 128 + signal if killed.
int in_child_without_membarrier(int error, int (*body)()) {
  const pid_t child = fork();
  if (child == 0) {
    alarm(kWatchdogSeconds);
    _exit(refuse_membarrier(error) ? body() : kNoSeccomp);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

class FenceWithoutMembarrier : public testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    if (!has_membarrier()) GTEST_SKIP() << "membarrier is not to be had here at all";
  }
  static void expect_success(int (*body)()) {
    const int status = in_child_without_membarrier(GetParam(), body);
    if (status == kNoSeccomp) GTEST_SKIP() << "no seccomp filter can be installed here";
    EXPECT_EQ(status, 0);
  }
};

TEST(Fence, HoldsWhereMembarrierIsToBeHad) { EXPECT_EQ(sleeper_fence(), has_membarrier()); }

TEST_P(FenceWithoutMembarrier, SaysThatItDoesNotHold) {
  expect_success([] { return sleeper_fence() ? 1 : 0; });
}

// A publisher that has not seen that somebody sleeps rings nothing. The sleeper must find its message all the same, and
// not by the look that it takes every five seconds as a last resort.
TEST_P(FenceWithoutMembarrier, ASleeperWhomNobodySawLooksAgainSoon) {
  expect_success([] {
    static Doorbell bell{};
    static std::atomic<bool> published{false};
    init(bell);
    std::thread publisher([] {
      // Only once the other is on its way to sleep.
      while (bell.armed.load(std::memory_order_relaxed) == ~std::uint32_t{0}) std::this_thread::yield();
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
      published.store(true);
    });
    const std::uint64_t start = now_ns();
    const Status s =
        wait_until(bell, Wait::sleep(), deadline_after(std::chrono::seconds(30)), {}, [] { return published.load(); });
    const std::uint64_t took = now_ns() - start;
    publisher.join();
    if (s != Status::ok) return 1;
    return took < 4'500'000'000u ? 0 : 2;
  });
}

TEST_P(FenceWithoutMembarrier, TheSessionSaysSo) {
  expect_success([] {
    static std::atomic<int> told{0};
    Broker broker({.name = "fence-" + std::to_string(getpid())});
    const auto count = [](LogLevel level, std::string_view text) {
      if (level == LogLevel::warning && text.find("membarrier") != std::string_view::npos) ++told;
    };
    { const Session session = connect({.broker = broker.stats().name, .log = count}); }  // its end delivers the log
    return told == 1 ? 0 : 1;
  });
}

INSTANTIATE_TEST_SUITE_P(
    FailsWith, FenceWithoutMembarrier, testing::Values(EPERM, ENOMEM, ENOSYS), [](const auto& error) {
      return std::string(error.param == EPERM ? "EPERM" : error.param == ENOMEM ? "ENOMEM" : "ENOSYS");
    });

}  // namespace
}  // namespace ipcq::detail
