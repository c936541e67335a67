// Which types a queue's messages have (ipcq/schema.hpp), and whether an endpoint that opens has the same.
//
//   any --an endpoint that claims a type opens--> bound --one of another type opens, while no endpoint of this type is
//    |                                             ^     open and nothing is left in the queue--> bound to that
//    `--- declared at the creation: for ever       |
//
// Thread safety: guarded by the broker's mutex. Invariant: the text in the queue's segment is that of QueueEntry.
#pragma once

#include <string>

#include "broker/queue_entry.hpp"
#include "control/schema_claim.hpp"

namespace ipcq::detail {

// Checks what options declare. Throws UsageError: no canonical text; a result where there is none.
void check_schema_options(const std::string& object, const QueueOptions& options);

// Whether an endpoint with this claim may open. Throws UsageError, which names both texts.
void check_claim(const QueueEntry& q, EndpointKind kind, const SchemaClaim& claim);
// After one that was never used has closed: what it has bound is free again.
void unbind_claim(QueueEntry& q, const EndpointEntry& was);
// After check_claim(), for one that opens.
void bind_claim(QueueEntry& q, EndpointEntry& e, const SchemaClaim& claim);

}  // namespace ipcq::detail
