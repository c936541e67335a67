// A line's content: the descriptor of one message, in units of 12 bytes of data and a 4-byte lap tag.
//
//   unit 0   kind 8, flags 8, priority 8, data_unit 8 | length 32 | producer 32      written last, read first
//   unit 1   sequence 64 | schema 32
//   inline:  units data_unit.. carry the payload, 12 bytes each
//   slot:    unit 2  lease 64 | slot 32
//            unit 3  lease of the alias 64 | alias 32 (kNone: none)
//            unit 4  publish time, CLOCK_MONOTONIC ns 64 | delivery count 32
//            unit 5  deadline 64 | stage group 32, unit 6 correlation id 64 | reserved 32: ABI 1 reserves them
//
// Every unit used carries the tag of the lap. Every 2^20 laps all eight are written, so that no tag of 2^32 laps ago
// can match in a unit that is seldom used.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "layout/layout.hpp"

namespace ipcq::detail {

enum class LineKind : std::uint8_t { none = 0, inlined = 1, slot = 2, tombstone = 3, control = 4 };

// What a control line asks of the executor that reaches it: the line's `sequence`. Readers pass over control lines.
enum class ControlOp : std::uint64_t { none = 0, switch_to_persistent = 1, switch_to_stream = 2 };

enum LineFlag : std::uint8_t {
  kPayloadReady = 1,      // the payload was in place before the line: no need to look at gpub
  kNotProcessed = 2,      // the handler refused the payload
  kInMirror = 4,          // device pool: in `in`, the payload is in the mirror alone; in `out`, it is there too
  kBeforeExecutor = 128,  // never in a line: in a held entry's copy that was made from `in` (early_ring.hpp)
};

inline constexpr unsigned kInlineUnit = 2;  // first payload unit that this version writes
inline constexpr std::uint32_t kInlineBytes = (kLineUnits - kInlineUnit) * kUnitBytes;

struct Descriptor {
  LineKind kind = LineKind::none;
  std::uint8_t flags = 0;
  std::uint8_t priority = 0;
  std::uint8_t data_unit = kInlineUnit;
  std::uint32_t length = 0;
  std::uint32_t producer = 0;
  std::uint32_t schema = 0;
  std::uint64_t sequence = 0;
  std::uint64_t lease = 0;
  std::uint32_t slot = kNone;
  std::uint32_t alias = kNone;
  std::uint64_t alias_lease = 0;
  std::uint64_t published_at_ns = 0;
};

constexpr bool carries_message(const Descriptor& d) { return d.kind == LineKind::inlined || d.kind == LineKind::slot; }

// Payload of an inline message. Four spare bytes: the last unit is stored as a whole.
struct InlineData {
  alignas(8) std::byte bytes[kInlineBytes + 8];
};

constexpr std::uint64_t pack_kind(const Descriptor& d) {
  return static_cast<std::uint64_t>(d.kind) | (std::uint64_t{d.flags} << 8) | (std::uint64_t{d.priority} << 16) |
         (std::uint64_t{d.data_unit} << 24) | (std::uint64_t{d.length} << 32);
}
constexpr void unpack_kind(std::uint64_t word, Descriptor& d) {
  d.kind = static_cast<LineKind>(word & 0xff);
  d.flags = static_cast<std::uint8_t>(word >> 8);
  d.priority = static_cast<std::uint8_t>(word >> 16);
  d.data_unit = static_cast<std::uint8_t>(word >> 24);
  d.length = static_cast<std::uint32_t>(word >> 32);
}

// A descriptor in shared memory, a word for each pair of fields: each is read once, whatever its owner does meanwhile.
template <class A>
struct StoredDescriptorOf {
  typename A::Word word[7];

