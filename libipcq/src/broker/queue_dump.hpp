// The state of one queue for humans, in two steps as statistics (stats_view.hpp): the broker's own books are copied
// under its mutex, then the text is made from them and from what lies in shared memory.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "broker/queue_entry.hpp"

namespace ipcq::detail {

struct QueueDump {  // NOLINT(bugprone-reserved-identifier,readability-identifier-naming): as QueueEntry
  std::string name;
  std::string pool_name;
  std::shared_ptr<const QueueMap> map;
  std::shared_ptr<const PoolMap> pool;
  GroupEntry groups[kMaxGroups];
  std::vector<EndpointEntry> endpoints;
  std::vector<std::uint32_t> blocks;  // of held entries that may be in use
  std::uint32_t producers = 0;
  std::uint32_t producers_lost = 0;
};

// With the mutex.
QueueDump dump_of(const QueueEntry& q);
// Without the mutex.
std::string to_text(const QueueDump& dump);

}  // namespace ipcq::detail
