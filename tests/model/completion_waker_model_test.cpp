// No wake is lost when a GPU stands between publisher and sleeper (docs/design/cuda.md, "Waking"): the executor rings
// nothing, a waker does so for it, and the waker sleeps too while nothing is in flight or nobody sleeps. Ring and lines
// are the real templates; the waker is runner/completion_waker.cpp's loop, word by word, without its naps; bells are
// bell.hpp's.
//
// The waker is a publisher of what others have stored: between its look at `out` and its look at the sleepers' bells
// stands a fence, which the sleepers' membarrier supplies.
#include "model_queue.hpp"
// after it
#include "bell.hpp"

namespace ipcq::detail::model {
namespace {

// One publisher, one executor, one sleeper that waits for every message, one waker.
template <unsigned kMessages>
struct Woken : rl::test_suite<Woken<kMessages>, 4> {
  static constexpr unsigned kLines = 2;
  static_assert(kMessages <= kLines);

  RelacyAtomics::Wide cursor[2];
  RelacyAtomics::Word own[2][kLines];
  RelacyAtomics::Unit in[kLines * kLineUnits];
  RelacyAtomics::Unit out[kLines * kLineUnits];
  RelacyAtomics::Word live;
  RelacyAtomics::Word free_before;
  ModelRing ring;
  Bell ready;
  Bell waker;
  rl::atomic<unsigned> stop;

  Woken() {
    RingWords<RelacyAtomics> r;
    for (unsigned c = 0; c < 2; ++c) {
      r.cursor[c] = &cursor[c];
      r.own[c] = own[c];
    }
    r.in = in;
    r.out = out;
    r.live_groups = &live;
    r.free_before = &free_before;
    r.lines = kLines;
    ring = ModelRing(r);
    cursor[kProducers].init(pack(Cursor{0, 0, 0, 1, false}));
    live.store(1, std::memory_order::relaxed);
    stop.store(0, rl::mo_relaxed, RL_INFO);
  }

  void thread(unsigned i) {
    switch (i) {
      case 0:
        return publish();
      case 1:
        return execute();
      case 2:
        return receive();
      default:
        return wake();
    }
  }

  void publish() {
    std::uint64_t limit = 0;
    for (unsigned n = 0; n < kMessages; ++n) {
      const PublishClaim c = ring.claim_publish(2, 1, limit);
      Descriptor d;
      d.kind = LineKind::inlined;
      ring.write(c.ticket, d, nullptr);
      publisher_fence();
      if (fault != Fault::publisher_rings_no_waker && ready.is_armed()) waker.ring();
    }
  }
  // Stores `out`, and that is all that a kernel can do.
  void execute() {
    for (std::uint64_t t = 0; t < kMessages; ++t) {
      while (!is_tagged(in + t * kLineUnits, 1)) yield();
      Descriptor d;
      d.kind = LineKind::inlined;
      write_line(out + t * kLineUnits, 1, d, nullptr);
    }
  }
  void receive() {
    for (std::uint64_t t = 0; t < kMessages; ++t) {
      ready.wait_until([&] { return ring.readable(t); }, fault == Fault::sleeper_rings_no_waker ? nullptr : &waker);
    }
    stop.store(1, rl::mo_release, RL_INFO);
    waker.ring_always();
  }
  void wake() {
    std::uint64_t done = 0;
    const auto stopped = [&] { return stop.load(rl::mo_acquire, RL_INFO) != 0; };
    const auto has_work = [&] { return ring.cursor(kProducers).next > done && ready.is_armed(); };
    while (!stopped()) {
      const std::uint64_t before = done;
      while (done < ring.cursor(kProducers).next && ring.readable(done)) ++done;
      if (done != before) {
        full_fence(Fault::no_waker_fence);
        ready.ring();
      } else if (!has_work()) {
        waker.wait_until([&] { return has_work() || stopped(); }, nullptr, fault == Fault::waker_sleeps_blind);
      } else {
        yield();
      }
    }
  }
};

TEST(WakerModel, WakesASleeperForAMessage) { expect_sound<Woken<1>>(200'000); }
TEST(WakerModel, WakesASleeperForEachOfTwoMessages) { expect_sound<Woken<2>>(100'000); }

TEST(WakerModel, FindsASleeperThatDoesNotRingTheWaker) {
  expect_found<Woken<1>>(Fault::sleeper_rings_no_waker, 50'000);
}
TEST(WakerModel, FindsAPublisherThatDoesNotRingTheWaker) {
  expect_found<Woken<1>>(Fault::publisher_rings_no_waker, 50'000);
}
TEST(WakerModel, FindsAWakerThatSleepsWithoutLookingAgain) {
  expect_found<Woken<1>>(Fault::waker_sleeps_blind, 50'000);
}
TEST(WakerModel, FindsAMissingFenceOfASleeper) { expect_found<Woken<1>>(Fault::no_sleeper_fence, 50'000); }
TEST(WakerModel, FindsAMissingFenceOfTheWaker) { expect_found<Woken<1>>(Fault::no_waker_fence, 50'000); }
TEST(WakerModel, FindsAMissingFenceOfAPublisher) { expect_found<Woken<1>>(Fault::no_publisher_fence, 50'000); }

}  // namespace
}  // namespace ipcq::detail::model
