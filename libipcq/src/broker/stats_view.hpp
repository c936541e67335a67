// A broker's statistics in two steps. First, under the broker's mutex, its records and the queues' cursors are copied
// into a view, in time proportional to the number of queues, groups and endpoints. Then scan() looks through held
// entries, lines and slots, without the mutex.
//
// Thread safety: a view belongs to one thread; it shares ownership of the mappings, so that they outlive the queue.
// Invariant: a group's terms are of the instant at which the view was made. What its members took later is not counted
// as held, so that no message counts under two terms.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "ipcq/stats.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::detail {

struct QueueView {
  std::shared_ptr<const QueueMap> map;
  std::shared_ptr<const PoolMap> pool;
  QueueStats stats;                      // without what scan() counts
  unsigned groups[kMaxGroups] = {};      // of stats.groups[i]: its number
  std::uint64_t taken[kMaxGroups] = {};  // of stats.groups[i]: the first ticket that no member had taken
  bool keeps[kMaxGroups] = {};           // of stats.groups[i]: producers wait for it instead of discarding its messages
  std::uint64_t next = 0;                // the first ticket that no producer had taken
  std::vector<std::uint32_t> blocks;     // of held entries: those in which one may be in use
  // The previous view, or the creation: the rate may be counted from there.
  std::uint64_t before_ns = 0;
  std::uint64_t before_published = 0;
};

struct StatsView {
  BrokerStats stats;  // without its queues
  std::vector<QueueView> queues;
};

// 0 instead of below 0: words read one after another need not belong to one instant.
inline std::uint64_t minus(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; }

// Looks at each held entry of the blocks, each line that a group has still to take, and each slot of a pool once.
BrokerStats scan(StatsView view);

}  // namespace ipcq::detail
