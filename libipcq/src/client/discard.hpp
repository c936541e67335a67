// Which message a producer without a line or a slot may discard, and its discarding: drop-oldest queues and lossy
// groups. docs/design/ring.md, "Drop-oldest, lossy groups".
//
// Any thread; never waits. Invariant: nothing is discarded that is held, or that a group which must get it has not
// taken.
#pragma once

#include <cstdint>

#include "queue/queue_map.hpp"

namespace ipcq::detail {

// Discards, as producer `client`, the oldest message of the group that lags most, if it may lose messages, for a slot
// (`for_slot`) or for a line. True: try again, since this or another party has discarded or taken one.
bool discard_oldest(const QueueMap& queue, const PoolMap& pool, std::uint32_t client, bool for_slot) noexcept;

}  // namespace ipcq::detail
