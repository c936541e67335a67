// The descriptor of one message, and how a tagged line is read and written. line_format.hpp has the format,
// plain_line.hpp the other kind of line.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "layout/layout.hpp"

namespace ipcq::detail {

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

constexpr bool carries_message(LineKind kind) { return kind == LineKind::inlined || kind == LineKind::slot; }
constexpr bool carries_message(const Descriptor& d) { return carries_message(d.kind); }

// Room for the payload of any inline message, and for the tag of the last unit, which is copied with its data.
struct InlineData {
  alignas(16) std::byte bytes[kMostInlineBytes + 16];
};

constexpr std::uint64_t pack_kind(const Descriptor& d) {
  return HeadBits::Kind::put(static_cast<std::uint64_t>(d.kind)) | HeadBits::Flags::put(d.flags) |
         HeadBits::Priority::put(d.priority) | HeadBits::DataUnit::put(d.data_unit) | HeadBits::Length::put(d.length);
}
constexpr void unpack_kind(std::uint64_t word, Descriptor& d) {
  d.kind = static_cast<LineKind>(HeadBits::Kind::get(word));
  d.flags = static_cast<std::uint8_t>(HeadBits::Flags::get(word));
  d.priority = static_cast<std::uint8_t>(HeadBits::Priority::get(word));
  d.data_unit = static_cast<std::uint8_t>(HeadBits::DataUnit::get(word));
  d.length = static_cast<std::uint32_t>(HeadBits::Length::get(word));
}

// The head of a line that is written: its payload begins at kInlineUnit, wherever it began in a line that `d` is from.
constexpr std::uint64_t pack_head(const Descriptor& d) {
  return (pack_kind(d) & ~HeadBits::DataUnit::kMask) | HeadBits::DataUnit::put(kInlineUnit);
}

constexpr LineKind kind_in(std::uint64_t head) { return static_cast<LineKind>(HeadBits::Kind::get(head)); }
// The head of a line without the flags that are not valid there.
constexpr std::uint64_t valid_head(std::uint64_t head) {
  return head & ~HeadBits::Flags::put(HeadBits::Flags::kMax & ~kFlagsOfALine);
}

// The head of most lines: an inline message without flags and priority, whose payload begins at kInlineUnit.
inline constexpr std::uint64_t kUsualHead =
    HeadBits::Kind::put(static_cast<std::uint64_t>(LineKind::inlined)) | HeadBits::DataUnit::put(kInlineUnit);
// The same of a message in a slot of host memory, whose payload is complete.
inline constexpr std::uint64_t kUsualSlotHead = HeadBits::Kind::put(static_cast<std::uint64_t>(LineKind::slot)) |
                                                HeadBits::Flags::put(kPayloadReady) |
                                                HeadBits::DataUnit::put(kInlineUnit);
// What a head is without its length.
inline constexpr std::uint64_t kAllButLength = ~HeadBits::Length::kMask;

// What the first two units of a line say, packed as a held entry has it.
struct PackedUnits {
  std::uint64_t head = 0;      // HeadBits
  std::uint64_t producer = 0;  // and, in the high half, schema
  std::uint64_t sequence = 0;
};
constexpr void unpack_units(const PackedUnits& p, Descriptor& d) {
  unpack_kind(p.head, d);
  d.producer = static_cast<std::uint32_t>(p.producer);
  d.schema = static_cast<std::uint32_t>(p.producer >> 32);
  d.sequence = p.sequence;
}

// A descriptor in a held entry: one word for each pair of fields. load() reads each word once, so that a concurrent
// write cannot change a value between its check and its use.
template <class A>
struct StoredDescriptorOf {
  typename A::Word word[7];  // head; producer and schema; sequence; lease; slot and alias; alias lease; publish time

