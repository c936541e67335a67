#include "broker/queue_entry.hpp"

#include <algorithm>

#include "base/crash_point.hpp"

namespace ipcq::detail {
namespace {

std::uint32_t count_in_use(const QueueMap& map, std::uint32_t endpoint) {
  IPCQ_CRASH_POINT("endpoint.block");
  const std::uint32_t block = map.config().held_per_endpoint;
  const Held* const first = map.held() + std::size_t{endpoint} * block;
  return static_cast<std::uint32_t>(
      std::count_if(first, first + block, [](const Held& h) { return h.word.load(std::memory_order_relaxed) != 0; }));
}

}  // namespace

bool lies_on(const QueueEntry& q, int device) {
  return (q.map->on_device() && q.device == device) || (q.pool->map->on_device() && q.pool->options.device == device);
}

// Nothing else of the held entries needs a look: a member takes messages into its own block only, and what was left in
// one when it closed can only become less.
std::vector<std::uint32_t> held_blocks(const QueueEntry& q) {
  std::vector<std::uint32_t> blocks;
  for (std::uint32_t i = 0; i < q.endpoints.size(); ++i) {
    const EndpointEntry& e = q.endpoints[i];
    if (q.kept[i] != 0 || (e.client != 0 && e.kind == EndpointKind::consumer)) blocks.push_back(i);
  }
  return blocks;
}

// Messages that a former owner gave back may still lie in an endpoint's held entries: a producer, which needs none,
// gets one with many such, a consumer one with few: without any if there is one. Else it counts what is really left of
// them, in one after the other until half of the entries of one are free.
std::uint32_t choose_endpoint(QueueEntry& q, bool consumer) {
  const auto count = static_cast<std::uint32_t>(q.endpoints.size());
  std::uint32_t best = count;
  const auto take_better = [&](std::uint32_t i) {
    if (q.endpoints[i].client != 0) return;
    if (best == count || (consumer ? q.kept[i] < q.kept[best] : q.kept[i] > q.kept[best])) best = i;
  };
  for (std::uint32_t i = 0; i < count; ++i) take_better(i);
  if (!consumer || best == count || q.kept[best] == 0) return best;
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

void add_tombstones(QueueEntry& q, const std::vector<std::uint64_t>& tickets) {
  q.tombstones.insert(q.tombstones.end(), tickets.begin(), tickets.end());
  std::sort(q.tombstones.begin(), q.tombstones.end());
}

}  // namespace ipcq::detail
