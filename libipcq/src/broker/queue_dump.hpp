// The state of one queue as text for people, in two steps like statistics (stats_view.hpp): the broker's records are
// copied under its mutex; then the text is made, without the mutex, from the copy and from shared memory.
//
// Thread safety: a QueueDump belongs to one thread, and shares ownership of the maps, so that they outlive the queue.
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