  void store(const Descriptor& d) {
    constexpr auto relaxed = std::memory_order_relaxed;
    word[0].store(pack_kind(d), relaxed);
    word[1].store(std::uint64_t{d.producer} | (std::uint64_t{d.schema} << 32), relaxed);
    word[2].store(d.sequence, relaxed);
    if (d.kind == LineKind::inlined) return;  // load() looks at no more
    word[3].store(d.lease, relaxed);
    word[4].store(std::uint64_t{d.slot} | (std::uint64_t{d.alias} << 32), relaxed);
    word[5].store(d.alias_lease, relaxed);
    word[6].store(d.published_at_ns, relaxed);
  }
  Descriptor load() const {
    constexpr auto relaxed = std::memory_order_relaxed;
    Descriptor d;
    unpack_kind(word[0].load(relaxed), d);
    const std::uint64_t who = word[1].load(relaxed);
    d.producer = static_cast<std::uint32_t>(who);
    d.schema = static_cast<std::uint32_t>(who >> 32);
    d.sequence = word[2].load(relaxed);
    if (d.kind == LineKind::inlined) return d;
    d.lease = word[3].load(relaxed);
    const std::uint64_t where = word[4].load(relaxed);
    d.slot = static_cast<std::uint32_t>(where);
    d.alias = static_cast<std::uint32_t>(where >> 32);
    d.alias_lease = word[5].load(relaxed);
    d.published_at_ns = word[6].load(relaxed);
    return d;
  }
};

// What reading a line came to. `damaged`: tagged, but its content cannot be: the reader skips and counts it.
enum class LineRead : std::uint8_t { absent, present, damaged };

constexpr Pair make_unit(std::uint64_t lo, std::uint32_t hi, std::uint32_t tag) {
  return {lo, (static_cast<std::uint64_t>(tag) << 32) | hi};
}
constexpr std::uint32_t tag_of(std::uint64_t hi) { return static_cast<std::uint32_t>(hi >> 32); }

// 12 bytes of payload.
inline Pair load_unit(const std::byte* from) {
  std::uint64_t lo = 0;
  std::uint32_t hi = 0;
  std::memcpy(&lo, from, 8);
  std::memcpy(&hi, from + 8, 4);
  return {lo, hi};
}

// The last `rest` bytes, 1 to 11, of a payload. Assembled in registers: a copy of a few bytes to memory and back
// stalls.
inline Pair load_rest(const std::byte* data, std::uint32_t length, std::uint32_t rest) {
  unsigned __int128 v = 0;
  if (length > kUnitBytes) {  // the last 12 bytes, less those that belong to the unit before
    const Pair last = load_unit(data + length - kUnitBytes);
    v = ((static_cast<unsigned __int128>(last.hi) << 64) | last.lo) >> (8 * (kUnitBytes - rest));
  } else {
    for (std::uint32_t i = rest; i-- > 0;) v = (v << 8) | static_cast<std::uint8_t>(data[i]);
  }
  return {static_cast<std::uint64_t>(v), static_cast<std::uint64_t>(v >> 64)};
}

constexpr Pair with_tag(Pair data, std::uint32_t tag) {
  return {data.lo, data.hi | (static_cast<std::uint64_t>(tag) << 32)};
}

// Writes the line for `lap`. The caller owns it. `data` is the payload of an inline message.
template <class A>
void write_line(LineOf<A>& line, std::uint64_t lap, const Descriptor& d, const std::byte* data) {
  constexpr auto relaxed = std::memory_order_relaxed;
  const auto tag = static_cast<std::uint32_t>(lap);
  unsigned used = 1;
  // From the last unit to the first: each of the two cache lines is written in one go. A reader that looks at unit 0
  // meanwhile would take the first one away half-written.
  if (d.kind == LineKind::inlined) {
    const std::uint32_t whole = d.length / kUnitBytes;
    const std::uint32_t rest = d.length % kUnitBytes;
    used = kInlineUnit + whole + (rest != 0 ? 1 : 0);
    if (rest != 0) line.unit[kInlineUnit + whole].store(with_tag(load_rest(data, d.length, rest), tag), relaxed);
    for (std::uint32_t u = whole; u-- > 0;) {
      line.unit[kInlineUnit + u].store(with_tag(load_unit(data + u * kUnitBytes), tag), relaxed);
    }
  } else if (d.kind == LineKind::slot) {
    used = 5;
    line.unit[4].store(make_unit(d.published_at_ns, 0, tag), relaxed);
    line.unit[3].store(make_unit(d.alias_lease, d.alias, tag), relaxed);
    line.unit[2].store(make_unit(d.lease, d.slot, tag), relaxed);
  }
  if (lap % (1u << 20) == 0) {
    for (unsigned u = std::max(used, 2u); u < kLineUnits; ++u) line.unit[u].store(make_unit(0, 0, tag), relaxed);
  }
  line.unit[1].store(make_unit(d.sequence, d.schema, tag), relaxed);
  // SYNC line-tagged (release): payload and units 1.. before unit 0. Pairs with: read_line.
  line.unit[0].store(make_unit(pack_kind(d), d.producer, tag), std::memory_order_release);
}

// Whether the line carries this lap's tag.
template <class A>
bool is_tagged(const LineOf<A>& line, std::uint64_t lap) {
  // SYNC line-tagged (acquire). Pairs with: write_line.
  return tag_of(line.unit[0].load_hi(std::memory_order_acquire)) == static_cast<std::uint32_t>(lap);
}

// Copies the line of `lap` into private memory, checking it in the copy. Slot indices and lengths are for the caller,
// who knows the pool. `any_order`: units may arrive in any order, as they do from the other side of PCIe; there, a
// missing tag means "not yet". A CPU writes unit 0 last: a missing tag behind it is damage.
template <class A>
LineRead read_line(const LineOf<A>& line, std::uint64_t lap, Descriptor& d, InlineData& data,
                   bool any_order = A::kUnitsArriveInAnyOrder) {
  constexpr auto relaxed = std::memory_order_relaxed;
  const auto tag = static_cast<std::uint32_t>(lap);
  // SYNC line-tagged (acquire): unit 0 before the others. Pairs with: write_line.
  const Pair u0 = line.unit[0].load(std::memory_order_acquire);
  if (tag_of(u0.hi) != tag) return LineRead::absent;
  d = Descriptor{};
  unpack_kind(u0.lo, d);
  d.flags &= kPayloadReady | kNotProcessed | kInMirror;  // kBeforeExecutor never stands in a line
  d.producer = static_cast<std::uint32_t>(u0.hi);
  if (d.kind == LineKind::tombstone) return LineRead::present;
  if (!carries_message(d) && d.kind != LineKind::control) return LineRead::damaged;
  const LineRead missing = any_order ? LineRead::absent : LineRead::damaged;
  const Pair u1 = line.unit[1].load(relaxed);
  if (tag_of(u1.hi) != tag) return missing;
  d.sequence = u1.lo;
  d.schema = static_cast<std::uint32_t>(u1.hi);
  if (d.kind == LineKind::control) return LineRead::present;
  if (d.kind == LineKind::inlined) {
    if (d.data_unit < kInlineUnit || d.data_unit > kLineUnits) return LineRead::damaged;
    if (d.length > (kLineUnits - d.data_unit) * kUnitBytes) return LineRead::damaged;
    for (std::uint32_t at = 0, u = d.data_unit; at < d.length; at += kUnitBytes, ++u) {
      const Pair unit = line.unit[u].load(relaxed);
      if (tag_of(unit.hi) != tag) return missing;
      std::memcpy(data.bytes + at, &unit, sizeof unit);  // the next unit overwrites this one's tag
    }
    return LineRead::present;
  }
  const Pair u2 = line.unit[2].load(relaxed);
  const Pair u3 = line.unit[3].load(relaxed);
  const Pair u4 = line.unit[4].load(relaxed);
  if (tag_of(u2.hi) != tag || tag_of(u3.hi) != tag || tag_of(u4.hi) != tag) return missing;
  d.lease = u2.lo;
  d.slot = static_cast<std::uint32_t>(u2.hi);
  d.alias_lease = u3.lo;
  d.alias = static_cast<std::uint32_t>(u3.hi);
  d.published_at_ns = u4.lo;
  return LineRead::present;
}

}  // namespace ipcq::detail
