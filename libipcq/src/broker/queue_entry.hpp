// One queue as the broker knows it: its endpoints, its groups, and how its stream of messages stands.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "broker/pool_entry.hpp"
#include "broker/runner_link.hpp"
#include "executor/executor.hpp"
#include "ipcq/options.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::detail {

// One open producer or consumer.
struct EndpointEntry {
  std::uint32_t client = 0;  // 0: free
  EndpointKind kind = EndpointKind::none;
  unsigned group = 0;
  std::int32_t pid = 0;
  std::uint32_t uid = 0;
  int session = -1;  // socket of its client
  bool uses_cuda = false;
  bool took_place = false;  // of a producer that died
};

// A consumer group.
//
//   free --join--> in the set --last member of an ephemeral one leaves--> leaving --drained--> free
struct GroupEntry {
  std::string name;  // empty: free
  bool durable = false;
  bool lossy = false;
  bool warned = false;  // that nobody reads it
  std::uint64_t joined_at = 0;
  std::uint32_t members = 0;
  bool leaving = false;
  std::uint64_t left_at = 0;
  std::uint64_t lost = 0;            // of endpoints that are gone
  std::uint64_t redelivered = 0;     // likewise
  std::uint64_t damaged_before = 0;  // lines that the executor had passed over when the group joined
};
inline bool is_kept(const GroupEntry& group) { return !group.name.empty() && !group.leaving; }

struct QueueEntry {  // NOLINT(bugprone-reserved-identifier,readability-identifier-naming): of the move that clang makes
  std::string name;
  QueueOptions options;
  std::shared_ptr<PoolEntry> pool;
  std::shared_ptr<QueueMap> map;            // statistics may have it, too
  std::unique_ptr<Executor> executor;       // after the map: ends first
  std::shared_ptr<RunnerLink> executed_by;  // of a queue whose executor is a runner's
  int device = 0;                           // of a device queue
  bool lost = false;                        // with its runner: nothing is promised of it any more
  std::vector<EndpointEntry> endpoints;
  // Of each endpoint's held entries, those that former owners left in use: given back, or taken over by others. Never
  // fewer than there are.
  std::vector<std::uint32_t> kept;
  GroupEntry groups[kMaxGroups];
  std::uint32_t producers = 0;               // open now
  std::uint32_t producers_lost = 0;          // died, and no other has come in their place
  std::uint64_t producers_opened = 0;        // ever
  bool end_asked = false;                    // by end_stream()
  ExecutorKind asked = ExecutorKind::auto_;  // of a device queue: the last that was asked for
  bool wants_stream = false;                 // its executor is to change once the queue has a place for that
  std::vector<std::uint64_t> tombstones;     // tickets, ascending
  // Previous statistics, or the creation, for the rate.
  mutable std::uint64_t rate_published = 0;
  mutable std::uint64_t rate_at_ns = 0;
};

// Whether the queue, or its payloads, go with the runner of this GPU.
bool lies_on(const QueueEntry& q, int device);
// Blocks of held entries in which one may be in use.
std::vector<std::uint32_t> held_blocks(const QueueEntry& q);
// A free endpoint for a producer or a consumer; q.endpoints.size() when there is none.
std::uint32_t choose_endpoint(QueueEntry& q, bool consumer);
// Counts anew what the endpoint's former owners left in use.
void count_kept(QueueEntry& q, std::uint32_t endpoint);
// Adds tickets that were taken and never published.
void add_tombstones(QueueEntry& q, const std::vector<std::uint64_t>& tickets);

}  // namespace ipcq::detail
