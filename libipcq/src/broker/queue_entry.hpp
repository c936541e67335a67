// One queue as the broker knows it: its endpoints, its groups, and the state of its stream of messages.
//
// Thread safety: guarded by the broker's mutex; the shared memory of the maps changes at any time. Invariant: what
// stands here is the broker's own record: clients cannot change it, and repairs rely on it.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include "broker/handler_image.hpp"
#include "broker/kept_state.hpp"
#include "broker/pool_entry.hpp"
#include "broker/runner_key.hpp"
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
  bool took_place = false;     // a producer: it counts in place of one that died
  std::uint8_t typed = 0;      // bit p: it has claimed the schema of SchemaPlace p
  std::uint8_t has_bound = 0;  // likewise: and none was there, or another
};

// A consumer group.
//
//   free --join--> in the set --last member of an ephemeral one leaves--> leaving --drained--> free
struct GroupEntry {
  std::string name;  // empty: free
  bool durable = false;
  bool lossy = false;
  bool warned = false;  // a log line said that nobody reads it
  bool paused = false;  // by itself: its members take nothing
  std::uint64_t joined_at = 0;
  std::uint32_t members = 0;
  bool leaving = false;
  std::uint64_t left_at = 0;
  std::uint64_t lost = 0;            // counted by endpoints that have closed
  std::uint64_t filtered = 0;        // likewise
  std::uint64_t redelivered = 0;     // likewise
  std::uint64_t records = 0;         // likewise: records_of() them
  std::uint64_t damaged_before = 0;  // lines that the executor had passed over when the group joined
};
inline bool is_kept(const GroupEntry& group) { return !group.name.empty() && !group.leaving; }

// A handler that its process dies of again and again is started again after longer and longer pauses, so that the
// others of that process can work in between.
struct Relapses {
  bool is_starting = false;  // the runner has been asked to start it, and has not answered
  unsigned streak = 0;       // deaths of it, each soon after the one before
  std::uint64_t last_ns = 0;
};

// A handler that is to take the place of one whose host runner is gone: the queue is started again with it. With the
// broker's mutex.
struct PendingHandler {
  std::string handler;
  std::shared_ptr<const HandlerImage> image;
  bool done = false;
  std::exception_ptr refused{};  // why it was not started
};

struct QueueEntry {  // NOLINT(bugprone-reserved-identifier,readability-identifier-naming): of the move that clang makes
  std::string name;
  QueueOptions options;
  std::shared_ptr<PoolEntry> pool;
  std::shared_ptr<QueueMap> map;              // statistics and dumps may own it too
  std::unique_ptr<Executor> executor;         // declared after the map, so that it ends first
  std::shared_ptr<RunnerLink> executed_by;    // of a queue whose executor is a runner's
  std::uint64_t id_there = 0;                 // of the queue, in that runner's requests
  std::shared_ptr<const HandlerImage> image;  // of a handler of the user's
  std::shared_ptr<const KeptState> state;     // null: the handler has none
  int device = 0;                             // of a device queue
  Relapses relapses;                          // of a handler in the host runner
  std::shared_ptr<PendingHandler> pending;    // for its next start there
  std::uint64_t birth = 0;                    // of its first creation; another queue of its name has another
  bool draining = false;                      // a user has closed its intake
  bool lost = false;                          // its runner answers no more: nothing goes in, nobody attaches
  std::string schemas[kSchemas];              // of SchemaPlace; as its segment has them (broker/schemas.hpp)
  std::vector<EndpointEntry> endpoints;
  // For each endpoint, the number of its held entries that former owners left in use: given back, or taken over by
  // other members. An upper bound.
  std::vector<std::uint32_t> kept;
  GroupEntry groups[kMaxGroups];
  std::uint32_t producers = 0;               // open now
  std::uint32_t producers_lost = 0;          // died, and no later one has replaced them
  std::uint64_t producers_opened = 0;        // ever
  std::uint64_t records = 0;                 // records_of() producers that have closed
  std::uint64_t cancelled = 0;               // calls that endpoints which have closed found cancelled
  bool end_asked = false;                    // by end_stream()
  ExecutorKind asked = ExecutorKind::auto_;  // of a device queue: the last executor that was asked for
  bool wants_stream = false;                 // a switch to stream waits for a place in the queue
  std::vector<std::uint64_t> tombstones;     // tickets, ascending
  // As of the previous statistics, or the creation: the rate is counted from there.
  mutable std::uint64_t rate_published = 0;
  mutable std::uint64_t rate_at_ns = 0;
};

// The runner that `device` has for the queue: the one that all share, or its own.
RunnerKey runner_on(int device, const std::string& name, const QueueOptions& options);
inline RunnerKey runner_on(int device, const QueueEntry& q) { return runner_on(device, q.name, q.options); }
// Whether the queue's executor, or its payloads, are with this runner.
bool lies_with(const QueueEntry& q, const RunnerKey& runner);
// Whether an endpoint of this kind takes messages: a consumer, or a client that collects what the handler answers.
bool takes_messages(const QueueMap& queue, EndpointKind kind);
// What users call an endpoint of this kind: "producer", "consumer", "client" or "server".
const char* role_of(const QueueMap& queue, EndpointKind kind);
// Blocks of held entries in which one may be in use.
std::vector<std::uint32_t> held_blocks(const QueueEntry& q);
// A free endpoint for one that takes messages, or for one that takes none; q.endpoints.size() when there is none.
std::uint32_t choose_endpoint(QueueEntry& q, bool takes);
// Counts anew what the endpoint's former owners left in use.
void count_kept(QueueEntry& q, std::uint32_t endpoint);
// Payloads that an endpoint has published, or received for the first time: its own count, for display. An endpoint that
// was killed may have published, or received, a message that is not in it. Where no records are packed each message is
// one, and endpoints do not count them apart.
std::uint64_t records_of(const QueueEntry& q, std::uint32_t endpoint);
// Calls of the queue's clients that are open now.
struct CallCounts {
  std::uint64_t open = 0;
  std::uint64_t answered = 0;  // and not done with
};
CallCounts count_calls(const QueueEntry& q);
// Adds tickets that were taken and never published.
void add_tombstones(QueueEntry& q, const std::vector<std::uint64_t>& tickets);

}  // namespace ipcq::detail
