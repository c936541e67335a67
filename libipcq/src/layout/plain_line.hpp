// Reading and writing a plain line: one that no GPU accesses. line_format.hpp has the format.
//
// The tag of unit 0 vouches for the whole line, because a CPU stores it last and loads it first.
#pragma once

#include <cstdint>

#include "layout/line.hpp"

namespace ipcq::detail {

// What a plain line says of a slot.
struct PlainSlot {
  std::uint64_t lease = 0;
  std::uint32_t slot = kNone;
  std::uint32_t alias = kNone;
  std::uint64_t alias_lease = 0;
  std::uint64_t published_at_ns = 0;
};
static_assert(sizeof(PlainSlot) == 32 && (kInlineUnit * kUnitSize) + sizeof(PlainSlot) <= kLeastLineBytes);
static_assert(offsetof(PlainSlot, lease) == 0 && offsetof(PlainSlot, slot) == 8 && offsetof(PlainSlot, alias) == 12 &&
              offsetof(PlainSlot, alias_lease) == 16 && offsetof(PlainSlot, published_at_ns) == 24);

// Writes the line for `lap`. The caller owns the line, and it has room for the payload `data` of an inline message.
template <class U>
void write_plain_line(U* unit, std::uint64_t lap, const Descriptor& d, const std::byte* data) {
  constexpr auto relaxed = std::memory_order_relaxed;
  const auto tag = static_cast<std::uint32_t>(lap);
  if (d.kind == LineKind::inlined) {
    U::write_plain(unit + kInlineUnit, data, d.length);
  } else if (d.kind == LineKind::slot) {
    const PlainSlot s{d.lease, d.slot, d.alias, d.alias_lease, d.published_at_ns};
    U::write_plain(unit + kInlineUnit, reinterpret_cast<const std::byte*>(&s), sizeof s);
  }
  unit[kSequenceUnit].store(make_unit(d.sequence, d.schema, tag), relaxed);
  // SYNC line-tagged (release): payload and unit 1 before unit 0. Pairs with: look_at_plain_units.
  unit[0].store(make_unit(pack_head(d), d.producer, tag), std::memory_order_release);
}

// The same for an inline message of the usual head, from what is not zero. In line: it is most of what a send does.
template <class U>
[[gnu::always_inline]] inline void write_plain_inline(U* unit, std::uint64_t lap, std::uint32_t producer,
                                                      std::uint64_t sequence, const std::byte* data,
                                                      std::uint32_t length) {
  const auto tag = static_cast<std::uint32_t>(lap);
  U::write_plain(unit + kInlineUnit, data, length);
  unit[kSequenceUnit].store(make_unit(sequence, 0, tag), std::memory_order_relaxed);
  // SYNC line-tagged (release): payload and unit 1 before unit 0. Pairs with: look_at_plain_units.
  unit[0].store(make_unit(kUsualHead | HeadBits::Length::put(length), producer, tag), std::memory_order_release);
}

// The same for a message in a slot that is no alias's.
template <class U>
[[gnu::always_inline]] inline void write_plain_slot(U* unit, std::uint64_t lap, std::uint32_t producer,
                                                    std::uint64_t sequence, const PlainSlot& slot,
                                                    std::uint32_t length) {
  const auto tag = static_cast<std::uint32_t>(lap);
  U::write_plain(unit + kInlineUnit, reinterpret_cast<const std::byte*>(&slot), sizeof slot);
  unit[kSequenceUnit].store(make_unit(sequence, 0, tag), std::memory_order_relaxed);
  // SYNC line-tagged (release): slot and unit 1 before unit 0. Pairs with: look_at_plain_units.
  unit[0].store(make_unit(kUsualSlotHead | HeadBits::Length::put(length), producer, tag), std::memory_order_release);
}

// What a line with the usual head of `Kind` says, if it has the lap's tag; its payload, or its slot, is at kInlineUnit.
// False: it is absent, or has another head, or an inline message that is too long. `inline_bytes`: of the line.
template <LineKind Kind, class U>
[[gnu::always_inline]] inline bool look_at_usual_line(const U* unit, std::uint64_t lap, std::uint32_t inline_bytes,
                                                      PackedUnits& p) {
  // SYNC line-tagged (acquire): unit 0 before the others. Pairs with: write_plain_line.
  const Pair u0 = unit[0].load(std::memory_order_acquire);
  if (tag_of(u0.hi) != static_cast<std::uint32_t>(lap)) return false;
  if ((u0.lo & kAllButLength) != (Kind == LineKind::slot ? kUsualSlotHead : kUsualHead)) return false;
  if (Kind == LineKind::inlined && HeadBits::Length::get(u0.lo) > inline_bytes) return false;
  const Pair u1 = unit[kSequenceUnit].load(std::memory_order_relaxed);
  p.head = u0.lo;
  p.producer = TailBits::Data::get(u0.hi) | (u1.hi << 32);
  p.sequence = u1.lo;
  return true;
}

// Copies the first two units and checks the copy. `units`: of the line. In line: the fields stay packed in registers,
// and each caller unpacks those that it needs.
template <class U>
[[gnu::always_inline]] inline LineRead look_at_plain_units(const U* unit, std::uint32_t units, std::uint64_t lap,
                                                           PackedUnits& p) {
  // SYNC line-tagged (acquire): unit 0 before the others. Pairs with: write_plain_line.
  const Pair u0 = unit[0].load(std::memory_order_acquire);
  if (tag_of(u0.hi) != static_cast<std::uint32_t>(lap)) return LineRead::absent;
  p.head = valid_head(u0.lo);
  p.producer = TailBits::Data::get(u0.hi);
  const LineKind kind = kind_in(u0.lo);
  if (kind == LineKind::tombstone) return LineRead::present;
  const Pair u1 = unit[kSequenceUnit].load(std::memory_order_relaxed);
  p.sequence = u1.lo;
  p.producer |= u1.hi << 32;
  if (kind != LineKind::inlined) return kind == LineKind::slot ? LineRead::present : LineRead::damaged;
  const std::uint64_t at = HeadBits::DataUnit::get(u0.lo);
  const bool fits = at >= kInlineUnit && at * kUnitSize + HeadBits::Length::get(u0.lo) <= units * kUnitSize;
  return fits ? LineRead::present : LineRead::damaged;
}

// What a line says of a slot that look_at_plain_units() has described so.
template <class U>
PlainSlot read_plain_slot(const U* unit) {
  PlainSlot s;
  U::read_plain(unit + kInlineUnit, reinterpret_cast<std::byte*>(&s), sizeof s);
  return s;
}

// Copies all but the payload of an inline message, whose bytes read_plain_payload() copies, and checks the copy. The
// caller checks slot indices and the payload lengths of slots, for which it must know the pool.
template <class U>
[[gnu::always_inline]] inline LineRead look_at_plain_line(const U* unit, std::uint32_t units, std::uint64_t lap,
                                                          Descriptor& d) {
  PackedUnits p;
  const LineRead r = look_at_plain_units(unit, units, lap, p);
  if (r == LineRead::absent) return r;
  d = Descriptor{};
  unpack_units(p, d);
  if (d.kind == LineKind::slot) {
    const PlainSlot s = read_plain_slot(unit);
    d.lease = s.lease;
    d.slot = s.slot;
    d.alias = s.alias;
    d.alias_lease = s.alias_lease;
    d.published_at_ns = s.published_at_ns;
  }
  return r;
}

// Copies a plain line to a held entry, as look_at_plain_line() and read_plain_payload() do, field by field as it is
// packed. `kind`: of a line that is `present`; the entry is complete if it carries a message.
template <class U, class Stored>
[[gnu::always_inline]] inline LineRead copy_plain_line(const U* unit, std::uint32_t units, std::uint64_t lap,
                                                       Stored& to, std::byte* data, LineKind& kind) {
  PackedUnits p;
  const LineRead r = look_at_plain_units(unit, units, lap, p);
  if (r != LineRead::present) return r;
  kind = kind_in(p.head);
  if (kind == LineKind::tombstone) return r;
  to.store_units(p);
  if (kind == LineKind::slot) {
    const PlainSlot s = read_plain_slot(unit);
    to.store_slot(s.lease, s.slot, s.alias, s.alias_lease, s.published_at_ns);
  } else {
    U::read_plain(unit + HeadBits::DataUnit::get(p.head), data, HeadBits::Length::get(p.head));
  }
  return r;
}

// Copies the payload of an inline message that look_at_plain_line() has described, d.length bytes.
template <class U>
void read_plain_payload(const U* unit, const Descriptor& d, std::byte* to) {
  U::read_plain(unit + d.data_unit, to, d.length);
}

}  // namespace ipcq::detail
