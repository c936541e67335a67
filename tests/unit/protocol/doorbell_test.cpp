#include "protocol/doorbell.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace ipcq::detail {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

class DoorbellTest : public testing::Test {
 protected:
  Doorbell bell{};
  void SetUp() override { init(bell); }
};

TEST_F(DoorbellTest, MakesNoSystemCallAndNoChangeWhenNobodySleeps) {
  for (int i = 0; i < 10; ++i) ring(bell);
  EXPECT_EQ(bell.sequence.load(std::memory_order_relaxed), 0u);
}

TEST_F(DoorbellTest, DisarmsOnTheFirstRing) {
  bell.armed.store(0, std::memory_order_relaxed);
  ring(bell);
  ring(bell);
  EXPECT_EQ(bell.sequence.load(std::memory_order_relaxed), 1u);
}

TEST_F(DoorbellTest, LooksOnceWithAZeroDeadline) {
  int looks = 0;
  EXPECT_EQ(wait_until(bell, Wait::sleep(), 0, {}, [&] { return ++looks > 5; }), Status::timeout);
  EXPECT_EQ(looks, 1);
  EXPECT_EQ(wait_until(bell, Wait::sleep(), 0, {}, [] { return true; }), Status::ok);
}

TEST_F(DoorbellTest, TimesOutWithEveryStrategyAndNotBeforeItsTime) {
  for (const Wait wait : {Wait::spin(), Wait::hybrid(), Wait::sleep()}) {
    const std::uint64_t deadline = deadline_after(milliseconds(20));
    EXPECT_EQ(wait_until(bell, wait, deadline, {}, [] { return false; }), Status::timeout);
    EXPECT_GE(now_ns(), deadline);
  }
}

TEST_F(DoorbellTest, ReportsEachInterruptionUnlessReady) {
  Word state{};
  std::atomic<bool> disconnected{false}, interrupted{false};
  const Interruption all{&state, &disconnected, &interrupted};
  EXPECT_EQ(all.check(), Status::ok);
  disconnected = true;
  EXPECT_EQ(wait_until(bell, Wait::sleep(), kNever, all, [] { return false; }), Status::peer_dead);
  state.store(static_cast<std::uint64_t>(QueueState::closed), std::memory_order_relaxed);
  EXPECT_EQ(wait_until(bell, Wait::sleep(), kNever, all, [] { return false; }), Status::closed);
  interrupted = true;
  EXPECT_EQ(wait_until(bell, Wait::sleep(), kNever, all, [] { return false; }), Status::interrupted);
  int looks = 0;
  EXPECT_EQ(wait_until(bell, Wait::sleep(), kNever, all, [&] { return ++looks == 2; }), Status::ok);
}

TEST_F(DoorbellTest, WorksWhereTheSequenceWraps) {
  bell.sequence.store(~std::uint32_t{0} - 1, std::memory_order_relaxed);
  bell.armed.store(~std::uint32_t{0} - 2, std::memory_order_relaxed);
  std::atomic<int> stage{0};
  std::thread sleeper([&] {
    for (int n = 1; n <= 4; ++n) {
      EXPECT_EQ(wait_until(bell, Wait::sleep(), deadline_after(seconds(20)), {}, [&] { return stage.load() >= n; }),
                Status::ok);
    }
  });
  for (int n = 1; n <= 4; ++n) {
    std::this_thread::sleep_for(milliseconds(2));
    stage.store(n);
    publisher_fence();
    ring(bell);
  }
  sleeper.join();
}

// A sleeper that read the bell before the last ring arms late. Another sleeps on the newer value already: it must still
// be armed for. (Model: DoorbellModel.FindsASleeperThatArmsOverANewerValue.)
TEST_F(DoorbellTest, ALateSleeperDoesNotDisarmAnEarlierOne) {
  bell.armed.store(6, std::memory_order_relaxed);     // somebody sleeps on 6
  bell.sequence.store(5, std::memory_order_relaxed);  // what the late one has read before
  int looks = 0;
  (void)wait_until(bell, Wait::sleep(), deadline_after(milliseconds(1)), {}, [&] {
    if (++looks == 1) return false;
    bell.sequence.store(6, std::memory_order_relaxed);
    return true;
  });
  EXPECT_EQ(bell.armed.load(std::memory_order_relaxed), 6u);
  ring(bell);
  EXPECT_EQ(bell.sequence.load(std::memory_order_relaxed), 7u);
}

TEST_F(DoorbellTest, WakesEverySleeperOfManyUnderLoad) {
  constexpr int kSleepers = 4;
  constexpr int kMessages = 2000;
  std::atomic<int> waiting{0};
  std::atomic<int> taken{0};
  std::vector<std::thread> sleepers;
  for (int i = 0; i < kSleepers; ++i) {
    sleepers.emplace_back([&] {
      for (;;) {
        bool got = false;
        const Status s = wait_until(bell, Wait::sleep(), deadline_after(seconds(30)), {}, [&] {
          int n = waiting.load();
          while (n > 0 && !waiting.compare_exchange_weak(n, n - 1)) {
          }
          got = n > 0;
          return got || taken.load() == kMessages;
        });
        if (s != Status::ok) {
          ADD_FAILURE() << "not woken: " << to_string(s);
          return;
        }
        if (!got) return;
        if (taken.fetch_add(1) + 1 == kMessages) ring_always(bell);
      }
    });
  }
  for (int n = 0; n < kMessages; ++n) {
    waiting.fetch_add(1);
    publisher_fence();
    ring(bell);
    if (n % 16 == 0) std::this_thread::yield();
  }
  for (auto& t : sleepers) t.join();
  EXPECT_EQ(taken.load(), kMessages);
}

}  // namespace
}  // namespace ipcq::detail