  void store(const Descriptor& d) {
    store_units({pack_kind(d), std::uint64_t{d.producer} | (std::uint64_t{d.schema} << 32), d.sequence});
    if (d.kind == LineKind::inlined) return;  // load() reads no further word
    store_slot(d.lease, d.slot, d.alias, d.alias_lease, d.published_at_ns);
  }
  // All that an inline message needs.
  void store_units(const PackedUnits& p) {
    constexpr auto relaxed = std::memory_order_relaxed;
    word[0].store(p.head, relaxed);
    word[1].store(p.producer, relaxed);
    word[2].store(p.sequence, relaxed);
  }
  PackedUnits load_units() const {
    constexpr auto relaxed = std::memory_order_relaxed;
    return {word[0].load(relaxed), word[1].load(relaxed), word[2].load(relaxed)};
  }
  // Slot and alias of a message in a slot, and the time of its publication.
  struct Where {
    std::uint32_t slot;
    std::uint32_t alias;
    std::uint64_t published_at_ns;
  };
  Where load_where() const {
    constexpr auto relaxed = std::memory_order_relaxed;
    const std::uint64_t where = word[4].load(relaxed);
    return {static_cast<std::uint32_t>(where), static_cast<std::uint32_t>(where >> 32), word[6].load(relaxed)};
  }
  // What a message in a slot needs beside.
  void store_slot(std::uint64_t lease, std::uint32_t slot, std::uint32_t alias, std::uint64_t alias_lease,
                  std::uint64_t published_at_ns) {
    constexpr auto relaxed = std::memory_order_relaxed;
    word[3].store(lease, relaxed);
    word[4].store(std::uint64_t{slot} | (std::uint64_t{alias} << 32), relaxed);
    word[5].store(alias_lease, relaxed);
    word[6].store(published_at_ns, relaxed);
  }
  Descriptor load() const {
    constexpr auto relaxed = std::memory_order_relaxed;
    Descriptor d;
    unpack_units(load_units(), d);
    if (d.kind == LineKind::inlined) return d;
    d.lease = word[3].load(relaxed);
    const std::uint64_t where = word[4].load(relaxed);
    d.slot = static_cast<std::uint32_t>(where);
    d.alias = static_cast<std::uint32_t>(where >> 32);
    d.alias_lease = word[5].load(relaxed);
    d.published_at_ns = word[6].load(relaxed);
    return d;
  }
  LineKind load_kind() const { return kind_in(word[0].load(std::memory_order_relaxed)); }
};

static_assert(sizeof(StoredDescriptorOf<SharedAtomics>) == 56);

// Result of reading a line. `damaged`: the tag matches and the content is invalid; the reader skips and counts the
// line.
enum class LineRead : std::uint8_t { absent, present, damaged };

constexpr Pair make_unit(std::uint64_t lo, std::uint32_t hi, std::uint32_t tag) {
  return {lo, TailBits::Tag::put(tag) | TailBits::Data::put(hi)};
}
constexpr std::uint32_t tag_of(std::uint64_t hi) { return static_cast<std::uint32_t>(TailBits::Tag::get(hi)); }

// 12 bytes of payload.
inline Pair load_unit(const std::byte* from) {
  std::uint64_t lo = 0;
  std::uint32_t hi = 0;
  std::memcpy(&lo, from, 8);
  std::memcpy(&hi, from + 8, 4);
  return {lo, hi};
}

// The last `rest` bytes, 1 to 11, of a payload. Assembled in registers: loading 12 bytes just stored in smaller pieces
// would stall.
inline Pair load_rest(const std::byte* data, std::uint32_t length, std::uint32_t rest) {
  unsigned __int128 v = 0;
  if (length > kUnitBytes) {  // the last 12 bytes, without those that belong to the unit before
    const Pair last = load_unit(data + length - kUnitBytes);
    v = ((static_cast<unsigned __int128>(last.hi) << 64) | last.lo) >> (8 * (kUnitBytes - rest));
  } else {
    for (std::uint32_t i = rest; i-- > 0;) v = (v << 8) | static_cast<std::uint8_t>(data[i]);
  }
  return {static_cast<std::uint64_t>(v), static_cast<std::uint64_t>(v >> 64)};
}

constexpr Pair with_tag(Pair data, std::uint32_t tag) { return {data.lo, data.hi | TailBits::Tag::put(tag)}; }

// Writes the line for `lap`. The caller owns the line. `data` is the payload of an inline message.
template <class U>
void write_line(U* unit, std::uint64_t lap, const Descriptor& d, const std::byte* data) {
  constexpr auto relaxed = std::memory_order_relaxed;
  const auto tag = static_cast<std::uint32_t>(lap);
  unsigned used = 1;
  // From the last unit to the first, so that each of the two cache lines is written in one burst. A reader that polls
  // unit 0 takes away the first cache line, which is written last.
  if (d.kind == LineKind::inlined) {
    const std::uint32_t whole = d.length / kUnitBytes;
    const std::uint32_t rest = d.length % kUnitBytes;
    used = kInlineUnit + whole + (rest != 0 ? 1 : 0);
    if (rest != 0) unit[kInlineUnit + whole].store(with_tag(load_rest(data, d.length, rest), tag), relaxed);
    for (std::uint32_t u = whole; u-- > 0;) {
      unit[kInlineUnit + u].store(with_tag(load_unit(data + u * kUnitBytes), tag), relaxed);
    }
  } else if (d.kind == LineKind::slot) {
    used = kSlotUnits;
    unit[kTimeUnit].store(make_unit(d.published_at_ns, 0, tag), relaxed);
    unit[kAliasUnit].store(make_unit(d.alias_lease, d.alias, tag), relaxed);
    unit[kLeaseUnit].store(make_unit(d.lease, d.slot, tag), relaxed);
  }
  if (lap % kFullWriteEvery == 0) {
    for (unsigned u = std::max(used, kSequenceUnit + 1); u < kLineUnits; ++u)
      unit[u].store(make_unit(0, 0, tag), relaxed);
  }
  unit[kSequenceUnit].store(make_unit(d.sequence, d.schema, tag), relaxed);
  // SYNC line-tagged (release): payload and units 1.. before unit 0. Pairs with: read_line.
  unit[0].store(make_unit(pack_head(d), d.producer, tag), std::memory_order_release);
}

// Whether the line carries this lap's tag. If so, the caller observes everything that its writer did before write_line.
// Of both kinds of line, as has_reached_lap().
template <class U>
bool is_tagged(const U* unit, std::uint64_t lap) {
  // SYNC line-tagged (acquire). Pairs with: write_line, write_plain_line.
  return tag_of(unit[0].load_hi(std::memory_order_acquire)) == static_cast<std::uint32_t>(lap);
}

// Whether the line carries the tag of this lap or of a later one. Once true it stays true, also after the line is
// reused.
template <class U>
bool has_reached_lap(const U* unit, std::uint64_t lap) {
  return !is_before(tag_of(unit[0].load_hi(std::memory_order_acquire)), static_cast<std::uint32_t>(lap));
}

// Copies the line of `lap` into private memory and checks the copy. `data` has room for kInlineBytes + 8 bytes. The
// caller checks slot indices and payload lengths, for which it must know the pool. `any_order`: the units may arrive in
// any order, as they do across PCIe; a unit without the tag then means `absent`. A CPU writes unit 0 last, so there
// such a unit means `damaged`.
template <class U>
[[gnu::noinline]] LineRead read_line(const U* unit, std::uint64_t lap, Descriptor& d, std::byte* data, bool any_order) {
  constexpr auto relaxed = std::memory_order_relaxed;
  const auto tag = static_cast<std::uint32_t>(lap);
  // SYNC line-tagged (acquire): unit 0 before the others. Pairs with: write_line.
  const Pair u0 = unit[0].load(std::memory_order_acquire);
  if (tag_of(u0.hi) != tag) return LineRead::absent;
  d = Descriptor{};
  unpack_kind(valid_head(u0.lo), d);
  d.producer = static_cast<std::uint32_t>(u0.hi);
  if (d.kind == LineKind::tombstone) return LineRead::present;
  if (!carries_message(d) && d.kind != LineKind::control) return LineRead::damaged;
  const LineRead missing = any_order ? LineRead::absent : LineRead::damaged;
  const Pair sequence = unit[kSequenceUnit].load(relaxed);
  if (tag_of(sequence.hi) != tag) return missing;
  d.sequence = sequence.lo;
  d.schema = static_cast<std::uint32_t>(sequence.hi);
  if (d.kind == LineKind::control) return LineRead::present;
  if (d.kind == LineKind::inlined) {
    if (d.data_unit < kInlineUnit || d.data_unit > kLineUnits) return LineRead::damaged;
    if (d.length > (kLineUnits - d.data_unit) * kUnitBytes) return LineRead::damaged;
    std::uint32_t wrong = 0;
    std::byte* to = data;
    for (const U* from = unit + d.data_unit; to < data + d.length; ++from, to += kUnitBytes) {
      wrong |= from->copy_to(to) ^ tag;  // the next unit overwrites this one's tag
    }
    return wrong == 0 ? LineRead::present : missing;
  }
  const Pair lease = unit[kLeaseUnit].load(relaxed);
  const Pair alias = unit[kAliasUnit].load(relaxed);
  const Pair time = unit[kTimeUnit].load(relaxed);
  if (tag_of(lease.hi) != tag || tag_of(alias.hi) != tag || tag_of(time.hi) != tag) return missing;
  d.lease = lease.lo;
  d.slot = static_cast<std::uint32_t>(lease.hi);
  d.alias_lease = alias.lo;
  d.alias = static_cast<std::uint32_t>(alias.hi);
  d.published_at_ns = time.lo;
  return LineRead::present;
}

// read_line() of an inline message of the usual head, whose fields stay packed. False: another line, or not all of it
// is there; read_line() says what. `data` is unspecified then.
template <class U>
[[gnu::always_inline]] inline bool copy_usual_tagged_line(const U* unit, std::uint64_t lap, PackedUnits& p,
                                                          std::byte* data) {
  const auto tag = static_cast<std::uint32_t>(lap);
  // SYNC line-tagged (acquire): unit 0 before the others. Pairs with: write_line.
  const Pair u0 = unit[0].load(std::memory_order_acquire);
  if (tag_of(u0.hi) != tag || (u0.lo & kAllButLength) != kUsualHead) return false;
  const std::uint64_t length = HeadBits::Length::get(u0.lo);
  if (length > kInlineBytes) return false;
  const Pair u1 = unit[kSequenceUnit].load(std::memory_order_relaxed);
  std::uint32_t wrong = tag_of(u1.hi) ^ tag;
  const U* from = unit + kInlineUnit;
  for (std::byte* to = data; to < data + length; ++from, to += kUnitBytes) {
    wrong |= from->copy_to(to) ^ tag;  // the next unit overwrites this one's tag
  }
  p.head = u0.lo;
  p.producer = TailBits::Data::get(u0.hi) | (TailBits::Data::get(u1.hi) << 32);
  p.sequence = u1.lo;
  return wrong == 0;
}

}  // namespace ipcq::detail
