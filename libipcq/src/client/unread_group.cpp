#include "client/unread_group.hpp"

#include "layout/text_field.hpp"

namespace ipcq::detail {
namespace {

bool has_member(const QueueMap& queue, unsigned g) {
  for (std::uint32_t i = 0; i < queue.config().endpoints; ++i) {
    const Endpoint& e = queue.endpoint(i);
    if (e.client.load(std::memory_order_acquire) != 0 && e.kind == static_cast<std::uint32_t>(EndpointKind::consumer) &&
        e.group == g) {
      return true;
    }
  }
  return false;
}

// A group that must get everything, holds producers up, and meets the condition; kMaxGroups: there is none.
template <class Condition>
unsigned group_in_the_way(const QueueMap& queue, bool for_slot, const Condition& condition) {
  if (static_cast<Backpressure>(queue.config().backpressure) == Backpressure::drop_oldest) return kMaxGroups;
  const auto& ring = queue.ring();
  const Cursor producers = ring.cursor(kProducers);
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    const auto& group = queue.control().group[g];
    const bool lossy = (group.policy.load(std::memory_order_relaxed) & kGroupLossy) != 0;
    if ((producers.groups >> g & 1) == 0 || lossy) continue;
    const std::uint64_t next = ring.cursor(1 + g).next;
    const bool in_the_way = for_slot ? next < producers.next : next + ring.lines() <= producers.next;
    if (in_the_way && condition(g)) return g;
  }
  return kMaxGroups;
}

std::string name_of(const QueueMap& queue, unsigned g) {
  if (g == kMaxGroups) return {};
  const auto& name = queue.control().group[g].name;
  return get_text(name, sizeof name);
}

}  // namespace

std::string unread_group(const QueueMap& queue, bool for_slot) {
  return name_of(queue, group_in_the_way(queue, for_slot, [&](unsigned g) {
                   return !has_member(queue, g) && !queue.ring().cursor(1 + g).paused;
                 }));
}

std::string warning_of_unread(const QueueMap& queue, bool for_slot) {
  const auto& name = queue.config().segment.name;
  const std::string object = "queue '" + get_text(name, sizeof name) + "': is full, and group '";
  const std::string paused =
      name_of(queue, group_in_the_way(queue, for_slot, [&](unsigned g) { return queue.ring().cursor(1 + g).paused; }));
  if (!paused.empty()) {
    return object + paused +
           "', which keeps its messages, is paused, or the queue is: producers wait until that ends "
           "(ipcq resume; ipcq stats shows which)";
  }
  const std::string group = unread_group(queue, for_slot);
  if (group.empty()) return {};
  if (queue.takes_calls()) {
    return "queue '" + get_text(name, sizeof name) +
           "': is full of requests, and no server is attached: clients wait until one is";
  }
  return object + group +
         "', which keeps its messages, has no consumer: producers wait until one reads there; if nobody is to, create "
         "the queue without that group (group=NAME lists those that it has)";
}

}  // namespace ipcq::detail
