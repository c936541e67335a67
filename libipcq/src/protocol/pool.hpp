// The pool of payload slots and aliases: which party may access which payload. docs/design/ring.md, "Pool"; words.hpp
// has the state diagram of the slot word.
//
// Only the slot words decide. The free bits are hints that make a search cheap: a set bit may be wrong, which costs one
// load; a bit lost with a dead client is set again by the repair. Thread-safe, lock-free, never waits. Template over
// the atomics policy; a view like Ring.
#pragma once

#include <bit>
#include <cstdint>

#include "base/crash_point.hpp"
#include "layout/layout.hpp"
#include "layout/line.hpp"
#include "layout/words.hpp"

namespace ipcq::detail {

template <class A>
struct PoolWords {
  typename A::Wide* slots = nullptr;      // [alias_base + aliases]
  typename A::Word* free_bits = nullptr;  // one bit per slot word
  AliasParentOf<A>* parents = nullptr;    // [aliases]
  std::uint32_t payload_slots = 0;        // [0, payload_slots) have a payload
  std::uint32_t alias_base = 0;           // multiple of kSlotsPerFreeWord, >= payload_slots
  std::uint32_t aliases = 0;
};

// A loan: a slot or an alias, and the lease of this loan.
struct SlotLoan {
  std::uint32_t slot = kNone;
  std::uint64_t lease = 0;
  friend bool operator==(const SlotLoan&, const SlotLoan&) = default;
};

// By which a message of kind `slot` holds its payload: its alias if it has one, else the slot itself.
constexpr SlotLoan held_by(const Descriptor& d) {
  return d.alias != kNone ? SlotLoan{d.alias, d.alias_lease} : SlotLoan{d.slot, d.lease};
}

// More than 25 members: the steps of loaners, readers, forwarders, broker and repair on the slot words, which nothing
// else changes.
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

  // Lends a free payload slot to client `me`; kNone when there is none. The search begins at `hint`, which it sets to
  // the place behind the slot: so slots are lent in turn, the one that was freed last after all others. Its lines still
  // lie in its reader's cache.
  SlotLoan borrow(std::uint32_t me, std::uint32_t& hint) const { return borrow(me, hint, 0, w_.payload_slots); }
  // How many payload slots are probably free, by their bits; not counted further than `most`.
  std::uint32_t count_free(std::uint32_t most) const {
    std::uint32_t count = 0;
    for (std::uint32_t first = 0; first < w_.payload_slots && count < most; first += kSlotsPerFreeWord) {
      const auto& bits = w_.free_bits[first / kSlotsPerFreeWord];
      count += static_cast<std::uint32_t>(std::popcount(bits.load(std::memory_order_relaxed)));
    }
    return count;
  }
  // Lends an alias and stores its parent: the group's bit in a slot, or alias, that the caller holds.
  SlotLoan borrow_alias(std::uint32_t me, std::uint32_t& hint, SlotLoan parent, unsigned group) const {
    const SlotLoan alias = borrow(me, hint, w_.alias_base, slot_words());
    if (alias.slot != kNone) {
      auto& p = w_.parents[alias.slot - w_.alias_base];
      p.lease.store(parent.lease, std::memory_order_release);
      p.where.store(pack_parent(parent.slot, group), std::memory_order_release);
    }
    return alias;
  }

  // Records that a GPU may write the payload of the loan. The loaner is the word's only writer during the loan.
  void mark_for_gpu(const SlotLoan& loan, std::uint32_t me, LoanWriter writer) const {
    w_.slots[loan.slot].store_hi(pack(Slot{loan.lease, me, SlotState::loan, static_cast<std::uint8_t>(writer), 0}).hi);
  }
  // Turns the loan into the message of `ticket`, which each group of `groups` must release. The loaner is the word's
  // only writer until then.
  void mark_message(const SlotLoan& loan, std::uint32_t me, std::uint8_t groups, std::uint64_t ticket) const {
    const Slot s{loan.lease, me, SlotState::message, groups, static_cast<std::uint32_t>(ticket)};
    // SYNC slot-word (release): the loaner's writes before the word. Pairs with: clear_group.
    w_.slots[loan.slot].store_hi(pack(s).hi);
  }

  // Frees a loan that was not published. False if `me` does not have it (any more).
  bool give_back(const SlotLoan& loan, std::uint32_t me) const {
    const Slot s = peek(loan.slot);
    if (s.lease != loan.lease || s.client != me || s.state != SlotState::loan) return false;
    return make_free(loan.slot, s);
  }

  // Clears the bit of a group that has finished with the message. Idempotent: no effect when the lease has passed or
  // the bit is clear. True when a payload slot became free; the caller then rings the pool's doorbell.
  bool release(std::uint32_t index, std::uint64_t lease, unsigned group) const {
    return (is_payload(index) || is_alias(index)) && release(index, lease, group, 0);
  }

  // Clears the parent's bit of an alias that all readers have released, and frees the alias. Idempotent and callable by
  // any party: the last reader calls it, or the repair if that reader died. Returns as release().
  bool finish_alias(std::uint32_t index) const {
    const Slot s = slot(index);
    // Checked before the parent words are loaded: during the loan they may not be written yet.
    return s.state == SlotState::message && s.groups == 0 && finish_alias(index, s.lease, 0);
  }

