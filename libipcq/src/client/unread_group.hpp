// Finds why a producer may wait without end: a group that must get every message and has no consumer. Reads shared
// memory only, so any client can call it. Thread-safe.
#pragma once

#include <string>

#include "queue/queue_map.hpp"

namespace ipcq::detail {

// The name of such a group that keeps producers from a line, or with `for_slot` from a slot of the pool. Empty: there
// is none.
std::string unread_group(const QueueMap& queue, bool for_slot);
// What to tell the user of it. Empty: there is none.
std::string warning_of_unread(const QueueMap& queue, bool for_slot);

}  // namespace ipcq::detail
