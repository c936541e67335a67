// No wake is lost: publishers ring a bell only when they see it armed.
#include "bell.hpp"

namespace ipcq::detail::model {
namespace {

// One sleeper, two publishers; the sleeper waits for each message.
struct OneSleeper : rl::test_suite<OneSleeper, 3> {
  Bell bell;
  rl::atomic<unsigned> published[2];
  OneSleeper() {
    for (auto& p : published) p.store(0, rl::mo_relaxed, RL_INFO);
  }
  void thread(unsigned i) {
    if (i == 2) {
      for (auto& p : published) bell.wait_until([&] { return p.load(rl::mo_acquire, RL_INFO) != 0; });
    } else {
      published[i].store(1, rl::mo_release, RL_INFO);
      publisher_fence();
      bell.ring();
    }
  }
};

// Two sleepers on one bell, each of which takes messages; one publisher of two.
struct TwoSleepers : rl::test_suite<TwoSleepers, 3> {
  Bell bell;
  rl::atomic<unsigned> waiting;
  TwoSleepers() { waiting.store(0, rl::mo_relaxed, RL_INFO); }
  bool take() {
    unsigned n = waiting.load(rl::mo_acquire, RL_INFO);
    while (n != 0) {
      if (waiting.compare_exchange_strong(n, n - 1, rl::mo_acq_rel, RL_INFO, rl::mo_relaxed, RL_INFO)) return true;
    }
    return false;
  }
  void thread(unsigned i) {
    if (i < 2) return bell.wait_until([&] { return take(); });
    for (unsigned n = 0; n < 2; ++n) {
      waiting.fetch_add(1, rl::mo_release, RL_INFO);
      publisher_fence();
      bell.ring();
    }
  }
};

TEST(DoorbellModel, WakesASleeperForEachOfTwoPublishers) { expect_sound<OneSleeper>(100'000); }
TEST(DoorbellModel, WakesASleeperWhereverTwoPreemptionsFall) { expect_sound_in_all<OneSleeper>(); }
TEST(DoorbellModel, WakesBothOfTwoSleepersOnOneBell) { expect_sound<TwoSleepers>(200'000); }

TEST(DoorbellModel, FindsASleeperThatArmsOverANewerValue) {
  expect_found<TwoSleepers>(Fault::armed_overwritten, 100'000);
}
TEST(DoorbellModel, FindsAMissingFenceOfTheSleeper) { expect_found<OneSleeper>(Fault::no_sleeper_fence, 100'000); }
TEST(DoorbellModel, FindsAMissingFenceOfThePublisher) { expect_found<OneSleeper>(Fault::no_publisher_fence, 100'000); }

}  // namespace
}  // namespace ipcq::detail::model
