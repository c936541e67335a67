// The rules of ipcq.Buffer: which of its two sides has the newest contents, and who may look at which. No memory, no
// streams, no Python. Not thread-safe: a buffer's lock guards it.
//
//               write host                       to_device()
//   synced  ------------------>  host_newer   ------------------>  synced
//   synced  ------------------>  device_newer ------------------>  synced
//               write device                      to_host()
//
// Views of the two sides are to each other as readers and writers of a lock: a writer of one side has no reader of the
// other beside it. Those of the same side are not held apart.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace ipcq::python {

enum class Side : std::uint8_t { host = 0, device = 1 };
constexpr Side other(Side side) noexcept { return side == Side::host ? Side::device : Side::host; }

// As ipcq.BufferState has them.
enum class SideState : std::uint8_t { synced = 0, host_newer = 1, device_newer = 2 };

class Sides {
 public:
  SideState state() const noexcept { return state_; }
  bool is_stale(Side side) const noexcept { return state_ == newer(other(side)); }
  void set_synced() noexcept { state_ = SideState::synced; }
  void set_written(Side side) noexcept { state_ = newer(side); }

  // Whether a view may begin.
  bool may_begin(Side side, bool writes) const noexcept {
    const Count& there = of(other(side));
    return there.writers == 0 && (!writes || there.readers == 0);
  }
  void begin(Side side, bool writes) noexcept { ++(writes ? of(side).writers : of(side).readers); }
  void end(Side side, bool writes) noexcept { --(writes ? of(side).writers : of(side).readers); }
  std::size_t views() const noexcept { return views(Side::host) + views(Side::device); }
  std::size_t views(Side side) const noexcept { return of(side).readers + of(side).writers; }

 private:
  struct Count {
    std::size_t readers = 0;
    std::size_t writers = 0;
  };
  static SideState newer(Side side) noexcept {
    return side == Side::host ? SideState::host_newer : SideState::device_newer;
  }
  Count& of(Side side) noexcept { return counts_[static_cast<std::size_t>(side)]; }
  const Count& of(Side side) const noexcept { return counts_[static_cast<std::size_t>(side)]; }

  std::array<Count, 2> counts_{};
  SideState state_ = SideState::synced;
};

}  // namespace ipcq::python
