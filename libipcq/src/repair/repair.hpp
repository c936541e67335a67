// What the broker does after an endpoint's end, dead or closed: every word that it may have left half-way is brought to
// a state that has an owner. docs/design/ring.md, "Death", lists the cases.
//
// The caller knows that the endpoint runs no instruction any more. All other clients keep running.
#pragma once

#include <cstdint>
#include <vector>

#include "queue/queue_map.hpp"

namespace ipcq::detail {

struct RepairReport {
  std::uint64_t loans = 0;                // slots given back
  std::vector<std::uint64_t> tombstones;  // tickets taken and never published
  std::uint64_t orphans = 0;              // messages that another member will get
  std::uint64_t finished = 0;             // releases, drops and takes completed
  std::uint64_t lost = 0;                 // taken messages for which no held entry was free
  std::uint64_t unwritten = 0;            // published messages whose payload its GPU had not completed
  std::uint64_t late = 0;                 // published messages whose payload its GPU, which lives, has not completed
  std::uint64_t quarantined = 0;          // slots that its GPU work may still write
};

// Who ended, from the broker's own books.
struct Ended {
  std::uint32_t client = 0;
  std::uint32_t endpoint = 0;
  EndpointKind kind = EndpointKind::none;
  bool uses_cuda = false;  // payloads of its slots may come from its streams
  bool alive = false;      // its process goes on, and its streams with it
  // The end of its process does not prove the end of its GPU work: MPS, or a forked child that lives on.
  bool gpu_may_outlive = false;
  // Of endpoints whose held entries may be in use; null: all.
  const std::vector<std::uint32_t>* blocks = nullptr;
};

RepairReport repair_endpoint(const QueueMap& queue, const PoolMap& pool, const Ended& ended);
// For an endpoint that had closed with late payloads, once its process has ended too: the rest of its repair.
RepairReport repair_late_writes(const QueueMap& queue, const PoolMap& pool, const Ended& ended);
// The slots that a client's repair has quarantined serve again: the caller knows that its GPU work has ended. Returns
// how many there are.
std::uint64_t end_quarantine(const PoolMap& pool, std::uint32_t client);

}  // namespace ipcq::detail
