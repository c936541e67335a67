// The pool of payload slots: who may touch which bytes. docs/design/ring.md, "Pool".
//
// The slot words are the truth; the free bits are hints that make finding a free slot cheap. A bit lost by a dead
// client is set again by the repair. Template over the atomics policy; a view like Ring.
#pragma once

#include <bit>
#include <cstdint>

#include "base/crash_point.hpp"
#include "layout/layout.hpp"
#include "layout/words.hpp"

namespace ipcq::detail {

template <class A>
struct PoolWords {
  typename A::Wide* slots = nullptr;      // [alias_base + aliases]
  typename A::Word* free_bits = nullptr;  // one bit a slot word
  AliasParentOf<A>* parents = nullptr;    // [aliases]
  std::uint32_t payload_slots = 0;        // [0, payload_slots) have a payload
  std::uint32_t alias_base = 0;           // multiple of kSlotsPerFreeWord, >= payload_slots
  std::uint32_t aliases = 0;
};

// A slot, or an alias, on loan to the caller.
struct SlotLoan {
  std::uint32_t slot = kNone;
  std::uint64_t lease = 0;
};

template <class A>
class Pool {
 public:
  Pool() = default;
  explicit Pool(const PoolWords<A>& words) : w_(words) {}

  std::uint32_t payload_slots() const { return w_.payload_slots; }
  std::uint32_t slot_words() const { return w_.alias_base + w_.aliases; }
  bool is_payload(std::uint32_t slot) const { return slot < w_.payload_slots; }
  bool is_alias(std::uint32_t slot) const { return slot >= w_.alias_base && slot < slot_words(); }
  Slot slot(std::uint32_t index) const { return unpack_slot(w_.slots[index].load_stable()); }

  // Takes any free payload slot; kNone when there is none. `hint` is where the caller found its last one.
  SlotLoan borrow(std::uint32_t me, std::uint32_t& hint) const { return borrow(me, hint, 0, w_.payload_slots); }
  // Takes an alias and names its parent: the group bit of a slot that the caller holds.
  SlotLoan borrow_alias(std::uint32_t me, std::uint32_t& hint, SlotLoan parent, unsigned group) const {
    const SlotLoan alias = borrow(me, hint, w_.alias_base, slot_words());
    if (alias.slot != kNone) {
      auto& p = w_.parents[alias.slot - w_.alias_base];
      p.lease.store(parent.lease, std::memory_order_release);
      p.where.store(pack_parent(parent.slot, group), std::memory_order_release);
    }
    return alias;
  }

  // From now on a GPU may write to the loan. Only the loaner writes the word now.
  void mark_for_gpu(const SlotLoan& loan, std::uint32_t me, LoanWriter writer) const {
    w_.slots[loan.slot].store_hi(pack(Slot{loan.lease, me, SlotState::loan, static_cast<std::uint8_t>(writer), 0}).hi);
  }
  // The loan becomes the message of `ticket`, to be released by each of `groups`. Only the loaner writes the word now.
  void publish(const SlotLoan& loan, std::uint32_t me, std::uint8_t groups, std::uint64_t ticket) const {
    const Slot s{loan.lease, me, SlotState::message, groups, static_cast<std::uint32_t>(ticket)};
    // SYNC slot-word (release). Pairs with: clear_group.
    w_.slots[loan.slot].store_hi(pack(s).hi);
  }

  // An unpublished loan goes back.
  bool give_back(const SlotLoan& loan, std::uint32_t me) const {
    const Slot s = peek(loan.slot);
    if (s.lease != loan.lease || s.client != me || s.state != SlotState::loan) return false;
    return make_free(loan.slot, s);
  }

  // One group has finished with the message. Idempotent: nothing happens when the lease has passed or the bit is clear.
  // True when a payload slot became free (the caller rings the pool's doorbell).
  bool release(std::uint32_t index, std::uint64_t lease, unsigned group) const {
    return (is_payload(index) || is_alias(index)) && release(index, lease, group, 0);
  }

