// Why a producer may wait for ever: a group that keeps its messages and has no consumer. As a client sees it, from
// shared memory alone.
#pragma once

#include <string>

#include "queue/queue_map.hpp"

namespace ipcq::detail {

// The name of such a group, when it is one that holds the queue full: for a line, or, `for_slot`, for a slot of its
// pool. Empty: none does.
std::string unread_group(const QueueMap& queue, bool for_slot);

}  // namespace ipcq::detail
