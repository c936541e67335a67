// What a broker creates: pools of slots, queues, consumer groups. Plain data; defaults are what most users want. The
// broker checks it at creation (UsageError).
//
// Names of queues, pools and groups: 1 to 63 letters, digits, '.', '_' or '-', not starting with '.' or '-'.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ipcq/export.hpp"
#include "ipcq/log.hpp"
#include "ipcq/wait.hpp"

namespace ipcq {

// What a publish does when no line or slot is free.
enum class Backpressure : std::uint8_t {
  block = 0,        // wait, up to the call's time-out
  reject = 1,       // return Status::full at once
  drop_oldest = 2,  // discard the oldest readable message of the group that lags most, and count it
};

// "block", "reject" or "drop-oldest"; "unknown" for other values.
IPCQ_API std::string_view to_string(Backpressure backpressure) noexcept;

// How payloads that Producer::send_many() is given at once travel.
enum class Batch : std::uint8_t {
  messages = 0,  // each is a message of its own
  // As records of few messages: as many together as a slot holds (ipcq/records.hpp). All receiving calls show each
  // record by itself, so programs stay as they are. What fits no slot together with another, and what send() and loans
  // publish, is a message of its own as before. Counters count a batch as one message; `records` of the statistics
  // (ipcq/stats.hpp) counts payloads.
  records = 1,
};
// "messages" or "records"; "unknown" for other values.
IPCQ_API std::string_view to_string(Batch batch) noexcept;

// Whether a slow group may hold producers up.
enum class GroupPolicy : std::uint8_t {
  must,   // yes: the queue's backpressure applies to its lag, and only drop_oldest takes a message from it
  lossy,  // no: no producer waits for it; the oldest messages are skipped instead, and counted (GroupStats::dropped)
};

// What becomes of a call whose server has died, or has closed, before it had answered.
enum class OnServerDeath : std::uint8_t {
  fail = 0,       // the caller is told at once (Status::server_died)
  redeliver = 1,  // another server gets the request, unless the caller has had a reply: a server may get one that
                  // another has worked on
};
// "fail" or "redeliver"; "unknown" for other values.
IPCQ_API std::string_view to_string(OnServerDeath what) noexcept;

// How Broker::remove() treats a queue that is in use.
enum class Removal : std::uint8_t {
  if_unused,  // it is refused
  at_once,    // its clients are told that it is closed, and what is in it is gone
};

// A declared group is durable: it retains messages while it has no member.
struct GroupOptions {
  std::string name = "default";
  GroupPolicy policy = GroupPolicy::must;
  bool paused = false;  // begins so: its members take nothing before Broker::resume() of it
};

// Whether a pool in device memory has a copy of each slot in pinned host memory. Clients without a GPU read and write
// payloads there; without it only clients that use ipcq::cuda can.
enum class Mirror : std::uint8_t { none = 0, full = 1 };

// How a runner processes a device queue. docs/design/cuda.md, "Executors".
enum class ExecutorKind : std::uint8_t {
  // The key is `auto`, a word of the language. Persistent under MPS or while no client uses ipcq::cuda, else stream.
  auto_ = 0,       // NOLINT(readability-identifier-naming)
  persistent = 1,  // one kernel that stays: lowest latency, but other processes' GPU work waits for it without MPS
  stream = 2,      // a kernel per message, ordered by stream operations: nothing spins on the GPU
};
// "auto", "persistent" or "stream"; "unknown" for other values.
IPCQ_API std::string_view to_string(ExecutorKind kind) noexcept;

struct PoolOptions {
  std::uint32_t slots = 64;      // 1 .. 1'048'576
  std::size_t size = 4096;       // payload capacity of one slot, 1 .. 4 GiB - 1 bytes
  std::string backend = "auto";  // "auto" (host), "host" or "cuda": where the payloads are
  int device = 0;                // "cuda": number of the GPU, as CUDA counts them
  Mirror mirror = Mirror::full;  // "cuda"
  // Bytes that a message may have beside its payload, in host memory wherever the payload is (Loan::set_metadata()), 0
  // to 4096; 0: none.
  std::uint32_t metadata = 0;
};

struct QueueOptions {
  std::uint32_t slots = 64;  // of the queue's own pool, 0 .. 1'048'576; 0: only messages of Producer::inline_bytes()
  std::size_t size = 4096;   // of the queue's own pool: payload capacity of one slot, 1 .. 4 GiB - 1 bytes
  std::string pool{};        // name of an existing pool to share instead; `slots` and `size` are unused then
  // Messages that may wait, 2 .. 16'777'216, rounded up to a power of two; 0: 2 x slots, 1024 at least.
  std::uint32_t lines = 0;
  // Size of a line in bytes: a multiple of 64, from 64 to 2048. A message of at most line - 32 bytes travels in its
  // line and needs no slot (Producer::inline_bytes()); a consumer holds it in a copy of about the line's size. A queue
  // on a GPU must have 128, of which 72 are payload: with another value, and a handler, choose the backend "host".
  // Consumers with a GPU are let in up to 128.
  std::uint32_t line = 128;
  // `records` needs slots: batches travel in them. Without effect where producers cannot write slots by the CPU: in a
  // pool on a GPU without a mirror send_many() publishes as with `messages`.
  Batch batch = Batch::messages;
  // Applied in place to every message: a name of handler_names(), or the path of a file of your own
  // (docs/guide/handlers.md), a source (.cu, .cpp, .cc or .cxx), which is compiled at creation, a handler that was
  // built ahead (.so) or code of any compiler (.ptx, .ltoir, .o); empty: direct queue. One's own handler runs in a
  // process of its own kind, as the broker's user: the host runner, or the runner of the GPU.
  std::string handler{};
  std::vector<std::string> defines{};   // of a source file: macros, NAME or NAME=VALUE
  std::vector<std::string> includes{};  // of a source file: folders of headers, beside the file's own
  // Of a source file, on a GPU: whether the queue may begin with kernels that call the handler, if nobody has compiled
  // it yet. That takes a tenth of the time; the kernels into which it is compiled take their place between two messages
  // about a second later, for which all queues of that GPU pause at a message's end. false, or with a deadline: the
  // creation waits for them.
  bool quick_start = true;
  // Of a handler from a file: how long it may work on a message, of a record batch on all records, from 1 ms on; zero:
  // any time. If it takes longer its process is ended (docs/guide/handlers.md).
  Duration handler_deadline{};
  // Of one from a file: memory of the queue's that stays between messages, for a handler whose call takes an
  // ipcq::State; on the GPU of a queue that is on one. 0: none.
  std::uint64_t state_bytes = 0;
  // With state_bytes: the file with which it begins, of at most that size; what it lacks is zero. Empty: all of it is.
  std::string state_file{};
  // A runner process that works on this queue alone: its death touches no other queue, and no other runner's death this
  // one. Of a handler from a file, or on a GPU of any handler; there the queue's pool is its own, and no other queue
  // shares it. docs/guide/handlers.md, "A process of its own".
  bool isolate = false;
  // "host", "cuda", or "auto": cuda where there is a GPU and the queue has a handler (or its pool is in device memory).
  std::string backend = "auto";
  int device = 0;                // "cuda": number of the GPU, as CUDA counts them, and of an own pool
  Mirror mirror = Mirror::full;  // "cuda": of the queue's own pool
  bool host_readable = true;     // "cuda": processed payloads are copied to the mirror, for consumers without a GPU
  ExecutorKind executor = ExecutorKind::auto_;  // "cuda"
  std::uint32_t threads = 1;   // of the handler's host executor, 1 .. 256; without a handler only the default
  Wait wait = Wait::hybrid();  // how these threads wait; without a handler only the default
  Backpressure backpressure = Backpressure::block;
  std::vector<GroupOptions> groups = {GroupOptions{}};  // durable groups, 8 at most
  bool paused = false;                                  // begins so: nothing leaves it before Broker::resume()
  std::uint32_t endpoints = 64;                         // producers and consumers open at once, 1 .. 1024
  std::uint32_t held = 128;                             // messages one consumer may hold at once, 1 .. 4096
  // Makes it a queue of calls (ipcq/calls.hpp): clients and servers in place of producers and consumers. Calls of
  // one client that may be open at once, 1 .. 65'536; 0: no calls. Each takes about a line's size of memory, for each
  // of `endpoints`. Its one group is `servers`; with a handler, which answers then, `callers`.
  std::uint32_t calls = 0;
  OnServerDeath on_server_death = OnServerDeath::fail;  // with calls and without a handler
  std::uint32_t metadata = 0;                           // of the queue's own pool: PoolOptions::metadata
  // The type of its messages, as a text (ipcq/schema.hpp): an endpoint of another type is refused. `result_schema`: of
  // what its handler makes of them, or of the replies to calls; only of such queues. Empty: that of the first typed
  // endpoint which is opened, until none is open and nothing is left in the queue.
  std::string schema{};
  std::string result_schema{};
};

// Bytes of memory that a pool or a queue takes.
struct MemoryNeeds {
  std::uint64_t shared_memory = 0;  // in /dev/shm
  std::uint64_t pinned = 0;         // of these, pinned for the GPU
  std::uint64_t device_memory = 0;  // on the GPU
};
// What a creation with these options would take. Backend "auto" counts as "host". A queue's own pool is included;
// `shared`: the options of the pool that the queue shares, whose memory is not included. Throw UsageError for numbers
// out of range. Thread-safe.
IPCQ_API MemoryNeeds memory_needs(const PoolOptions& options);
IPCQ_API MemoryNeeds memory_needs(const QueueOptions& options, const PoolOptions* shared = nullptr);

}  // namespace ipcq
