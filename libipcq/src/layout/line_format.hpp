// The format of a line, for host and device code. A line describes one message. It has two formats, which begin with
// the same two units of 16 bytes: 12 of data, then a 4-byte tag, the low half of the lap.
//
// Tagged lines are those of queues whose payloads a GPU accesses: eight units. line.hpp and cuda/device/line.cuh write
// and read them.
//
//   unit 0   kind 8, flags 8, priority 8, data_unit 8 | length 32 | producer 32      written last, read first
//   unit 1   sequence 64 | schema 32
//   inline:  units data_unit.. carry the payload, 12 bytes each
//   slot:    unit 2  lease 64 | slot 32
//            unit 3  lease of the alias 64 | alias 32 (kNone: none)
//            unit 4  publish time, CLOCK_MONOTONIC ns 64 | delivery count 32
//            units 5 to 7  reserved, not written
//
// Every used unit carries the tag of the lap, because units that cross PCIe arrive in any order. On every lap that is a
// multiple of 2^20 all eight units are written, so that a seldom used unit never shows a matching tag of 2^32 laps ago.
//
// Plain lines are those of all other queues: 64 to 2048 bytes, as the queue's option `line` says. plain_line.hpp writes
// and reads them. After units 0 and 1:
//
//   inline:  units data_unit.. carry the payload, 16 bytes each
//   slot:    lease 64 | slot 32, alias 32 | lease of the alias 64 | publish time 64
#pragma once

#include <cstdint>

#include "layout/bits.hpp"
#include "layout/limits.hpp"

namespace ipcq::detail {

enum class LineKind : std::uint8_t {
  none = 0,       // not valid in a line that carries its lap's tag
  inlined = 1,    // the payload is in the line
  slot = 2,       // the payload is in a slot
  tombstone = 3,  // no message: its producer died before publishing, or no group was there to read it
  control = 4,    // a request to the executor; readers skip it
};

// The request of a control line, in the field `sequence`. The executor carries it out when it reaches the line.
enum class ControlOp : std::uint64_t { none = 0, switch_to_persistent = 1, switch_to_stream = 2 };

enum LineFlag : std::uint8_t {
  kPayloadReady = 1,  // the payload was complete before the line was written: readers need not check gpub
  kNotProcessed = 2,  // the handler refused the payload, or failed on it
  kInMirror = 4,      // device pool: in `in`, the payload is only in the mirror; in `out`, also in the mirror
  kRecords = 8,       // the payload, in a slot, is a record batch (ipcq/records.hpp)
  // With kNotProcessed: the handler threw or died, and may have changed the payload in part. Without, on a record
  // batch: it threw on some of the records that are marked as refused.
  kHandlerFailed = 32,
  // The handler drops the message: readers release it unseen, and count it (Endpoint::filtered).
  kFiltered = 64,
  kBeforeExecutor = 128,  // only in held entries: the copy was made from `in` (published_view.hpp)
};

// The others are not valid in a line; a reader drops them.
inline constexpr std::uint64_t kFlagsOfALine =
    kPayloadReady | kNotProcessed | kInMirror | kRecords | kHandlerFailed | kFiltered;

inline constexpr unsigned kLineUnits = 8;
inline constexpr unsigned kUnitBytes = 12;  // of data; the tag has four more
// A unit is four 32-bit words: 64 bits of data in the first two, 32 in the third, and the tag.
inline constexpr unsigned kDataWords = kUnitBytes / 4;
inline constexpr unsigned kThirdWord = 2;
inline constexpr unsigned kTagWord = kDataWords;
static_assert(kLineUnits * (kUnitBytes + 4) == kLineBytes);

inline constexpr unsigned kInlineUnit = 2;  // first payload unit that this version writes
inline constexpr std::uint32_t kInlineBytes = (kLineUnits - kInlineUnit) * kUnitBytes;

inline constexpr std::uint32_t kUnitSize = kUnitBytes + 4;
// What a plain line of so many bytes carries inline.
constexpr std::uint32_t plain_inline_bytes(std::uint32_t line_bytes) { return line_bytes - kInlineUnit * kUnitSize; }
inline constexpr std::uint32_t kMostInlineBytes = plain_inline_bytes(kMostLineBytes);

// Used by every line with a message or a request.
inline constexpr unsigned kSequenceUnit = 1;
// Units of a line that names a slot, and the number of leading units that each kind but `inlined` uses.
inline constexpr unsigned kLeaseUnit = 2;
inline constexpr unsigned kAliasUnit = 3;
inline constexpr unsigned kTimeUnit = 4;
inline constexpr unsigned kSlotUnits = 5;
inline constexpr unsigned kControlUnits = 2;
inline constexpr unsigned kTombstoneUnits = 1;

// Mask of the first `count` units: bit u stands for unit u.
IPCQ_HOST_DEVICE constexpr std::uint32_t first_units(std::uint32_t count) { return (1u << count) - 1; }
inline constexpr std::uint32_t kAllUnits = first_units(kLineUnits);

inline constexpr std::uint64_t kFullWriteEvery = 1u << 20;  // laps after which all units of a line are written

// The first 64 bits of unit 0: all but the length in its first 32-bit word, the length in its second.
struct HeadBits {
  using Kind = Bits<0, 8>;
  using Flags = Bits<8, 8>;
  using Priority = Bits<16, 8>;
  using DataUnit = Bits<24, 8>;
  using Length = Bits<32, 32>;
};
static_assert(fill_a_word<HeadBits::Kind, HeadBits::Flags, HeadBits::Priority, HeadBits::DataUnit, HeadBits::Length>());

// A unit's last 64 bits: 32 of data and the tag.
struct TailBits {
  using Data = Bits<0, 32>;
  using Tag = Bits<32, 32>;
};
static_assert(fill_a_word<TailBits::Data, TailBits::Tag>());

}  // namespace ipcq::detail
