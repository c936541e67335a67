// How long a claimer that was too late for a cursor stays away from it.
//
// A failed compare-and-swap takes the cursor's cache line from the claimer that comes next, so that several claimers
// together move fewer tickets than one. One that pauses leaves the others to claim in their own cache meanwhile. Four
// producers and four consumers of 64 bytes come to 3 M messages/s without it, to 8 with it (oneway_bench, H200 host).
//
// For one thread. Template over the atomics policy, whose pause() the model checker leaves out.
#pragma once

#include <algorithm>

namespace ipcq::detail {

template <class A>
class BackOff {
 public:
  // After each swap; returns `swapped`. A failed one pauses, twice as long as the last time, but for the successes in
  // between. No clock is read: who comes back after a calm begins where it ended.
  bool after(bool swapped) {
    if (swapped) {
      pauses_ /= 2;
    } else {
      pause();
    }
    return swapped;
  }

 private:
  [[gnu::noinline]] void pause() {
    pauses_ = std::clamp(2 * pauses_, kFewest, kMost);
    A::pause(pauses_);
  }
  // In `pause` instructions, of 10 to 45 ns: the longest takes 5 to 23 us. With 256 the four and four come to 7 M/s,
  // with 128 to 6.
  static constexpr unsigned kFewest = 16;
  static constexpr unsigned kMost = 512;
  unsigned pauses_ = 0;
};

}  // namespace ipcq::detail
