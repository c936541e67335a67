// ABI 1: everything that two processes read. Twin document: docs/design/layout.md (changes in the same commit).
//
// Fixed-width types, explicit padding, nothing process-local. Words written by different parties lie on different
// 128-byte lines. Whoever maps a segment copies its header once, checks the copy and uses only that (queue_map.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "layout/atomic.hpp"

namespace ipcq::detail {

inline constexpr std::uint32_t kLayoutVersion = 1;
inline constexpr std::uint64_t kQueueMagic = 0x3145554551435049;  // "IPCQEUE1"
inline constexpr std::uint64_t kPoolMagic = 0x314c4f4f51435049;   // "IPCQOOL1"

inline constexpr unsigned kMaxGroups = 8;
inline constexpr unsigned kProducers = 0;  // index of the producers' cursor; group g has 1 + g
inline constexpr unsigned kCursors = 1 + kMaxGroups;
inline constexpr unsigned kLineUnits = 8;
inline constexpr unsigned kUnitBytes = 12;  // of data, beside the tag
inline constexpr unsigned kNameBytes = 64;
inline constexpr unsigned kMaxEndpoints = 1024;
inline constexpr std::uint32_t kNone = 0xffffffff;
inline constexpr std::uint64_t kNoTicket = ~std::uint64_t{0};
inline constexpr std::uint64_t kHeaderBytes = 4096;
inline constexpr std::size_t kLineBytes = 128;  // distance of words that different parties write

// One message's descriptor: eight tagged units (line.hpp has their meaning).
template <class A>
struct alignas(kLineBytes) LineOf {
  typename A::Unit unit[kLineUnits];
};

// A word, or pair of words, alone on its line.
template <class T>
struct alignas(kLineBytes) Alone {
  T word;
};

// Sleepers arm it, publishers ring it (doorbell.hpp).
struct alignas(kLineBytes) Doorbell {
  Word32 sequence;  // futex word
  Word32 armed;     // == sequence: somebody sleeps, or is about to
  std::uint8_t pad[kLineBytes - 8];
};

// First page of every segment. The creator writes `version` last; nothing in it changes after that.
struct SegmentHeader {
  std::uint64_t magic;
  Word32 version;          // 0: not ready yet
  std::uint32_t checksum;  // CRC-32 of QueueHeader or PoolHeader with version and checksum zero
  std::uint64_t total_bytes;
  std::uint64_t generation;  // unique per creation; in every attach reply
  std::int32_t broker_pid;
  std::uint32_t flags;
  char name[kNameBytes];  // of the queue or pool, zero-terminated
};

enum QueueFlag : std::uint32_t {
  kQueueHasHandler = 1,    // an executor stands between `in` and `out`
  kQueueOnDevice = 2,      // that executor is a GPU's: units of `out` may arrive in any order
  kQueueHostReadable = 4,  // it copies what it has processed to the mirror
  kQueueMovesOnly = 8      // it has no handler: payloads stay as they are
};

struct QueueHeader {
  SegmentHeader segment;
  char pool[kNameBytes];
  char handler[kNameBytes];  // empty: none
  std::uint64_t pool_generation;
  std::uint32_t lines;              // M, power of two
  std::uint32_t endpoints;          // E
  std::uint32_t held_per_endpoint;  // entries of one endpoint's block
  std::uint32_t backpressure;       // ipcq::Backpressure
  std::uint64_t control_offset;     // QueueControl
  std::uint64_t endpoints_offset;   // Endpoint[E]
  std::uint64_t own_offset;         // Word[kCursors][M]
  std::uint64_t in_offset;          // Line[M]
  std::uint64_t out_offset;         // Line[M]; == in_offset for a direct queue
  std::uint64_t held_offset;        // Held[E * held_per_endpoint]
};

struct PoolHeader {
  SegmentHeader segment;
  std::uint32_t slots;  // N payload slots, then N aliases (forward) after `alias_base`
  std::uint32_t aliases;
  std::uint32_t alias_base;  // N rounded up to 64
  std::uint32_t reserved;
  std::uint64_t slot_bytes;
  std::uint64_t slot_stride;       // bytes from one payload to the next
  std::uint64_t control_offset;    // PoolControl
  std::uint64_t free_bits_offset;  // Word[(alias_base + aliases + 63) / 64]
  std::uint64_t slots_offset;      // Wide[alias_base + aliases]
  std::uint64_t parents_offset;    // AliasParent[aliases]
  std::uint64_t gpub_offset;       // Word[N]: lease whose payload its loaner's stream has written
  std::uint64_t tomb_offset;       // Word[N]: lease whose payload will never come
  std::uint64_t payload_offset;    // host pool: payloads; device pool: pinned mirror, or 0
  std::uint64_t payload_bytes;
  // Device pool (backend "cuda"): where the payloads live. All zero on the host.
  std::uint8_t device_uuid[16];
  std::uint8_t ipc_handle[64];
  std::uint64_t device_base_offset;
  std::uint64_t device_bytes;
  std::uint32_t backend;  // PoolBackend
  std::uint32_t mirror;   // ipcq::Mirror
};

enum class PoolBackend : std::uint32_t { host = 0, cuda = 1 };
enum class QueueState : std::uint64_t { open = 0, draining = 1, closed = 2 };

// What the broker says about one group. Read-mostly.
struct alignas(kLineBytes) GroupControl {
  Word policy;     // bit 0: lossy, bit 1: durable
  Word orphans;    // messages given back, and how many a taker that found none had seen: group.hpp
  Word joined_at;  // first ticket of this membership
  Word dropped;    // messages discarded for this group, compare-and-swap free: fetch_add by droppers
  char name[kNameBytes];
  std::uint8_t pad[kLineBytes - 4 * 8 - kNameBytes];
};

struct QueueControl {
  Alone<Wide> cursor[kCursors];
  alignas(kLineBytes) Word state;  // QueueState
  Word live_groups;                // bit g: group g holds lines back
  Word end_ticket;                 // kNoTicket, or: every producer has closed and this many tickets were taken
  Word end_count;                  // how often the stream has ended; written before end_ticket
  std::uint8_t pad0[kLineBytes - 4 * 8];
  // Written by the executor of a handler queue alone, which may be a GPU.
  alignas(kLineBytes) Word processed;
  Word failed;   // of these, refused by the handler
  Word damaged;  // lines passed over because their content made no sense
  Word taken;    // tickets before this one are being worked on, or are done
  std::uint8_t pad1[kLineBytes - 4 * 8];
  // Written by the process that runs a device queue's executor.
  alignas(kLineBytes) Word executor;  // ExecutorKind
  Word parked;                        // 1: no kernel runs; a publisher rings `work`
  std::uint8_t pad2[kLineBytes - 2 * 8];
  Doorbell work;               // executor sleeps: a line was published
  Doorbell waker;              // device queue: who turns finished GPU work into wake-ups sleeps
  Doorbell space;              // producers sleep: a line was freed
  Doorbell ready[kMaxGroups];  // members of a group sleep: a line became readable, or the stream ended
  GroupControl group[kMaxGroups];
};

enum class EndpointKind : std::uint32_t { none = 0, producer = 1, consumer = 2 };

// One producer or consumer: who it is (written by the broker) and what it did (written by it alone, for the counters).
struct alignas(kLineBytes) Endpoint {
  Word client;  // id, 0: free
  std::uint32_t kind;
  std::int32_t pid;
  std::uint32_t uid;
  std::uint32_t group;
  std::uint8_t pad0[kLineBytes - 24];
  Word messages;  // published, or received first-hand
  Word bytes;
  Word redelivered;  // received that had been given back
  Word damaged;      // lines skipped because their content made no sense
  Word sequence;     // reserved
  Word loaned_at;    // reserved
  std::uint8_t pad1[kLineBytes - 48];
};

struct PoolControl {
  Doorbell free;  // producers sleep: a slot was freed
};

// An alias lets a second queue refer to a slot: the parent's group bit is cleared when all of the alias' readers are
// done. Written by the forwarder while the alias is on loan to it.
template <class A>
struct AliasParentOf {
  typename A::Word lease;  // of the parent
  typename A::Word where;  // parent slot (low 32 bits) and group bit (bits 32..39)
};

using Line = LineOf<SharedAtomics>;
using AliasParent = AliasParentOf<SharedAtomics>;

static_assert(sizeof(Line) == 128 && sizeof(Doorbell) == 128 && sizeof(GroupControl) == 128 && sizeof(Endpoint) == 256);
static_assert(sizeof(SegmentHeader) == 104 && sizeof(QueueHeader) <= kHeaderBytes &&
              sizeof(PoolHeader) <= kHeaderBytes);
static_assert(sizeof(QueueControl) == 128 * (kCursors + 1 + 2 + 3 + kMaxGroups + kMaxGroups));
static_assert(std::is_trivially_copyable_v<QueueHeader> && std::is_trivially_copyable_v<PoolHeader>);
static_assert(std::is_standard_layout_v<QueueControl> && std::is_standard_layout_v<Endpoint>);
static_assert(offsetof(SegmentHeader, version) == 8 && offsetof(SegmentHeader, checksum) == 12);

}  // namespace ipcq::detail
