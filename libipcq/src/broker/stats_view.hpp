// A broker's statistics in two steps. First, under the broker's mutex, its own books and the queues' cursors are copied
// into a view, which costs what there are queues, groups and endpoints. Then whoever asks looks through what is as
// large as the data path: held entries, lines, slots. It keeps the mappings; everybody else goes on meanwhile.
//
// A group's terms are of the instant at which the view was made: what its members took later is not counted as held, so
// that no message stands under two terms.
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
  QueueStats stats;                      // but for what scan() finds
  unsigned groups[kMaxGroups] = {};      // of stats.groups[i]: its number
  std::uint64_t taken[kMaxGroups] = {};  // of stats.groups[i]: the first ticket that nobody of it had taken
  bool keeps[kMaxGroups] = {};           // of stats.groups[i]: producers wait for it, they do not discard its messages
  std::uint64_t next = 0;                // the first ticket that no producer had taken
  std::vector<std::uint32_t> blocks;     // of held entries: those that may have one in use
  // The statistics before these, or the creation, for the rate.
  std::uint64_t before_ns = 0;
  std::uint64_t before_published = 0;
};

struct StatsView {
  BrokerStats stats;  // but for its queues
  std::vector<QueueView> queues;
};

// 0 instead of below 0: words read one after another need not belong to one instant.
inline std::uint64_t minus(std::uint64_t a, std::uint64_t b) { return a > b ? a - b : 0; }

// Looks at each held entry of the blocks, each line that a group has still to take, and each slot of a pool once.
BrokerStats scan(StatsView view);

}  // namespace ipcq::detail
