// Where the regions of a segment lie: what follows from the counts in its header. The creator fills its header in by
// these functions; an opener calls them on a copy and compares.
#pragma once

#include "layout/layout.hpp"

namespace ipcq::detail {

// Whether each count is one that a creator would have written. Without that the functions below may overflow.
bool has_possible_counts(const PoolHeader& header) noexcept;
bool has_possible_counts(const QueueHeader& header) noexcept;

// Fill in `alias_base`, `slot_stride`, `payload_bytes`, every offset and `segment.total_bytes`.
void lay_out(PoolHeader& header) noexcept;
void lay_out(QueueHeader& header) noexcept;

}  // namespace ipcq::detail
