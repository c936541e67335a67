// A broker's counters, as Broker::stats() and fetch_stats() return them. Plain data. Counters of one queue are read
// while its clients go on, so they need not be of exactly one instant.
//
// `records` counts payloads where its neighbours count messages. The two are the same but in a queue with batch=records
// (QueueOptions::batch), whose messages may carry many payloads. There `records` is for display: it is the sum of what
// producers and consumers, open and closed, have counted themselves, and one that was killed may have published or
// received a batch that is not in it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ipcq {

// One consumer group. Messages are counted since the group joined, without tombstones. Once nothing waits and
// nothing is held: published = delivered + filtered + dropped + expired + dead_lettered + lost.
struct GroupStats {
  std::string name;
  bool durable = false;             // declared in QueueOptions::groups; else ephemeral
  bool lossy = false;               // GroupPolicy::lossy
  bool paused = false;              // by itself; QueueStats::paused pauses all groups
  std::uint32_t members = 0;        // consumers that are open now
  std::uint64_t joined_at = 0;      // first ticket of the group
  std::uint64_t published = 0;      // for this group
  std::uint64_t waiting = 0;        // published and not yet taken
  std::uint64_t held = 0;           // taken and not yet released, given-back ones included
  std::uint64_t delivered = 0;      // released: derived, the rest of `published`
  std::uint64_t filtered = 0;       // the queue's handler dropped them; whole messages, not records of a batch
  std::uint64_t dropped = 0;        // skipped by drop-oldest or for a lossy group
  std::uint64_t expired = 0;        // 0 in this version
  std::uint64_t dead_lettered = 0;  // 0 in this version
  std::uint64_t lost = 0;           // invalid content, or the repair after a death had no room for it
  std::uint64_t redelivered = 0;    // repeated deliveries, not a term of the sum
  std::uint64_t records = 0;        // payloads that members received for the first time, not a term of the sum; by
                                    // ipcq::cuda a batch is one
};

// One producer or consumer that is open.
struct EndpointStats {
  std::uint32_t id = 0;  // of a producer: Message::producer()
  std::int32_t pid = 0;  // as the broker sees it
  std::uint32_t uid = 0;
  std::string role;   // "producer" or "consumer"; of a queue of calls "client" or "server"
  std::string group;  // of a consumer
  std::string state;  // "running", "stopped" (SIGSTOP or a debugger), "suspect" (connection lost, process alive)
  std::uint64_t messages = 0;  // published (of a client: requests), or received for the first time
  std::uint64_t records = 0;   // payloads of these
  std::uint64_t bytes = 0;     // of payload, published or received
  std::uint64_t held = 0;      // loans of a producer, messages of a consumer
};

// More than 25 members: one record of plain values, a column each for whoever prints or exports them.
struct QueueStats {
  std::string name;
  std::string pool;                  // an own pool has the queue's name
  std::string handler;               // empty: direct queue
  std::string backend;               // "host" or "cuda"
  std::string executor;              // "none" (direct queue), "host", "persistent" or "stream"
  bool parked = false;               // persistent, and no kernel runs, since there is nothing to process yet
  std::string backpressure;          // to_string(Backpressure)
  std::string state;                 // "open", "draining" (takes nothing more) or "closed"
  bool paused = false;               // nothing leaves it: neither its handler nor its groups take messages
  std::uint64_t slots = 0;           // of its pool
  std::uint64_t slot_bytes = 0;      // payload capacity of one slot; 0 without slots
  std::uint64_t lines = 0;           // messages that may wait
  std::uint64_t line_bytes = 0;      // of a line
  std::uint64_t inline_bytes = 0;    // a payload of up to so many bytes travels in its line, without a slot
  std::string batch;                 // to_string(Batch)
  std::string schema;                // of its messages (ipcq/schema.hpp); empty: any bytes
  std::string result_schema;         // of what its handler makes of them, or of replies; likewise
  std::uint64_t metadata_bytes = 0;  // that a message may have beside its payload
  std::uint64_t published = 0;       // tickets claimed, without tombstones
  std::uint64_t records = 0;         // payloads of these
  std::uint64_t tombstones = 0;      // tickets without a message: their producer died, or the executor was switched
  std::uint64_t processed = 0;       // by the executor, `handler_errors` included
  std::uint64_t handler_errors = 0;  // messages that the handler refused (Message::processed() is false)
  // Messages published per second: in the last second, if the queue's lines reach back that far. Else an average: since
  // the previous statistics or the creation, if that is 10 s ago at most and before the oldest line; else since the
  // oldest line. Inline messages carry no time: while the youngest are inline, an average since the previous statistics
  // or the creation.
  double publish_rate = 0;
  // Slots of its pool, which all queues that share the pool count: `empty` are free, `claimed` are on loan.
  // Messages: `ready` for the executor, `inflight` in it, `done` and not yet taken by every group; `reading`: the sum
  // of GroupStats::held.
  std::uint64_t empty = 0, claimed = 0, ready = 0, inflight = 0, done = 0, reading = 0;
  std::uint64_t quarantined = 0;     // slots out of use, because GPU work of a dead client may still write them
  std::uint32_t producers_lost = 0;  // died or broke off and not replaced by another: the stream does not end
  std::int32_t blocked_by_pid = 0;   // process that claimed the oldest ticket not published, and holds up later ones
  std::string blocked_by_group;      // group without a member that must get every message and holds the queue full
  // Of a queue of calls. Calls that are under way: `calls_open` are not answered; of these `waiting` and `held` of the
  // group `servers` are requests that nobody, or somebody, works on. `calls_answered`: what came is not done with.
  std::uint64_t calls = 0;      // of one client at once; 0: the queue takes none
  std::string on_server_death;  // to_string(OnServerDeath); empty without servers
  std::uint64_t calls_open = 0;
  std::uint64_t calls_answered = 0;
  std::uint64_t calls_cancelled = 0;  // nobody waited any more when they were taken or answered
  std::vector<GroupStats> groups;
  std::vector<EndpointStats> endpoints;
};

struct BrokerStats {
  std::string name;
  std::string version;  // of libipcq in the broker
  std::int32_t pid = 0;
  std::uint64_t uptime_ns = 0;
  std::uint64_t shm_bytes = 0;      // in /dev/shm, of all queues and pools
  std::uint32_t abi = 0;            // of the shared memory layout
  std::uint32_t clients = 0;        // sessions
  std::uint64_t deaths = 0;         // client processes that ended without detaching
  std::uint64_t runner_deaths = 0;  // runners that were lost
  std::vector<QueueStats> queues;
};

}  // namespace ipcq
