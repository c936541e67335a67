#include "broker/groups.hpp"

#include <vector>

#include "base/os.hpp"
#include "ipcq/error.hpp"
#include "repair/membership.hpp"

namespace ipcq::detail {
namespace {

bool may_join(const QueueEntry& q, const GroupEntry& group, bool lossy, Reply& refusal) {
  if (group.leaving) {
    refusal = refuse(Refusal::busy, "group '" + group.name + "': is being dissolved; try again");
    return false;
  }
  if (!lossy || group.lossy) return true;
  refusal =
      refuse(Refusal::usage, "group '" + group.name + "' of queue '" + q.name + "' is not lossy: " +
                                 (group.durable ? "it was declared so (group=" + group.name + ":lossy makes it lossy)"
                                                : "the consumer that founded it did not ask for that") +
                                 "; leave out lossy, or join another group");
  return false;
}

void found_group(QueueEntry& q, unsigned g, const std::string& name, bool lossy) {
  GroupEntry& group = q.groups[g];
  group = GroupEntry{};
  group.name = name;
  group.lossy = lossy;
  auto& shared = q.map->control().group[g];
  set_text(shared.name, sizeof shared.name, name);
  shared.policy.store(lossy ? kGroupLossy : 0, std::memory_order_relaxed);
  group.joined_at = join_group(*q.map, g);
  pause_group(*q.map, g, q.options.paused);  // before its first member knows of it
  group.damaged_before = q.map->control().damaged.load(std::memory_order_relaxed);
}

}  // namespace

std::optional<unsigned> choose_group(QueueEntry& q, const std::string& name, bool lossy, Reply& refusal) {
  check_name(name, "group");
  unsigned free = kMaxGroups;
  bool leaving = false;
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    const GroupEntry& group = q.groups[g];
    leaving = leaving || group.leaving;
    if (group.name == name) return may_join(q, group, lossy, refusal) ? std::optional<unsigned>(g) : std::nullopt;
    if (group.name.empty() && free == kMaxGroups) free = g;
  }
  if (free == kMaxGroups) {
    refusal = refuse(leaving ? Refusal::busy : Refusal::usage, "group '" + name + "': queue '" + q.name + "' has " +
                                                                   std::to_string(kMaxGroups) +
                                                                   " groups already, the most that are possible");
    return std::nullopt;
  }
  found_group(q, free, name, lossy);
  return free;
}

bool remove_member(QueueEntry& q, unsigned g) {
  GroupEntry& group = q.groups[g];
  if (--group.members != 0 || group.durable) return false;
  group.leaving = true;
  group.left_at = leave_group(*q.map, g);
  return true;
}

bool dissolve_groups(QueueEntry& q) {
  if (q.lost) return true;
  bool all = true;
  if (q.map->handler_answers() && q.groups[0].members == 0 && !q.options.paused) {  // answers that nobody waits for
    const std::vector<std::uint32_t> blocks = held_blocks(q);
    const std::uint64_t next = q.map->ring().cursor(kProducers).next;
    all = drain_left_group(*q.map, *q.pool->map, 0, next, &blocks);
  }
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    if (!q.groups[g].leaving) continue;
    const std::vector<std::uint32_t> blocks = held_blocks(q);
    if (drain_left_group(*q.map, *q.pool->map, g, q.groups[g].left_at, &blocks)) {
      q.groups[g] = GroupEntry{};
    } else {
      all = false;
    }
  }
  return all;
}

void apply_pauses(const QueueEntry& q) {
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    if (is_kept(q.groups[g])) pause_group(*q.map, g, q.options.paused || q.groups[g].paused);
  }
  if (q.map->handler_answers()) q.map->ring_call_bells();  // on which the members of its group sleep
}

void pause_one_group(QueueEntry& q, const std::string& name, bool paused) {
  std::string known;
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    GroupEntry& group = q.groups[g];
    if (!is_kept(group)) continue;
    if (group.name != name) {
      known += (known.empty() ? "" : ", ") + group.name;
      continue;
    }
    group.paused = paused;
    for (GroupOptions& o : q.options.groups) {
      if (o.name == name) o.paused = paused;  // also for a recreation of the queue
    }
    return apply_pauses(q);
  }
  throw NotFoundError("group '" + printable(name) + "': queue '" + q.name + "' has no such group; it has " +
                      (known.empty() ? "none" : known));
}

// This is the group `default` of a queue whose options name none, or the one that they name.
bool is_default_unread(QueueEntry& q) {
  GroupEntry& group = q.groups[0];
  if (q.options.groups.size() != 1 || !group.durable || group.lossy || group.members != 0 || group.warned) return false;
  group.warned = true;
  return true;
}

}  // namespace ipcq::detail
