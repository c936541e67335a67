// A broker's counters at one instant, as Broker::stats() and the control socket give them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ipcq {

// Terms of one group. Once nothing is in flight:
// published since the group joined = delivered + dropped + expired + dead_lettered + lost.
struct GroupStats {
  std::string name;
  bool durable = false;
  bool lossy = false;
  std::uint32_t members = 0;
  std::uint64_t joined_at = 0;  // ticket
  std::uint64_t published = 0;  // messages of this group, tombstones left out
  std::uint64_t waiting = 0;    // published and not yet taken
  std::uint64_t held = 0;       // taken and not yet released, given-back ones included
  std::uint64_t delivered = 0;
  std::uint64_t dropped = 0;
  std::uint64_t expired = 0;
  std::uint64_t dead_lettered = 0;
  std::uint64_t lost = 0;
  std::uint64_t redelivered = 0;
};

// One producer or consumer.
struct EndpointStats {
  std::uint32_t id = 0;
  std::int32_t pid = 0;
  std::uint32_t uid = 0;
  std::string role;   // "producer" or "consumer"
  std::string group;  // of a consumer
  std::string state;  // "running", "stopped" (SIGSTOP or a debugger), "suspect" (connection lost, process alive)
  std::uint64_t messages = 0;
  std::uint64_t bytes = 0;
  std::uint64_t held = 0;  // loans of a producer, messages of a consumer
};

struct QueueStats {
  std::string name;
  std::string pool;
  std::string handler;
  std::string backend;   // "host" or "cuda"
  std::string executor;  // "none" (direct queue), "host", "persistent" or "stream"
  bool parked = false;   // persistent, and no kernel runs while there is nothing to do, or only payloads to wait for
  std::string backpressure;
  std::string state;  // "open", "draining", "closed"
  std::uint64_t slots = 0;
  std::uint64_t slot_bytes = 0;
  std::uint64_t lines = 0;
  std::uint64_t published = 0;   // tickets taken, tombstones left out
  std::uint64_t tombstones = 0;  // places whose producer died before publishing, and switches of executors
  std::uint64_t processed = 0;   // by the handler
  std::uint64_t handler_errors = 0;
  // Messages per second: those of the last second, where the queue's lines reach back that far. Else the average since
  // the statistics before these, or the creation, if that is at most ten seconds ago and longer than what the lines
  // tell of; else the average of what they do.
  double publish_rate = 0;
  // Depth per visible state, in slots (slots of a shared pool count for every queue of it) and lines.
  std::uint64_t empty = 0, claimed = 0, ready = 0, inflight = 0, done = 0, reading = 0;
  std::uint64_t quarantined = 0;     // slots out of use, because GPU work of a dead client may still write them
  std::uint32_t producers_lost = 0;  // died or broke off, and no other has come: the stream stays open for them
  std::int32_t blocked_by_pid = 0;   // process that took a place and has not published: holds the order up; 0: none
  std::string blocked_by_group;      // it keeps its messages and has no member: the queue is full for it; empty: none
  std::vector<GroupStats> groups;
  std::vector<EndpointStats> endpoints;
};

struct BrokerStats {
  std::string name;
  std::string version;
  std::int32_t pid = 0;
  std::uint64_t uptime_ns = 0;
  std::uint64_t shm_bytes = 0;
  std::uint32_t abi = 0;
  std::uint32_t clients = 0;
  std::uint64_t deaths = 0;  // clients that ended without detaching
  std::uint64_t runner_deaths = 0;
  std::vector<QueueStats> queues;
};

}  // namespace ipcq
