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

}  // namespace

std::string unread_group(const QueueMap& queue, bool for_slot) {
  if (static_cast<Backpressure>(queue.config().backpressure) == Backpressure::drop_oldest) return {};
  const auto& ring = queue.ring();
  const Cursor producers = ring.cursor(kProducers);
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    const auto& group = queue.control().group[g];
    const bool lossy = (group.policy.load(std::memory_order_relaxed) & kGroupLossy) != 0;
    if ((producers.groups >> g & 1) == 0 || lossy) continue;
    const std::uint64_t next = ring.cursor(1 + g).next;
    const bool in_the_way = for_slot ? next < producers.next : next + ring.lines() <= producers.next;
    if (in_the_way && !has_member(queue, g)) return get_text(group.name, sizeof group.name);
  }
  return {};
}

std::string warning_of_unread(const QueueMap& queue, bool for_slot) {
  const std::string group = unread_group(queue, for_slot);
  if (group.empty()) return {};
  const auto& name = queue.config().segment.name;
  return "queue '" + get_text(name, sizeof name) + "': is full, and group '" + group +
         "', which keeps its messages, has no consumer: producers wait until one reads there; if nobody is to, create "
         "the queue without that group (group=NAME lists those that it has)";
}

}  // namespace ipcq::detail
