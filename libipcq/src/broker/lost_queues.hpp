// What becomes of a queue whose runner is gone, and who else has lost something with it.
#pragma once

#include <string>
#include <vector>

#include "broker/broker_context.hpp"
#include "broker/queue_entry.hpp"

namespace ipcq::detail {

// Ends it for its clients, removes its names and logs what was lost. `how` the runner ended: "killed by signal 9".
void end_lost_queue(const BrokerContext& context, const QueueEntry& q, const std::string& how);
// Names the processes that keep the MPS server from taking anybody in.
void warn_of_lost_contexts(const BrokerContext& context, int device, const std::vector<QueueEntry>& ended);

}  // namespace ipcq::detail
