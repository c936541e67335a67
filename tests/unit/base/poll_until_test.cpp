#include "base/poll_until.hpp"

#include <gtest/gtest.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <thread>
#include <vector>

#include "base/deadline.hpp"
#include "base/os.hpp"
#include "eventually.hpp"

namespace ipcq::detail {
namespace {

class PollUntil : public testing::Test {
 protected:
  int poll(std::uint64_t deadline) {
    entry_ = {event_.get(), POLLIN, 0};
    return poll_until(&entry_, 1, deadline);
  }
  const Fd event_ = make_eventfd();
  pollfd entry_{};
};

TEST_F(PollUntil, OnlyLooksWhenItIsGivenNoTime) {
  EXPECT_EQ(poll(0), 0);
  signal_eventfd(event_.get());
  EXPECT_EQ(poll(0), 1);
  EXPECT_EQ(entry_.revents, POLLIN);
}

TEST_F(PollUntil, LooksOnceMoreWhenTheDeadlineHasPassed) {
  EXPECT_EQ(poll(1), 0);
  signal_eventfd(event_.get());
  EXPECT_EQ(poll(1), 1);
}

TEST_F(PollUntil, WaitsUntilTheDeadline) {
  const std::uint64_t deadline = now_ns() + 30'000'000;
  EXPECT_EQ(poll(deadline), 0);
  EXPECT_GE(now_ns(), deadline);
}

TEST_F(PollUntil, EndsWithTheFirstEventHoweverLongItMayWait) {
  for (const std::uint64_t deadline : {deadline_after(std::chrono::hours(1)), kNever}) {
    std::thread later([&] {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      signal_eventfd(event_.get());
    });
    EXPECT_EQ(poll(deadline), 1);
    later.join();
    drain_eventfd(event_.get());
  }
}

std::atomic<int> signals{0};

// Signals come all the time: a wait that began anew with each of them would last as long as they do.
TEST_F(PollUntil, SignalsNeitherEndTheWaitNorProlongIt) {
  struct sigaction count {};
  count.sa_handler = [](int) { signals.fetch_add(1); };  // without SA_RESTART
  struct sigaction before {};
  ASSERT_EQ(::sigaction(SIGUSR1, &count, &before), 0);
  std::atomic<bool> over{false};
  std::atomic<bool> gave_up{false};
  std::thread sender([&, waiter = ::pthread_self()] {
    const bool ended = ipcq_test::eventually(
        [&] {
          ::pthread_kill(waiter, SIGUSR1);
          return over.load();
        },
        std::chrono::seconds(5));
    gave_up = !ended;
  });
  ASSERT_TRUE(ipcq_test::eventually([] { return signals.load() > 0; }));
  const int seen = signals.load();
  const std::uint64_t deadline = now_ns() + 100'000'000;
  EXPECT_EQ(poll(deadline), 0);
  EXPECT_GE(now_ns(), deadline);
  EXPECT_GT(signals.load(), seen);
  over = true;
  sender.join();
  EXPECT_FALSE(gave_up);
  ::sigaction(SIGUSR1, &before, nullptr);
}

TEST_F(PollUntil, SaysWhyItCannotPoll) {
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  const rlimit low{16, limit.rlim_max};
  std::vector<pollfd> entries(low.rlim_cur + 1, {-1, POLLIN, 0});  // more than the limit of open files
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &low), 0);
  const int n = poll_until(entries.data(), entries.size(), kNever);
  const int error = errno;
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_EQ(n, -1);
  EXPECT_EQ(error, EINVAL);
}

TEST_F(PollUntil, PassesOverDescriptorsThatAreNone) {
  signal_eventfd(event_.get());
  pollfd entries[2] = {{-1, POLLIN, 0}, {event_.get(), POLLIN, 0}};
  EXPECT_EQ(poll_until(entries, 2, kNever), 1);
  EXPECT_EQ(entries[0].revents, 0);
}

}  // namespace
}  // namespace ipcq::detail
