#include "broker/registered_homes.hpp"

#include <algorithm>

namespace ipcq::detail {

const QueueEntry* RegisteredHomes::entry_of(std::uint64_t generation) const {
  const auto& queues = registry_.queues();
  const auto found = std::find_if(queues.begin(), queues.end(), [&](const auto& named) {
    return named.second.map->config().segment.generation == generation;
  });
  return found != queues.end() ? &found->second : nullptr;
}

std::optional<CallHomes::Home> RegisteredHomes::find(std::uint64_t generation) const {
  const QueueEntry* const q = entry_of(generation);
  if (q == nullptr) return {};
  return Home{q->map.get(), q->pool->map.get()};
}

bool RegisteredHomes::was_published(std::uint64_t generation, std::uint64_t ticket) const {
  const QueueEntry* const q = entry_of(generation);
  return q != nullptr && !std::binary_search(q->tombstones.begin(), q->tombstones.end(), ticket);
}

}  // namespace ipcq::detail
