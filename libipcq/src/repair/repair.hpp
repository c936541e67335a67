// The repair of an endpoint that has ended, by death or close. It brings every shared word that the endpoint may have
// left half-done to a state that has an owner. docs/design/ring.md, "Death", lists the cases.
//
// Called by the broker only, one repair at a time per queue. Precondition: the endpoint executes no instruction any
// more on the queue; all other clients keep running. Idempotent. Does not wait.
#pragma once

#include <cstdint>
#include <vector>

#include "queue/queue_map.hpp"
#include "repair/call_homes.hpp"

namespace ipcq::detail {

struct RepairReport {
  std::uint64_t loans = 0;                // loans freed
  std::vector<std::uint64_t> tombstones;  // tickets that were claimed and not published
  std::uint64_t orphans = 0;              // messages that another member can take
  std::uint64_t finished = 0;             // releases, discards and takes completed
  std::uint64_t lost = 0;                 // claimed messages for which no held entry was free
  std::uint64_t unwritten = 0;            // published messages whose payload will never be complete
  std::uint64_t late = 0;                 // published messages whose payload the process, alive, has yet to complete
  std::uint64_t quarantined = 0;          // slots that its GPU work may still write
};

// The endpoint, from the broker's private records, not from shared memory.
struct Ended {
  std::uint32_t client = 0;
  std::uint32_t endpoint = 0;
  EndpointKind kind = EndpointKind::none;
  bool uses_cuda = false;  // its streams may write payloads
  bool alive = false;      // its process is alive, and so are its streams
  // The end of its process does not prove the end of its GPU work: under MPS, or if a forked child lives.
  bool gpu_may_outlive = false;
  // The endpoints whose held entries may be in use; null: all.
  const std::vector<std::uint32_t>* blocks = nullptr;
  const CallHomes* homes = nullptr;  // null: it has no request that was passed on
};

// Repairs, then rings every doorbell of the queue and its pool.
RepairReport repair_endpoint(const QueueMap& queue, const PoolMap& pool, const Ended& ended);
// The rest of the repair of an endpoint that closed with `late` payloads, once its process has ended.
RepairReport repair_late_writes(const QueueMap& queue, const PoolMap& pool, const Ended& ended);
// Frees the slots that the repair of `client` has quarantined. Precondition: its GPU work has ended. Returns their
// number.
std::uint64_t end_quarantine(const PoolMap& pool, std::uint32_t client);

}  // namespace ipcq::detail
