// Consumers join and leave the groups of one queue. An ephemeral group begins with its first member and ends with its
// last; a durable one, which the queue declares, has neither.
#pragma once

#include <optional>
#include <string>

#include "broker/queue_entry.hpp"
#include "control/control.hpp"

namespace ipcq::detail {

// Chooses the group of that name for a consumer, or makes an ephemeral one. None, with `refusal`, when it cannot join.
// Throws UsageError for what cannot be a name.
std::optional<unsigned> choose_group(QueueEntry& q, const std::string& name, bool lossy, Reply& refusal);
// A member is gone. True when the group is being dissolved now: dissolve_groups() is to follow.
bool remove_member(QueueEntry& q, unsigned g);
// Ends the groups that are being dissolved, as far as possible. False when one goes on: a producer stands between
// claiming a ticket for it and publishing.
bool dissolve_groups(QueueEntry& q);
// Whether consumers come in other groups alone while `default` keeps all messages for nobody. True once.
bool is_default_unread(QueueEntry& q);

}  // namespace ipcq::detail