  // Whether the group has not yet released this lease of the slot or alias.
  bool is_reading(std::uint32_t index, std::uint64_t lease, unsigned group) const {
    const Slot s = slot(index);
    return s.lease == lease && s.state == SlotState::message && (s.groups >> group & 1) != 0;
  }
  // The bit that a published alias clears once its readers have released it.
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
      // The parent words change only after the alias was freed and lent again, with another lease: an unchanged lease
      // proves that both words belong to it.
      if (slot(alias).lease == s.lease) return true;
    }
  }

  // The chain of aliases from a slot word to the payload.
  struct Chain {
    bool sole_reader = true;  // no other group still reads the payload; once true it stays true
    unsigned depth = 0;       // number of aliases in the chain
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

  // Bound of chains of aliases, to which each forward of a forwarded message adds one: a forward that would make a
  // chain of so many copies the payload.
  static constexpr unsigned kMaxDepth = 32;

  AliasParentOf<A>& parent(std::uint32_t alias) const { return w_.parents[alias - w_.alias_base]; }

  // Frees the slot by compare-and-swap from `from`, then sets its free bit. False: the word is not `from` any more.
  bool make_free(std::uint32_t index, const Slot& from) const {
    const Slot to{from.lease, 0, SlotState::free, 0, 0};
    if (!w_.slots[index].cas(pack(from), pack(to))) return false;
    IPCQ_CRASH_POINT("slot.freed");
    set_free_bit(index);
    return true;
  }
  // Repair: takes the slot out of use. The word keeps its client until end_quarantine().
  bool quarantine(std::uint32_t index, const Slot& from) const {
    return w_.slots[index].cas(pack(from), pack(Slot{from.lease, from.client, SlotState::quarantine, 0, 0}));
  }
  // Broker: no GPU work can write the payload any more, and the slot becomes free. False if the slot is not in
  // quarantine for that client.
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
  // Only for decisions that a compare-and-swap from the result confirms.
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
    // Checked after the parent words were loaded: they change only once the alias is free, so they belong to this
    // lease.
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
    // SYNC free-bit (release): a borrower that loads the bit observes the slot free. Pairs with: borrow. The order of
    // the payload is the slot word's.
    w_.free_bits[index / kSlotsPerFreeWord].fetch_or(std::uint64_t{1} << (index % kSlotsPerFreeWord),
                                                     std::memory_order_release);
  }

  enum class Cleared : std::uint8_t { stale, others_left, last };

  // Clears the group's bit. If it was the last bit of a payload slot, the same swap frees the slot; an alias stays
  // `message` without bits until finish_alias().
  Cleared clear_group(std::uint32_t index, std::uint64_t lease, unsigned group) const {
    const auto bit = static_cast<std::uint8_t>(1u << group);
    for (;;) {
      // `lease` is the current lease or an earlier one. A mixed value therefore yields `stale`, which is true then, or
      // makes the swap fail.
      const Slot s = peek(index);
      if (s.lease != lease || s.state != SlotState::message || (s.groups & bit) == 0) return Cleared::stale;
      Slot to = s;
      to.groups = static_cast<std::uint8_t>(s.groups & ~bit);
      const bool last = to.groups == 0;
      if (last && is_payload(index)) to = Slot{s.lease, 0, SlotState::free, 0, 0};
      // SYNC slot-word (acquire, release): the reader's accesses to the payload before the word, so before the next
      // loaner's. Pairs with: borrow.
      if (w_.slots[index].cas(pack(s), pack(to))) return last ? Cleared::last : Cleared::others_left;
    }
  }

  SlotLoan borrow(std::uint32_t me, std::uint32_t& hint, std::uint32_t first, std::uint32_t end) const {
    const std::uint32_t words = (end - first + kSlotsPerFreeWord - 1) / kSlotsPerFreeWord;
    if (words == 0) return {};
    const std::uint32_t start = hint / kSlotsPerFreeWord % words;
    const std::uint64_t behind = ~std::uint64_t{0} << (hint % kSlotsPerFreeWord);  // of the word at `start`
    for (std::uint32_t n = 0; n <= words; ++n) {  // that word once more, for what is before
      const std::uint32_t word = n < words - start ? start + n : start + n - words;
      const std::uint64_t looked_for = n == 0 ? behind : n == words ? ~behind : ~std::uint64_t{0};
      auto& bits = w_.free_bits[first / kSlotsPerFreeWord + word];
      for (;;) {
        // SYNC free-bit (acquire). Pairs with: set_free_bit.
        const std::uint64_t seen = bits.load(std::memory_order_acquire) & looked_for;
        if (seen == 0) break;
        const auto bit = static_cast<unsigned>(std::countr_zero(seen));
        bits.fetch_and(~(std::uint64_t{1} << bit), std::memory_order_acq_rel);
        IPCQ_CRASH_POINT("loan.bit_taken");
        const std::uint32_t index = first + word * kSlotsPerFreeWord + bit;
        if (index >= end) continue;  // a damaged bit
        const Slot s = peek(index);
        if (s.state != SlotState::free) continue;
        // SYNC slot-word (acquire, release): the last readers' accesses are done. Pairs with: clear_group, make_free.
        if (w_.slots[index].cas(pack(s), pack(Slot{s.lease + 1, me, SlotState::loan, 0, 0}))) {
          IPCQ_CRASH_POINT("loan.taken");
          hint = word * kSlotsPerFreeWord + bit + 1;
          return {index, s.lease + 1};
        }
      }
    }
    return {};
  }

  PoolWords<A> w_;
};

}  // namespace ipcq::detail
