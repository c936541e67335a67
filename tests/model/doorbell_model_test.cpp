// No wake is lost. The Doorbell is no template (a futex needs the real word), so this is the same sequence as in
// doorbell.hpp, word by word: wait_until() for one sleeper, ring() for a publisher. Both fences are full ones, which is
// what fence.hpp's membarrier amounts to for the pair. The futex is a mutex and a condition variable; a sleeper that is
// never woken is a deadlock to Relacy.
#include "relacy_atomics.hpp"

namespace ipcq::detail::model {
namespace {

struct Bell {
  rl::atomic<unsigned> sequence;
  rl::atomic<unsigned> armed;
  rl::mutex kernel;
  rl::condition_variable sleepers;

  Bell() {
    sequence.store(0, rl::mo_relaxed, RL_INFO);
    armed.store(~0u, rl::mo_relaxed, RL_INFO);
  }
  void fence(Fault without) {
    if (fault != without) rl::atomic_thread_fence(rl::mo_seq_cst, RL_INFO);
  }
  void ring() {
    fence(Fault::no_publisher_fence);
    if (armed.load(rl::mo_relaxed, RL_INFO) != sequence.load(rl::mo_relaxed, RL_INFO)) return;
    sequence.fetch_add(1, rl::mo_release, RL_INFO);
    kernel.lock(RL_INFO);
    sleepers.notify_all(RL_INFO);
    kernel.unlock(RL_INFO);
  }
  // Only ever forwards: a sleeper that read an older sequence must not hide that another one sleeps on a newer.
  void arm(unsigned seen) {
    if (fault == Fault::armed_overwritten) return armed.store(seen, rl::mo_relaxed, RL_INFO);
    unsigned before = armed.load(rl::mo_relaxed, RL_INFO);
    while (static_cast<int>(before - seen) < 0 &&
           !armed.compare_exchange_strong(before, seen, rl::mo_relaxed, RL_INFO, rl::mo_relaxed, RL_INFO)) {
    }
  }
  template <class Ready>
  void wait_until(Ready ready) {
    if (ready()) return;
    for (;;) {
      const unsigned seen = sequence.load(rl::mo_acquire, RL_INFO);
      arm(seen);
      fence(Fault::no_sleeper_fence);
      if (ready()) return;
      kernel.lock(RL_INFO);
      // The kernel compares under its lock; a read-modify-write sees the newest value.
      if (sequence.fetch_add(0, rl::mo_relaxed, RL_INFO) == seen) sleepers.wait(kernel, RL_INFO);
      kernel.unlock(RL_INFO);
    }
  }
};

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