  // An alias whose readers are all done releases its parent and becomes free. Idempotent, by any party: the last reader
  // does it, or the repair where that reader died. True as in release().
  bool finish_alias(std::uint32_t index) const {
    const Slot s = slot(index);
    // Before the parent words are read: those of a lease that is still on loan are not written yet.
    return s.state == SlotState::message && s.groups == 0 && finish_alias(index, s.lease, 0);
  }

  // Whether the group has still to release this lease of the slot, or alias.
  bool is_reading(std::uint32_t index, std::uint64_t lease, unsigned group) const {
    const Slot s = slot(index);
    return s.lease == lease && s.state == SlotState::message && (s.groups >> group & 1) != 0;
  }
  // The bit that a published alias clears in the end: where it is and of which lease.
  struct ParentBit {
    std::uint64_t where = 0;  // AliasParent::where
    std::uint64_t lease = 0;
  };
  // False when the alias is not published.
  bool parent_bit(std::uint32_t alias, ParentBit& bit) const {
    for (;;) {
      const Slot s = slot(alias);
      if (s.state != SlotState::message) return false;
      const auto& p = parent(alias);
      bit.where = p.where.load(std::memory_order_acquire);
      bit.lease = p.lease.load(std::memory_order_acquire);
      // Both of one lease: they change only after the alias was free and lent again.
      if (slot(alias).lease == s.lease) return true;
    }
  }

  // How a slot, or an alias, is reached and shared.
  struct Chain {
    bool sole_reader = true;  // nobody but the group that asked reads the payload any more; never becomes untrue
    unsigned depth = 0;       // aliases between it and the payload
  };
  Chain chain(std::uint32_t index, std::uint64_t lease, unsigned group) const {
    Chain c;
    for (; c.depth <= kMaxDepth; ++c.depth) {
      if (!is_payload(index) && !is_alias(index)) break;
      const Slot s = slot(index);
      c.sole_reader = c.sole_reader && s.lease == lease && s.state == SlotState::message && s.groups == (1u << group);
      if (is_payload(index)) return c;
      const auto& p = w_.parents[index - w_.alias_base];
      const std::uint64_t where = p.where.load(std::memory_order_acquire);
      lease = p.lease.load(std::memory_order_acquire);
      index = parent_slot(where);
      group = parent_group(where);
    }
    return {false, kMaxDepth};  // damaged
  }

  // Aliases of aliases: one level per forward of a message that is still referred to. A forward beyond this copies.
  static constexpr unsigned kMaxDepth = 32;

  AliasParentOf<A>& parent(std::uint32_t alias) const { return w_.parents[alias - w_.alias_base]; }

  // Compare-and-swap to FREE, then the hint.
  bool make_free(std::uint32_t index, const Slot& from) const {
    const Slot to{from.lease, 0, SlotState::free, 0, 0};
    if (!w_.slots[index].cas(pack(from), pack(to))) return false;
    IPCQ_CRASH_POINT("slot.freed");
    set_free_bit(index);
    return true;
  }
  // Repair: takes the slot out of use. It stays its client's until end_quarantine().
  bool quarantine(std::uint32_t index, const Slot& from) const {
    return w_.slots[index].cas(pack(from), pack(Slot{from.lease, from.client, SlotState::quarantine, 0, 0}));
  }
  // Nothing writes to it any more: it serves again. False when it is not that client's.
  bool end_quarantine(std::uint32_t index, std::uint32_t client) const {
    const Slot s = slot(index);
    return s.state == SlotState::quarantine && s.client == client && make_free(index, s);
  }
  // Repair: sets the bit of every free slot that lacks it.
  void restore_free_bits() const {
    for (std::uint32_t i = 0; i < slot_words(); ++i) {
      if (!is_payload(i) && !is_alias(i)) continue;
      if (slot(i).state == SlotState::free) set_free_bit(i);
    }
  }

 private:
  // For what a compare-and-swap confirms.
  Slot peek(std::uint32_t index) const { return unpack_slot(w_.slots[index].load()); }

