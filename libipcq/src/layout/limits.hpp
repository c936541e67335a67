// Limits, sizes and distances that host and device code share.
#pragma once

#include <cstddef>
#include <cstdint>

namespace ipcq::detail {

inline constexpr unsigned kMaxGroups = 8;
inline constexpr std::uint64_t kAllGroups = (1u << kMaxGroups) - 1;  // one bit per group
inline constexpr unsigned kProducers = 0;  // index of the producers' cursor; group g has 1 + g
inline constexpr unsigned kCursors = 1 + kMaxGroups;

inline constexpr std::uint32_t kMaxSlots = 1u << 20;        // of a pool; also the limit of its aliases
inline constexpr std::uint64_t kMaxSlotBytes = 0xffffffff;  // a length has 32 bits
inline constexpr std::uint32_t kMinLines = 2;               // of a queue; a power of two
inline constexpr std::uint32_t kMaxLines = 1u << 24;        // likewise
inline constexpr std::uint32_t kLeastLineBytes = 64;        // of a plain line; its size is a multiple of this
inline constexpr std::uint32_t kMostLineBytes = 2048;       // likewise
// Inline payload that a consumer with a GPU takes from a line: its entry in device memory has room for so much.
inline constexpr std::uint32_t kDeliveredInlineBytes = 96;
inline constexpr std::uint32_t kMaxEndpoints = 1024;                      // of a queue
inline constexpr std::uint32_t kMaxHeld = 4096;                           // held entries of one endpoint
inline constexpr std::uint32_t kMaxCalls = 65'536;                        // call entries of one endpoint
inline constexpr std::uint32_t kMaxThreads = 256;                         // of the host executor of a queue
inline constexpr std::uint32_t kMostMetadataBytes = 4096;                 // of a slot
inline constexpr std::uint64_t kMostStateBytes = std::uint64_t{1} << 40;  // of a queue's handler; memory ends before

inline constexpr std::uint32_t kNone = 0xffffffff;  // no slot, no alias, no entry
inline constexpr std::uint64_t kNoTicket = ~std::uint64_t{0};

inline constexpr unsigned kNameBytes = 64;          // of a queue, pool, group or handler, the zero at its end included
inline constexpr unsigned kSegmentNameBytes = 256;  // likewise
inline constexpr std::size_t kLineBytes = 128;      // distance of words that different parties write
inline constexpr std::uint64_t kPageBytes = 4096;   // each region of a segment begins on a page
inline constexpr std::uint64_t kHeaderBytes = kPageBytes;  // a segment's first page

// Index of a counter from QueueControl::processed on, for an executor on a GPU.
enum ExecutorCounter : unsigned {
  kProcessedCounter = 0,
  kFailedCounter = 1,
  kDamagedCounter = 2,
  kTakenCounter = 3,  // a ticket, not a sum
};
inline constexpr unsigned kExecutorSums = 3;  // the counters that are sums come first
inline constexpr unsigned kExecutorCounters = 4;

}  // namespace ipcq::detail
