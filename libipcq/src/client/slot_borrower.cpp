#include "client/slot_borrower.hpp"

#include <algorithm>

namespace ipcq::detail {
namespace {

// A device pool's payloads lie in no core's cache. Who discards for room, or is refused, does not wait for readers.
std::uint32_t wanted(const PoolMap& pool, Backpressure backpressure, Wait wait) noexcept {
  constexpr std::uint32_t kMost = 32;
  constexpr std::uint32_t kMostSlots = 4096;  // a look at the bits of more would take longer than a message
  if (pool.on_device() || backpressure != Backpressure::block || wait.kind() == Wait::Kind::sleep) return 0;
  if (pool.config().slots > kMostSlots) return 0;
  const std::uint32_t quarter = std::min(pool.config().slots / 4, kMost);
  return quarter < 2 ? 0 : quarter;
}

}  // namespace

SlotBorrower::SlotBorrower(const PoolMap& pool, std::uint32_t client, Backpressure backpressure, Wait wait) noexcept
    : pool_(pool),
      client_(client),
      on_device_(pool.on_device()),
      want_(wanted(pool, backpressure, wait)),
      hint_(client * kSlotsPerFreeWord) {}  // spreads producers over the pool

void SlotBorrower::await_some(Deadline& deadline) noexcept {
  // A look loads a word that readers write, so looks are rare: 64 without a change take 10 to 50 us.
  constexpr unsigned kPausesPerLook = 16;
  constexpr unsigned kPatience = 64;
  constexpr std::uint32_t kSkipped = 64;
  if (want_ == 0) return;
  if (skip_ > 0) {
    --skip_;
    return;
  }
  constexpr unsigned kMostLooks = 256;  // also where others take what becomes free
  std::uint32_t most = 0;
  unsigned unchanged = 0;
  for (unsigned looks = 0; looks < kMostLooks && unchanged < kPatience && !deadline.has_passed(); ++looks) {
    for (unsigned i = 0; i < kPausesPerLook; ++i) cpu_pause();
    const std::uint32_t free = pool_.pool().count_free(want_);
    if (free >= want_) return;
    unchanged = free <= most ? unchanged + 1 : 0;
    most = std::max(most, free);
  }
  skip_ = kSkipped;
}

}  // namespace ipcq::detail