  bool release(std::uint32_t index, std::uint64_t lease, unsigned group, unsigned depth) const {
    switch (clear_group(index, lease, group)) {
      case Cleared::stale:
      case Cleared::others_left:
        return false;
      case Cleared::last:
        break;
    }
    IPCQ_CRASH_POINT("release.last");
    if (is_alias(index)) return finish_alias(index, lease, depth);
    set_free_bit(index);
    return true;
  }

  bool finish_alias(std::uint32_t index, std::uint64_t lease, unsigned depth) const {
    if (depth > kMaxDepth) return false;  // deeper than any forward makes it: damaged
    const auto& p = w_.parents[index - w_.alias_base];
    const std::uint64_t where = p.where.load(std::memory_order_acquire);
    const std::uint64_t parent_lease = p.lease.load(std::memory_order_acquire);
    // Checked after the parent words: they belong to this lease, and change only once the alias is free.
    const Slot s = slot(index);
    if (s.lease != lease || s.state != SlotState::message || s.groups != 0) return false;
    const std::uint32_t parent = parent_slot(where);
    bool freed = false;
    if (is_payload(parent) || is_alias(parent)) {
      freed = release(parent, parent_lease, parent_group(where), depth + 1);
    }
    make_free(index, s);
    return freed;
  }

  void set_free_bit(std::uint32_t index) const {
    // SYNC free-bit (release). Pairs with: borrow. A hint only: the slot word carries the order.
    w_.free_bits[index / kSlotsPerFreeWord].fetch_or(std::uint64_t{1} << (index % kSlotsPerFreeWord),
                                                     std::memory_order_release);
  }

  enum class Cleared : std::uint8_t { stale, others_left, last };

  // Clears the group's bit; the last one makes a payload slot free (an alias is finished first).
  Cleared clear_group(std::uint32_t index, std::uint64_t lease, unsigned group) const {
    const auto bit = static_cast<std::uint8_t>(1u << group);
    for (;;) {
      // The lease that the caller names is the current one or has passed: a mixed value comes to `stale`, which is true
      // then, or makes the swap fail.
      const Slot s = peek(index);
      if (s.lease != lease || s.state != SlotState::message || (s.groups & bit) == 0) return Cleared::stale;
      Slot to = s;
      to.groups = static_cast<std::uint8_t>(s.groups & ~bit);
      const bool last = to.groups == 0;
      if (last && is_payload(index)) to = Slot{s.lease, 0, SlotState::free, 0, 0};
      // SYNC slot-word (acquire, release): the reader's accesses before the word; the next loaner comes after them.
      // Pairs with: borrow.
      if (w_.slots[index].cas(pack(s), pack(to))) return last ? Cleared::last : Cleared::others_left;
    }
  }

  SlotLoan borrow(std::uint32_t me, std::uint32_t& hint, std::uint32_t first, std::uint32_t end) const {
    const std::uint32_t words = (end - first + kSlotsPerFreeWord - 1) / kSlotsPerFreeWord;
    if (words == 0) return {};
    for (std::uint32_t n = 0; n < words; ++n) {
      const std::uint32_t word = (hint + n) % words;
      auto& bits = w_.free_bits[first / kSlotsPerFreeWord + word];
      for (;;) {
        // SYNC free-bit (acquire). Pairs with: set_free_bit.
        const std::uint64_t seen = bits.load(std::memory_order_acquire);
        if (seen == 0) break;
        const auto bit = static_cast<unsigned>(std::countr_zero(seen));
        bits.fetch_and(~(std::uint64_t{1} << bit), std::memory_order_acq_rel);
        IPCQ_CRASH_POINT("loan.bit_taken");
        const std::uint32_t index = first + word * kSlotsPerFreeWord + bit;
        if (index >= end) continue;  // a damaged hint
        const Slot s = peek(index);
        if (s.state != SlotState::free) continue;
        // SYNC slot-word (acquire, release). Pairs with: clear_group, make_free.
        if (w_.slots[index].cas(pack(s), pack(Slot{s.lease + 1, me, SlotState::loan, 0, 0}))) {
          IPCQ_CRASH_POINT("loan.taken");
          hint = word;
          return {index, s.lease + 1};
        }
      }
    }
    return {};
  }

  PoolWords<A> w_;
};

}  // namespace ipcq::detail
