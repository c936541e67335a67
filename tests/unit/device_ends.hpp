// A device queue whose clients have a GPU too, and end. Clients: 2, 3 producers; 5, 6 members of group 0 at endpoints
// 0, 1; 9 a later client.
#pragma once

#include <gtest/gtest.h>

#include <ostream>

#include "device_segments.hpp"
#include "repair/repair.hpp"

namespace ipcq::detail {

// How a process with a GPU ended, as the broker is told.
enum class End { died, died_under_mps, closed };
inline std::ostream& operator<<(std::ostream& s, End end) {
  return s << (end == End::died ? "died" : end == End::closed ? "closed" : "died_under_mps");
}

struct Ends {
  DeviceSegments s;
  explicit Ends(QueueMap::Executed executed = QueueMap::Executed::by_device) : s(executed) {}

  static Ended ended(End how, EndpointKind kind, std::uint32_t client, std::uint32_t endpoint) {
    return {.client = client,
            .endpoint = endpoint,
            .kind = kind,
            .uses_cuda = true,
            .alive = how == End::closed,
            .gpu_may_outlive = how == End::died_under_mps};
  }
  RepairReport producer_ends(End how, std::uint32_t client = 2) {
    return repair_endpoint(s.queue(), s.pool_map(), ended(how, EndpointKind::producer, client, 3));
  }
  RepairReport consumer_ends(End how) {
    return repair_endpoint(s.queue(), s.pool_map(), ended(how, EndpointKind::consumer, 5, 0));
  }
  // Called after producer_ends(End::closed).
  RepairReport process_ends(End how) {
    return repair_late_writes(s.queue(), s.pool_map(), ended(how, EndpointKind::producer, 2, 3));
  }

  // The number of slots that can still be lent.
  std::size_t slots_to_lend() {
    std::size_t n = 0;
    while (s.borrow(9).slot != kNone) ++n;
    return n;
  }
};
}  // namespace ipcq::detail
