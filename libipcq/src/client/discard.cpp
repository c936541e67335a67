#include "client/discard.hpp"

#include <algorithm>

#include "protocol/doorbell.hpp"
#include "protocol/drop_one.hpp"

namespace ipcq::detail {

bool discard_oldest(const QueueMap& queue, const PoolMap& pool, std::uint32_t client, bool for_slot) noexcept {
  const auto& ring = queue.ring();
  const bool drops = static_cast<Backpressure>(queue.config().backpressure) == Backpressure::drop_oldest;
  const Cursor producers = ring.cursor(kProducers);
  const std::uint64_t next = producers.next;
  unsigned victim = kMaxGroups;
  std::uint64_t oldest = kNoTicket;
  std::uint64_t oldest_kept = kNoTicket;  // of groups that must get every message
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    if ((producers.groups >> g & 1) == 0) continue;
    const bool lossy = (queue.control().group[g].policy.load(std::memory_order_relaxed) & kGroupLossy) != 0;
    const std::uint64_t at = ring.cursor(1 + g).next;
    if (!lossy && !drops) {
      oldest_kept = std::min(oldest_kept, at);
    } else if (at < oldest) {
      oldest = at;
      victim = g;
    }
  }
  if (victim == kMaxGroups || oldest >= oldest_kept || oldest >= next) return false;
  // A line is free only if the message one lap back is gone.
  if (!for_slot && next - oldest < ring.lines()) return false;
  if (pool.on_device() && !ring.has_handler()) {  // a GPU may still write what would be dropped
    Descriptor d;
    if (ring.look(oldest, d) == LineRead::present && !is_written(d, pool)) return false;
  }
  bool dropped = false;
  bool freed = false;
  if (!drop_one(ring, pool.pool(), victim, oldest, client, dropped, freed)) return false;
  if (dropped) queue.control().group[victim].dropped.fetch_add(1, std::memory_order_relaxed);
  publisher_fence();
  detail::ring(queue.control().space);
  if (freed) detail::ring(pool.control().free);
  return true;
}

}  // namespace ipcq::detail
