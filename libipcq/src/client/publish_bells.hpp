// Whom a producer wakes after it has published: members that wait for a message, an executor, producers for which there
// is now something to discard. Makes no call where members alone may wait and none is asleep.
//
// For the producer's thread. Refers to the maps of its queue and pool, which must outlive it.
#pragma once

#include <bit>
#include <cstdint>

#include "protocol/doorbell.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::detail {

class PublishBells {
 public:
  PublishBells(const QueueMap& queue, const PoolMap& pool) noexcept;

  // After lines for `groups` were published; 0: for none. Returns ok, so that it can be a call's last.
  [[gnu::always_inline]] Status ring(std::uint8_t groups) const noexcept {
    publisher_fence();
    return may_be_waited_for(groups) ? ring_any(groups) : Status::ok;
  }

 private:
  bool may_be_waited_for(std::uint8_t groups) const noexcept {
    bool waited_for = always_rings_ || groups == 0;
    for (unsigned left = groups; left != 0; left &= left - 1) {
      const auto g = static_cast<unsigned>(std::countr_zero(left));
      waited_for = waited_for || is_armed(control_.ready[g]) || is_lossy(g);
    }
    return waited_for;
  }
  bool is_lossy(unsigned group) const noexcept {
    return (control_.group[group].policy.load(std::memory_order_relaxed) & kGroupLossy) != 0;
  }
  [[gnu::noinline]] Status ring_any(std::uint8_t groups) const noexcept;
  void wake_attendant(std::uint8_t groups) const noexcept;

  QueueControl& control_;
  Doorbell& slot_free_;
  const bool has_handler_;
  const bool on_device_;
  const bool drops_oldest_;
  const bool always_rings_;  // others may wait than the members of the groups
};

}  // namespace ipcq::detail
