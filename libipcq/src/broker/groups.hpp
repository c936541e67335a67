// Consumers join and leave the groups of one queue. An ephemeral group begins with its first member and ends with its
// last; a durable one, which the queue's options name, lives as long as the queue.
//
// Thread safety: guarded by the broker's mutex. Invariant: no consumer joins a group that is being dissolved, and its
// number is not used again until that is done.
#pragma once

#include <optional>
#include <string>

#include "broker/queue_entry.hpp"
#include "control/control.hpp"

namespace ipcq::detail {

// Chooses the group of that name for a consumer, or makes an ephemeral one. Nullopt, with `refusal` set, when the
// consumer cannot join. Throws UsageError for an invalid name.
std::optional<unsigned> choose_group(QueueEntry& q, const std::string& name, bool lossy, Reply& refusal);
// Counts out a member that has closed. True if the group is to be dissolved: the caller has to call dissolve_groups().
bool remove_member(QueueEntry& q, unsigned g);
// Ends the groups that are being dissolved. False: call again later, because a producer has claimed a ticket for one
// and not published, or a GPU may still write a payload.
bool dissolve_groups(QueueEntry& q);
// Has the groups' members take messages, or not, as the queue and each group say.
void apply_pauses(const QueueEntry& q);
// Pauses one group, or lets it go on. Throws NotFoundError, which lists those that there are.
void pause_one_group(QueueEntry& q, const std::string& name, bool paused);
// Whether the queue's only durable group keeps its messages and has no member, so that producers will wait once the
// queue is full. True once per queue.
bool is_default_unread(QueueEntry& q);

}  // namespace ipcq::detail
