// The held entries of some endpoints' blocks, or of all: what a repair and the end of a group have to look through.
//
// Thread-safe as the entries' words are.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "queue/queue_map.hpp"

namespace ipcq::detail {

// Visits held entries until `visit` returns false. True: all were visited. `blocks`: endpoints; null for all.
template <class Visit>
bool for_each_held(const QueueMap& queue, const std::vector<std::uint32_t>* blocks, Visit visit) {
  const auto visit_all = [&](const HeldEntries<SharedAtomics>& entries) {
    return std::all_of(entries.begin(), entries.end(), visit);
  };
  if (blocks == nullptr) return visit_all(queue.held());
  return std::all_of(blocks->begin(), blocks->end(),
                     [&](std::uint32_t block) { return visit_all(queue.held_block(block)); });
}

}  // namespace ipcq::detail
