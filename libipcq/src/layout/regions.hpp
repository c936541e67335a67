// The places of a segment's regions, which follow from the counts in its header. The creator fills in its header with
// these functions; an opener applies them to a copy of the header and compares. Pure functions.
#pragma once

#include "layout/layout.hpp"

namespace ipcq::detail {

// Whether each count is within its limits. Precondition of lay_out(), which may overflow otherwise.
bool has_possible_counts(const PoolHeader& header) noexcept;
bool has_possible_counts(const QueueHeader& header) noexcept;

// Fill in `alias_base`, `slot_stride`, `payload_bytes`, every offset and `segment.total_bytes`.
void lay_out(PoolHeader& header) noexcept;
void lay_out(QueueHeader& header) noexcept;

}  // namespace ipcq::detail
