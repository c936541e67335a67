// The structs of shared memory. Twin document: docs/design/layout.md (changes in the same commit). abi.hpp has their
// version number, words.hpp the packed words and their state diagrams, line.hpp and held.hpp lines and held entries,
// regions.hpp the place of each region in its segment.
//
// Fixed-width types, explicit padding, no pointers; sizes and offsets are asserted after each struct. Words that
// different parties write lie on different 128-byte lines. A process that maps a segment copies its header once, checks
// the copy and uses only the copy (queue_map.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "layout/abi.hpp"
#include "layout/atomic.hpp"
#include "layout/limits.hpp"
#include "layout/line_format.hpp"

namespace ipcq::detail {

// A tagged line (line_format.hpp has the meaning of its units). A plain line has as many units as its queue's
// line_bytes say.
struct alignas(kLineBytes) Line {
  Unit unit[kLineUnits];
};

// A futex word that sleepers arm and ringers ring (doorbell.hpp).
//
//                          arm: a sleeper, armed = sequence (compare-and-swap, only upwards)
//   armed < sequence  ---------------------------------------------------------> armed == sequence
//   nobody sleeps     <---------------------------------------------------------  a thread sleeps, or is about to
//                          ring, ring_always: a ringer, sequence + 1, then FUTEX_WAKE of all
//
// Created with `armed` all ones, which counts as less. A sleeper or ringer that dies leaves nothing to clear.
struct alignas(kLineBytes) Doorbell {
  Word32 sequence;  // futex word
  Word32 armed;
  std::uint8_t pad[kLineBytes - 8];
};
static_assert(sizeof(Doorbell) == 128);
static_assert(offsetof(Doorbell, sequence) == 0 && offsetof(Doorbell, armed) == 4);

// At the beginning of every segment. The creator stores `version` last (release); nothing in it changes afterwards.
struct SegmentHeader {
  std::uint64_t magic;
  Word32 version;          // kNotReady, then kAbiVersion
  std::uint32_t checksum;  // CRC-32 of QueueHeader or PoolHeader with version and checksum zero
  std::uint64_t total_bytes;
  std::uint64_t generation;  // unique per creation; every attach reply carries it
  std::int32_t broker_pid;
  std::uint32_t flags;    // QueueFlag; 0 for a pool
  char name[kNameBytes];  // of the queue or pool, zero-terminated
};
static_assert(sizeof(SegmentHeader) == 104);
static_assert(offsetof(SegmentHeader, magic) == 0 && offsetof(SegmentHeader, version) == 8 &&
              offsetof(SegmentHeader, checksum) == 12 && offsetof(SegmentHeader, total_bytes) == 16 &&
              offsetof(SegmentHeader, generation) == 24 && offsetof(SegmentHeader, broker_pid) == 32 &&
              offsetof(SegmentHeader, flags) == 36 && offsetof(SegmentHeader, name) == 40);

enum QueueFlag : std::uint32_t {
  kQueueHasHandler = 1,    // an executor stands between `in` and `out`
  kQueueOnDevice = 2,      // the executor runs on a GPU: units of `out` may arrive in any order
  kQueueHostReadable = 4,  // the executor copies processed payloads to the mirror
  kQueueMovesOnly = 8,     // the executor has no handler: it moves payloads and changes none
  kQueuePlainLines = 16,   // lines are plain, of `line_bytes`; else tagged
  kQueueRecords = 32,      // several payloads that are sent together are records of one message
  kQueueImage = 64,        // the handler is the user's own: no process but its executor knows what it accepts
  kQueueRedelivers = 128   // the request of a server that has died goes to another; else its call is answered so
};

struct QueueHeader {
  SegmentHeader segment;
  char pool[kNameBytes];
  char handler[kNameBytes];  // empty: none
  std::uint64_t pool_generation;
  std::uint32_t lines;               // M, power of two
  std::uint32_t endpoints;           // E
  std::uint32_t held_per_endpoint;   // entries of one endpoint's block
  std::uint32_t backpressure;        // ipcq::Backpressure
  std::uint64_t control_offset;      // QueueControl
  std::uint64_t endpoints_offset;    // Endpoint[E]
  std::uint64_t own_offset;          // Word[kCursors][M]
  std::uint64_t in_offset;           // lines [M]
  std::uint64_t out_offset;          // lines [M]; == in_offset for a direct queue
  std::uint64_t held_offset;         // held entries [E * held_per_endpoint], of held_bytes(inline_bytes) each
  std::uint32_t line_bytes;          // of a line
  std::uint32_t inline_bytes;        // longest payload that travels in a line
  std::uint64_t call_bells_offset;   // Doorbell[E], where there are calls
  std::uint64_t calls_offset;        // call entries [E * calls_per_endpoint], of call_bytes(inline_bytes) each
  std::uint32_t calls_per_endpoint;  // 0: the queue takes no calls
  std::uint32_t reserved;
  std::uint64_t schemas_offset;  // SchemaWords[kSchemas]
};
static_assert(sizeof(QueueHeader) == 344 && sizeof(QueueHeader) <= kHeaderBytes);
static_assert(std::is_trivially_copyable_v<QueueHeader>);
static_assert(offsetof(QueueHeader, pool) == 104 && offsetof(QueueHeader, handler) == 168 &&
              offsetof(QueueHeader, pool_generation) == 232 && offsetof(QueueHeader, lines) == 240 &&
              offsetof(QueueHeader, endpoints) == 244 && offsetof(QueueHeader, held_per_endpoint) == 248 &&
              offsetof(QueueHeader, backpressure) == 252 && offsetof(QueueHeader, control_offset) == 256 &&
              offsetof(QueueHeader, endpoints_offset) == 264 && offsetof(QueueHeader, own_offset) == 272 &&
              offsetof(QueueHeader, in_offset) == 280 && offsetof(QueueHeader, out_offset) == 288 &&
              offsetof(QueueHeader, held_offset) == 296 && offsetof(QueueHeader, line_bytes) == 304 &&
              offsetof(QueueHeader, inline_bytes) == 308 && offsetof(QueueHeader, call_bells_offset) == 312 &&
              offsetof(QueueHeader, calls_offset) == 320 && offsetof(QueueHeader, calls_per_endpoint) == 328 &&
              offsetof(QueueHeader, schemas_offset) == 336);

// How other processes map payloads in the memory of a GPU. The runner exports it in its reply; the broker copies it
// into the pool's header.
struct DeviceMemory {
  std::uint8_t device_uuid[16] = {};
  std::uint8_t ipc_handle[64] = {};
  std::uint64_t base_offset = 0;  // of the first slot in the exported block
  std::uint64_t bytes = 0;        // of the block
};
static_assert(sizeof(DeviceMemory) == 96);
static_assert(offsetof(DeviceMemory, device_uuid) == 0 && offsetof(DeviceMemory, ipc_handle) == 16 &&
              offsetof(DeviceMemory, base_offset) == 80 && offsetof(DeviceMemory, bytes) == 88);

enum class PoolBackend : std::uint32_t { host = 0, cuda = 1 };

inline constexpr unsigned kSlotsPerFreeWord = 64;  // one bit per slot

struct PoolHeader {
  SegmentHeader segment;
  std::uint32_t slots;           // N: slots with a payload
  std::uint32_t aliases;         // slot words without a payload, from `alias_base` on
  std::uint32_t alias_base;      // N rounded up to kSlotsPerFreeWord
  std::uint32_t metadata_bytes;  // of a slot; 0: none has any
  std::uint64_t slot_bytes;
  std::uint64_t slot_stride;       // bytes from one payload to the next
  std::uint64_t control_offset;    // PoolControl
  std::uint64_t free_bits_offset;  // Word[(alias_base + aliases) / kSlotsPerFreeWord, rounded up]
  std::uint64_t slots_offset;      // Wide[alias_base + aliases]
  std::uint64_t parents_offset;    // AliasParent[aliases]
  std::uint64_t gpub_offset;       // Word[N]: lease whose payload is complete
  std::uint64_t tomb_offset;       // Word[N]: lease whose payload will never be complete
  std::uint64_t payload_offset;    // host pool: payloads; device pool: pinned mirror, or 0 bytes
  std::uint64_t payload_bytes;
  DeviceMemory device;            // of a device pool; zero on the host
  std::uint32_t backend;          // PoolBackend
  std::uint32_t mirror;           // ipcq::Mirror
  std::uint64_t metadata_offset;  // SlotMetadata[N], metadata_stride() each
};
static_assert(sizeof(PoolHeader) == 312 && sizeof(PoolHeader) <= kHeaderBytes);
static_assert(std::is_trivially_copyable_v<PoolHeader>);
static_assert(offsetof(PoolHeader, slots) == 104 && offsetof(PoolHeader, aliases) == 108 &&
              offsetof(PoolHeader, alias_base) == 112 && offsetof(PoolHeader, metadata_bytes) == 116 &&
              offsetof(PoolHeader, metadata_offset) == 304 && offsetof(PoolHeader, slot_bytes) == 120 &&
              offsetof(PoolHeader, slot_stride) == 128 && offsetof(PoolHeader, control_offset) == 136 &&
              offsetof(PoolHeader, free_bits_offset) == 144 && offsetof(PoolHeader, slots_offset) == 152 &&
              offsetof(PoolHeader, parents_offset) == 160 && offsetof(PoolHeader, gpub_offset) == 168 &&
              offsetof(PoolHeader, tomb_offset) == 176 && offsetof(PoolHeader, payload_offset) == 184 &&
              offsetof(PoolHeader, payload_bytes) == 192 && offsetof(PoolHeader, device) == 200 &&
              offsetof(PoolHeader, backend) == 296 && offsetof(PoolHeader, mirror) == 300);

// The broker alone stores it (release).
//
//   open --begin_draining--> draining --close_queue--> closed
//
//   begin_draining  Broker::stop(), or the queue's runner is lost. Next the broker closes the producers' cursor: no
//                   ticket is taken any more, consumers still receive
//   close_queue     the time to drain is over, or the lost runner's process has ended. Next the broker closes the
//                   groups' cursors: no message is received any more
enum class QueueState : std::uint64_t { open = 0, draining = 1, closed = 2 };

// GroupControl::policy.
inline constexpr std::uint64_t kGroupLossy = 1;
inline constexpr std::uint64_t kGroupDurable = 2;

// A cursor, and beside the producers' what only claimers use.
struct alignas(kLineBytes) CursorLine {
  Wide word;         // Cursor
  Word free_before;  // of the producers': lines of tickets before this one were free; read and written by producers
                     // that claim after others. Any earlier value is right too
  std::uint8_t pad[kLineBytes - sizeof(Wide) - sizeof(Word)];
};
static_assert(sizeof(CursorLine) == 128 && offsetof(CursorLine, word) == 0 && offsetof(CursorLine, free_before) == 16);

// One group. Read-mostly.
struct alignas(kLineBytes) GroupControl {
  Word policy;     // kGroupLossy, kGroupDurable; written by the broker
  Word orphans;    // OrphanBits; written by parties that give messages back, and by takers that find none
  Word joined_at;  // first ticket of an ephemeral group; written by the broker
  Word dropped;    // messages discarded for this group; fetch_add by discarding producers and the repair
  char name[kNameBytes];
  std::uint8_t pad[kLineBytes - 4 * 8 - kNameBytes];
};
static_assert(sizeof(GroupControl) == 128);
static_assert(offsetof(GroupControl, policy) == 0 && offsetof(GroupControl, orphans) == 8 &&
              offsetof(GroupControl, joined_at) == 16 && offsetof(GroupControl, dropped) == 24 &&
              offsetof(GroupControl, name) == 32);

struct QueueControl {
  CursorLine cursor[kCursors];
  alignas(kLineBytes) Word state;  // QueueState
  Word live_groups;                // bit g: a line is free only once group g is done with it
  Word end_ticket;                 // kNoTicket, or: the stream has ended before this ticket
  Word end_count;                  // number of ends so far; written before end_ticket
  Word servers;                    // of a queue with calls: how many are open
  std::uint8_t pad0[kLineBytes - 5 * 8];
  // Written only by the executor, on the host or on a GPU. In the order of ExecutorCounter.
  alignas(kLineBytes) Word processed;
  Word failed;   // of these, refused by the handler
  Word damaged;  // lines skipped because their content was invalid
  Word taken;    // the executor works on the tickets before this one, or has finished them
  std::uint8_t pad1[kLineBytes - 4 * 8];
  // Written by the runner of a device queue.
  alignas(kLineBytes) Word executor;  // ExecutorKind
  Word parked;                        // 1: no kernel runs; a publisher rings `work`
  std::uint8_t pad2[kLineBytes - 2 * 8];
  // Each doorbell: which threads sleep on it, and what rings it.
  Doorbell work;               // the executor: a line was published
  Doorbell completion_waker;   // the runner's completion waker: a line was published, or a client is about to sleep
  Doorbell space;              // producers: a line was freed
  Doorbell ready[kMaxGroups];  // members of a group: a line became readable, or the stream ended
  GroupControl group[kMaxGroups];
};
static_assert(sizeof(QueueControl) == 3968 && std::is_standard_layout_v<QueueControl>);
static_assert(offsetof(QueueControl, cursor) == 0 && offsetof(QueueControl, state) == 1152 &&
              offsetof(QueueControl, live_groups) == 1160 && offsetof(QueueControl, end_ticket) == 1168 &&
              offsetof(QueueControl, end_count) == 1176 && offsetof(QueueControl, servers) == 1184);
static_assert(offsetof(QueueControl, processed) == 1280 && offsetof(QueueControl, failed) == 1288 &&
              offsetof(QueueControl, damaged) == 1296 && offsetof(QueueControl, taken) == 1304);
static_assert(offsetof(QueueControl, failed) == offsetof(QueueControl, processed) + sizeof(Word) * kFailedCounter &&
              offsetof(QueueControl, damaged) == offsetof(QueueControl, processed) + sizeof(Word) * kDamagedCounter &&
              offsetof(QueueControl, taken) == offsetof(QueueControl, processed) + sizeof(Word) * kTakenCounter);
static_assert(offsetof(QueueControl, executor) == 1408 && offsetof(QueueControl, parked) == 1416);
static_assert(offsetof(QueueControl, work) == 1536 && offsetof(QueueControl, completion_waker) == 1664 &&
              offsetof(QueueControl, space) == 1792 && offsetof(QueueControl, ready) == 1920 &&
              offsetof(QueueControl, group) == 2944);

enum class EndpointKind : std::uint32_t { none = 0, producer = 1, consumer = 2 };

// One producer or consumer: its identity (written by the broker) and its counters (written by the endpoint).
struct alignas(kLineBytes) Endpoint {
  Word client;         // its id; 0: the place is free
  std::uint32_t kind;  // EndpointKind
  std::int32_t pid;
  std::uint32_t uid;
  std::uint32_t group;
  std::uint8_t pad0[kLineBytes - 24];
  Word messages;  // published, or received for the first time
  Word bytes;
  Word redelivered;   // received after another delivery
  Word damaged;       // lines skipped because their content was invalid
  Word more_records;  // payloads beyond `messages`: of each record batch all records but the first
  Word filtered;      // messages that the handler has dropped
  Word cancelled;     // of a server: calls that nobody waited for any more
  std::uint8_t pad1[kLineBytes - 56];
};
static_assert(sizeof(Endpoint) == 256 && std::is_standard_layout_v<Endpoint>);
static_assert(offsetof(Endpoint, client) == 0 && offsetof(Endpoint, kind) == 8 && offsetof(Endpoint, pid) == 12 &&
              offsetof(Endpoint, uid) == 16 && offsetof(Endpoint, group) == 20);
static_assert(offsetof(Endpoint, messages) == 128 && offsetof(Endpoint, bytes) == 136 &&
              offsetof(Endpoint, redelivered) == 144 && offsetof(Endpoint, damaged) == 152 &&
              offsetof(Endpoint, more_records) == 160 && offsetof(Endpoint, filtered) == 168 &&
              offsetof(Endpoint, cancelled) == 176);

struct PoolControl {
  Doorbell free;  // producers sleep on it; rung when a slot was freed
};
static_assert(sizeof(PoolControl) == 128);

// Parent of an alias, by which a second queue refers to the slot of the first: once all readers of the alias have
// released it, the group's bit in the parent is cleared. Written by the forwarding producer while the alias is on loan
// to it; stays unchanged until the alias is free again.
template <class A>
struct AliasParentOf {
  typename A::Word lease;  // of the parent
  typename A::Word where;  // ParentBits
};

using AliasParent = AliasParentOf<SharedAtomics>;
static_assert(sizeof(Line) == 128);
static_assert(sizeof(AliasParent) == 16 && offsetof(AliasParent, lease) == 0 && offsetof(AliasParent, where) == 8);

}  // namespace ipcq::detail
