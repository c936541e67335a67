// What a broker creates: pools of slots, queues, consumer groups. Plain data; defaults are what most users want.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "ipcq/export.hpp"
#include "ipcq/wait.hpp"

namespace ipcq {

enum class LogLevel : std::uint8_t { debug, info, warning, error };
// Receives the library's messages (one line, no newline). Empty: silence. Called by a thread of its broker's or
// session's own, one call at a time and in order, and free to use that broker or session. Nothing waits for it: while
// it is busy 1024 lines wait, and further ones are counted ("N lines were not logged"). Broker::stop() and the
// destructors of Broker and Session deliver what waits, for a second at most; a call that has begun by then goes on.
using LogCallback = std::function<void(LogLevel, std::string_view)>;

// What a publish does when no line or slot is free.
enum class Backpressure : std::uint8_t {
  block = 0,        // wait, up to the call's time-out
  reject = 1,       // return Status::full at once
  drop_oldest = 2,  // discard the oldest finished message of the group that lags most, counted
};

// "block", "reject" or "drop-oldest".
IPCQ_API std::string_view to_string(Backpressure backpressure) noexcept;

// Whether a slow group may hold producers up.
enum class GroupPolicy : std::uint8_t {
  must,   // every message: the queue's backpressure applies
  lossy,  // skips its oldest messages instead of holding anybody up; each skip is counted and visible
};

// A declared group is durable: it retains messages while it has no member.
struct GroupOptions {
  std::string name = "default";
  GroupPolicy policy = GroupPolicy::must;
};

// Whether a pool in device memory has a copy of each slot in pinned host memory. Clients without a GPU read and write
// payloads there; without it only clients that use ipcq::cuda can.
enum class Mirror : std::uint8_t { none = 0, full = 1 };

// Who works on a device queue. docs/design/cuda.md has the trade.
enum class ExecutorKind : std::uint8_t {
  // The key is `auto`, a word of the language. Persistent under MPS or while no client uses ipcq::cuda, else stream.
  auto_ = 0,       // NOLINT(readability-identifier-naming)
  persistent = 1,  // one kernel that stays: lowest latency, but other processes' GPU work waits for it without MPS
  stream = 2,      // a kernel per message, ordered by stream operations: nothing spins on the GPU
};
// "auto", "persistent" or "stream".
IPCQ_API std::string_view to_string(ExecutorKind kind) noexcept;

struct PoolOptions {
  std::uint32_t slots = 64;      // 1 .. 1'048'576
  std::size_t size = 4096;       // payload capacity of one slot, 1 .. 4 GiB - 1
  std::string backend = "auto";  // "auto" (host), "host" or "cuda": where the payloads lie
  int device = 0;                // "cuda": number of the GPU, as CUDA counts them
  Mirror mirror = Mirror::full;  // "cuda"
};

struct QueueOptions {
  std::uint32_t slots = 64;  // of the queue's own pool; 0 with inline-only queues
  std::size_t size = 4096;   // of the queue's own pool
  std::string pool{};        // name of an existing pool to share instead of an own one
  std::uint32_t lines = 0;   // messages that may wait, rounded up to a power of two; 0: 2 x slots, 1024 at least
  std::string handler{};     // applied in place to every message; empty: direct queue
  // "host", "cuda", or "auto": cuda where there is a GPU and the queue has a handler (or its pool is in device memory).
  std::string backend = "auto";
  int device = 0;                // "cuda": number of the GPU, as CUDA counts them; an own pool lies there
  Mirror mirror = Mirror::full;  // "cuda": of the queue's own pool
  bool host_readable = true;     // "cuda": processed payloads are copied to the mirror, for consumers without a GPU
  ExecutorKind executor = ExecutorKind::auto_;  // "cuda"
  std::uint32_t threads = 1;   // of the host executor of the handler, 1 .. 256; without one only the default
  Wait wait = Wait::hybrid();  // how these threads wait; likewise
  Backpressure backpressure = Backpressure::block;
  std::vector<GroupOptions> groups = {GroupOptions{}};  // durable groups, 8 at most
  std::uint32_t endpoints = 64;                         // producers and consumers open at once, 1 .. 1024
  std::uint32_t held = 128;                             // messages one consumer may hold at once, 1 .. 4096
};

// Bytes that a pool or a queue takes, known before it is created.
struct MemoryNeeds {
  std::uint64_t shared_memory = 0;  // in /dev/shm
  std::uint64_t pinned = 0;         // of these, pinned for the GPU
  std::uint64_t device_memory = 0;  // on the GPU
};
// "auto" counts as "host"; ask for both where it is open. A queue's own pool is counted in; `shared`: the pool of a
// queue that has none, whose memory is not. Throw UsageError for options out of range.
IPCQ_API MemoryNeeds memory_needs(const PoolOptions& options);
IPCQ_API MemoryNeeds memory_needs(const QueueOptions& options, const PoolOptions* shared = nullptr);

}  // namespace ipcq
