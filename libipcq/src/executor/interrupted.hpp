// What a host executor leaves when its process dies, put in order for the next one.
//
// Thread safety: precondition: no executor of the queue runs. Clients may do anything meanwhile.
#pragma once

#include <cstdint>

#include "queue/queue_map.hpp"

namespace ipcq::detail {

struct Interrupted {
  std::uint64_t next = 0;    // the ticket with which the next executor begins
  std::uint64_t failed = 0;  // messages that were in work
};

// Passes on the messages that the dead executor had taken and not finished, marked as failed: their payload may be
// changed in part. Of a new queue: nothing. Repeatable: a death within leaves the same task.
//
// What is in work is told by QueueControl::taken and the tags of `out`. Any client can overwrite both, so neither is
// believed further than the lines that lie between the producers' cursor and one lap before it.
Interrupted finish_interrupted(const QueueMap& queue, const PoolMap& pool) noexcept;

}  // namespace ipcq::detail
