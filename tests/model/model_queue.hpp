// A queue small enough for Relacy to explore. Include this header before any other, as relacy_atomics.hpp.
#pragma once

#include "relacy_atomics.hpp"

#include <cstddef>
#include <cstring>
#include <new>

namespace ipcq::detail::model {

using ModelRing = Ring<RelacyAtomics>;
using ModelPool = Pool<RelacyAtomics>;
using ModelMember = GroupMember<RelacyAtomics>;
using ModelReader = InPlaceReader<RelacyAtomics>;

// Publishes a claimed ticket as a message whose payload and sequence number are `number`.
inline void write_number(const ModelRing& ring, std::uint64_t ticket, std::uint64_t number) {
  Descriptor d;
  d.kind = LineKind::inlined;
  d.length = sizeof number;
  d.sequence = number;
  std::byte bytes[kUnitBytes] = {};
  std::memcpy(bytes, &number, sizeof number);
  if (ring.is_plain()) {
    ring.usual_writer(0).write(ticket, number, bytes, sizeof number);
  } else {
    ring.write(ticket, d, bytes);
  }
}
// What a producer remembers from claim to claim.
struct LastClaim {
  std::uint64_t limit = 0;
  std::uint64_t mine = kNoTicket;
};
// Claims one ticket as a producer does: in the short way, where its own claim of one was the last.
inline PublishClaim claim_one(const ModelRing& ring, std::uint32_t client, LastClaim& last) {
  if (const std::uint64_t ticket = ring.claim_next(last.mine, last.limit); ticket != kNoTicket) {
    return {ticket, 1, static_cast<std::uint8_t>(CursorBits::Groups::get(last.mine)), ClaimOutcome::ok, 0};
  }
  const PublishClaim c = ring.claim_publish(client, 1, last.limit);
  if (c.outcome == ClaimOutcome::ok) last.mine = ModelRing::mine_after_one(client, c.groups);
  return c;
}
inline void publish_number(const ModelRing& ring, std::uint32_t client, std::uint64_t number, LastClaim& last) {
  PublishClaim c;
  while ((c = claim_one(ring, client, last)).outcome == ClaimOutcome::full) yield();
  write_number(ring, c.ticket, number);
}
// Takes one message as a consumer does: in the short way, where its own claim of one was the last.
inline bool take_one(ModelMember& member, const ModelRing& ring, std::uint32_t& entry) {
  PackedUnits p;
  if (member.take_next<LineKind::inlined>(ring.out_lines(), p) != kNoTicket ||
      member.take_next<LineKind::slot>(ring.out_lines(), p) != kNoTicket) {
    entry = member.first_entry();
    return true;
  }
  return member.take_one(entry).outcome == TakeOutcome::taken;
}
// The same for a copy of a message. kNoTicket: there is none.
inline std::uint64_t copy_one(ModelReader& reader, std::byte* data, Descriptor& d) {
  PackedUnits p;
  if (const std::uint64_t ticket = reader.copy_next(data, kInlineBytes, p); ticket != kNoTicket) {
    unpack_units(p, d);
    return ticket;
  }
  Taken taken;
  const std::uint64_t ticket = reader.copy(data, kInlineBytes, d, taken);
  return taken.outcome == TakeOutcome::taken ? ticket : kNoTicket;
}

// A direct queue of `kLines` lines, with `kGroups` groups of which the first `kJoined` exist from the start, `kMembers`
// blocks of `kBlock` held entries, `kSlots` slots and `kAliases` aliases. Its lines are plain, else tagged.
template <unsigned kGroups, unsigned kMembers, unsigned kBlock, unsigned kSlots = 0, unsigned kAliases = 0,
          unsigned kJoined = kGroups, unsigned kLines = 2, bool kPlain = true>
struct ModelQueue {
  static constexpr unsigned kAliasBase = 64;

