#include "broker/queue_entry.hpp"

#include <algorithm>

#include "base/crash_point.hpp"

namespace ipcq::detail {
namespace {

std::uint32_t count_in_use(const QueueMap& map, std::uint32_t endpoint) {
  IPCQ_CRASH_POINT("endpoint.block");
  const auto block = map.held_block(endpoint);
  return static_cast<std::uint32_t>(std::count_if(
      block.begin(), block.end(), [](const Held& h) { return h.word.load(std::memory_order_relaxed) != 0; }));
}

}  // namespace

RunnerKey runner_on(int device, const std::string& name, const QueueOptions& options) {
  return {device, options.isolate ? name : std::string()};
}

bool lies_with(const QueueEntry& q, const RunnerKey& runner) {
  if (runner.device == kHostRunner) return q.image && !q.map->on_device() && runner_on(kHostRunner, q) == runner;
  return (q.map->on_device() && runner_on(q.device, q) == runner) ||
         (q.pool->map->on_device() && q.pool->lies_with() == runner);
}

bool takes_messages(const QueueMap& queue, EndpointKind kind) {
  return kind == EndpointKind::consumer || (kind == EndpointKind::producer && queue.handler_answers());
}

const char* role_of(const QueueMap& queue, EndpointKind kind) {
  if (kind == EndpointKind::producer) return queue.takes_calls() ? "client" : "producer";
  return queue.takes_calls() ? "server" : "consumer";
}

// Other blocks have no entry in use: a member takes messages into its own block only, and after it has closed the
// number in use there only falls.
std::vector<std::uint32_t> held_blocks(const QueueEntry& q) {
  std::vector<std::uint32_t> blocks;
  for (std::uint32_t i = 0; i < q.endpoints.size(); ++i) {
    const EndpointEntry& e = q.endpoints[i];
    if (q.kept[i] != 0 || (e.client != 0 && takes_messages(*q.map, e.kind))) blocks.push_back(i);
  }
  return blocks;
}

// An endpoint's held entries may still have messages that a former owner left. A producer needs no entries and gets the
// free endpoint with the most such messages, a consumer the one with the fewest. If every one has some by `kept`, which
// is an upper bound, this counts them again, one endpoint after another, until one has half of its entries free.
std::uint32_t choose_endpoint(QueueEntry& q, bool takes) {
  const auto count = static_cast<std::uint32_t>(q.endpoints.size());
  std::uint32_t best = count;
  const auto take_better = [&](std::uint32_t i) {
    if (q.endpoints[i].client != 0) return;
    if (best == count || (takes ? q.kept[i] < q.kept[best] : q.kept[i] > q.kept[best])) best = i;
  };
  for (std::uint32_t i = 0; i < count; ++i) take_better(i);
  if (!takes || best == count || q.kept[best] == 0) return best;
  const std::uint32_t enough = q.map->config().held_per_endpoint / 2;
  for (std::uint32_t i = 0; i < count; ++i) {
    if (q.endpoints[i].client != 0) continue;
    count_kept(q, i);
    take_better(i);
    if (q.kept[i] <= enough) return i;
  }
  return best;
}

void count_kept(QueueEntry& q, std::uint32_t endpoint) { q.kept[endpoint] = count_in_use(*q.map, endpoint); }

std::uint64_t records_of(const QueueEntry& q, std::uint32_t endpoint) {
  const Endpoint& shared = q.map->endpoint(endpoint);
  const std::uint64_t messages = shared.messages.load(std::memory_order_relaxed);
  return q.map->packs_records() ? messages + shared.more_records.load(std::memory_order_relaxed) : messages;
}

CallCounts count_calls(const QueueEntry& q) {
  CallCounts counts;
  const std::uint32_t n = q.map->config().calls_per_endpoint;
  for (std::uint32_t e = 0; e < q.endpoints.size(); ++e) {
    if (q.endpoints[e].client == 0 || q.endpoints[e].kind != EndpointKind::producer) continue;
    for (std::uint32_t i = e * n; i != (e + 1) * n; ++i) {
      const CallState state = unpack_call(q.map->calls()[i].word.load(std::memory_order_relaxed)).state;
      counts.open += state == CallState::open || state == CallState::writing ? 1 : 0;
      counts.answered += state == CallState::answered ? 1 : 0;
    }
  }
  return counts;
}

void add_tombstones(QueueEntry& q, const std::vector<std::uint64_t>& tickets) {
  q.tombstones.insert(q.tombstones.end(), tickets.begin(), tickets.end());
  std::sort(q.tombstones.begin(), q.tombstones.end());
}

}  // namespace ipcq::detail
