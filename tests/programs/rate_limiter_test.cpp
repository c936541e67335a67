#include "program/rate_limiter.hpp"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <thread>

#include "program/format.hpp"

namespace ipcq::program {
namespace {

using namespace std::chrono_literals;

// Leaves the signal mask of this thread as it was.
class RateLimiterTest : public testing::Test {
 protected:
  RateLimiterTest() { pthread_sigmask(SIG_SETMASK, nullptr, &before_); }
  ~RateLimiterTest() override { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }

 private:
  sigset_t before_{};
};

TEST_F(RateLimiterTest, AMessageThatIsDueInYearsIsWaitedForUntilAStop) {
  for (const double rate : {1e-9, 1e-10, 1e-300, 5e-324}) {
    Signals signals;
    const auto subscription = signals.subscribe([](int) {});
    RateLimiter limiter(rate, signals);
    EXPECT_TRUE(limiter.acquire(1)) << rate;  // the first is due at once
    std::thread stop([] {
      std::this_thread::sleep_for(200ms);
      ::kill(::getpid(), SIGTERM);
    });
    EXPECT_FALSE(limiter.acquire(1)) << rate;
    EXPECT_TRUE(signals.wait());
    stop.join();
  }
}

TEST(HumanBytes, NoUnitShows1024OfIt) {
  EXPECT_EQ(human_bytes(1'048'524), "1023.9 KiB");
  EXPECT_EQ(human_bytes(1'048'575), "1.0 MiB");
  EXPECT_EQ(human_bytes(24'883'200), "23.7 MiB");
}

TEST(HumanSeconds, AnyNumberHasAText) {
  EXPECT_EQ(human_seconds(3600), "1h00m");
  EXPECT_EQ(human_seconds(1e300), human_seconds(1e15));
}

}  // namespace
}  // namespace ipcq::program
