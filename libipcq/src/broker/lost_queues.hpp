// Ends a queue whose runner is gone, and warns of clients that the loss affects.
//
// Thread safety: called by the control thread, with the broker's mutex held. Precondition: the runner's kernels run no
// more.
#pragma once

#include <string>
#include <vector>

#include "broker/broker_context.hpp"
#include "broker/queue_entry.hpp"
#include "broker/stream_end.hpp"

namespace ipcq::detail {

// For a queue that no client can open any more, and whose executor has ended: closes it, wakes its clients, and removes
// the names of its segments.
Leftover end_queue(const QueueEntry& q);
// The same, and logs how much was lost. `how` the runner ended: "killed by signal 9".
void end_lost_queue(const BrokerContext& context, const QueueEntry& q, const std::string& how);
// Logs which clients of these queues use a GPU: until they have ended, the MPS server may accept no process.
void warn_of_lost_contexts(const BrokerContext& context, int device, const std::vector<QueueEntry>& ended);

}  // namespace ipcq::detail