  ModelQueue() {
    RingWords<RelacyAtomics> r;
    for (unsigned c = 0; c < 1 + kGroups; ++c) {
      r.cursor[c] = &cursor[c];
      r.own[c] = own[c];
    }
    r.in = r.out = units;
    r.line_units = kUnits;
    r.plain = kPlain;
    r.live_groups = &live;
    r.free_before = &free_before;
    r.lines = kLines;
    ring = ModelRing(r);
    const auto groups = static_cast<std::uint8_t>((1u << kJoined) - 1);
    cursor[kProducers].init(pack(Cursor{0, 0, 0, groups, false}));
    live.store(fault == Fault::groups_ignored ? 0 : groups, std::memory_order::relaxed);
    if (fault == Fault::said_free_too_early) free_before.store(kLines + 1, std::memory_order::relaxed);

    for (unsigned i = 0; i < kSlots; ++i) ::new (&slot_storage[i]) RelacyAtomics::Wide();
    for (unsigned i = 0; i < kAliases; ++i) ::new (&slot_storage[kAliasBase + i]) RelacyAtomics::Wide();
    PoolWords<RelacyAtomics> p;
    p.slots = reinterpret_cast<RelacyAtomics::Wide*>(slot_storage);
    p.free_bits = free_bits;
    p.parents = parents;
    p.payload_slots = kSlots;
    p.alias_base = kAliasBase;
    p.aliases = kAliases;
    pool = ModelPool(p);
    pool.restore_free_bits();
  }
  ~ModelQueue() {
    auto* const words = reinterpret_cast<RelacyAtomics::Wide*>(slot_storage);
    for (unsigned i = 0; i < kSlots; ++i) words[i].~Wide();
    for (unsigned i = 0; i < kAliases; ++i) words[kAliasBase + i].~Wide();
  }

  ModelMember member(unsigned group, unsigned block, std::uint32_t client) {
    return ModelMember(ring, words(group, block, client));
  }
  ModelReader reader(unsigned group, unsigned block, std::uint32_t client) {
    return ModelReader(ring, words(group, block, client));
  }
  GroupWords<RelacyAtomics> words(unsigned group, unsigned block, std::uint32_t client) {
    GroupWords<RelacyAtomics> w;
    w.held = {held, sizeof held[0], kMembers * kBlock};
    w.orphans = &orphans[group];
    w.first = block * kBlock;
    w.block = kBlock;
    w.group = group;
    w.client = client;
    return w;
  }

  std::uint64_t free_bit_word(unsigned word) { return free_bits[word].load(std::memory_order::relaxed); }
  // Whether every slot and alias is free and has its free bit.
  bool nothing_leaked() {
    for (unsigned i = 0; i < kSlots; ++i) {
      if (pool.slot(i).state != SlotState::free || (free_bit_word(0) >> i & 1) == 0) return false;
    }
    for (unsigned i = 0; i < kAliases; ++i) {
      if (pool.slot(kAliasBase + i).state != SlotState::free || (free_bit_word(1) >> i & 1) == 0) return false;
    }
    return true;
  }

  RelacyAtomics::Wide cursor[1 + kGroups];
  RelacyAtomics::Word own[1 + kGroups][kLines];
  static constexpr unsigned kUnits = kPlain ? kLeastLineBytes / kUnitSize : kLineUnits;
  RelacyAtomics::Unit units[kLines * kUnits];
  RelacyAtomics::Word live;
  RelacyAtomics::Word free_before;
  HeldOf<RelacyAtomics> held[kMembers * kBlock];
  RelacyAtomics::Word orphans[kGroups];
  RelacyAtomics::Word free_bits[2];
  AliasParentOf<RelacyAtomics> parents[kAliases == 0 ? 1 : kAliases];
  struct alignas(RelacyAtomics::Wide) Raw {
    std::byte bytes[sizeof(RelacyAtomics::Wide)];
  };
  Raw slot_storage[kAliases == 0 ? (kSlots == 0 ? 1 : kSlots) : kAliasBase + kAliases];
  ModelRing ring;
  ModelPool pool;
};

}  // namespace ipcq::detail::model
