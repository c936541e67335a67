#include "broker/lost_queues.hpp"

#include <set>

#include "base/os.hpp"
#include "broker/stream_end.hpp"
#include "repair/membership.hpp"

namespace ipcq::detail {

Leftover end_queue(const QueueEntry& q) {
  const Leftover left = close_queue(q);
  release_late_payloads(*q.map, *q.pool->map);
  bury_unprocessed(*q.map, *q.pool->map);
  wake_everybody(*q.map, *q.pool->map);
  q.map->segment().unlink();
  if (q.options.pool.empty()) q.pool->map->segment().unlink();
  return left;
}

void end_lost_queue(const BrokerContext& context, const QueueEntry& q, const std::string& how) {
  const Leftover left = end_queue(q);
  // Which kernel has failed CUDA does not say.
  const bool is_suspect = q.image && left.messages != 0;
  context.log(
      LogLevel::error,
      "queue '" + q.name + (q.options.isolate ? "': its own runner on " : "': the runner of ") + object_of(q.device) +
          " was lost (" + how + "), and with it " + std::to_string(left.messages) + " messages" +
          (left.held == 0 ? std::string() : " and what consumers hold (" + std::to_string(left.held) + ")") +
          (is_suspect ? "; its handler, '" + printable(q.options.handler) + "', may be what failed" : std::string()) +
          "; its clients are told that it is closed, and it is created anew");
}

// Under MPS a fault mostly fails the contexts of all clients of the server, which then accepts no process, not even the
// next runner, until the last of them has ended.
void warn_of_lost_contexts(const BrokerContext& context, int device, const std::vector<QueueEntry>& ended) {
  std::set<std::int32_t> pids;
  for (const auto& q : ended) {
    for (const auto& e : q.endpoints) {
      if (e.client != 0 && e.uses_cuda) pids.insert(e.pid);
    }
  }
  std::string text;
  for (const std::int32_t pid : pids) text += (text.empty() ? "" : ", ") + std::to_string(pid);
  if (text.empty()) return;
  context.log(LogLevel::warning, object_of(device) +
                                     ": under MPS its clients' CUDA contexts may have failed with the runner's, and "
                                     "the MPS server takes in nobody until such processes have ended: end or restart "
                                     "pid " +
                                     text);
}

}  // namespace ipcq::detail
