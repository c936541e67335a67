// What the holder of a held entry does with it: releases the message, or gives it back to the group. words.hpp has the
// state diagram of the held word.
//
// For any thread. Never waits. Template over the atomics policy; a view like Ring.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/crash_point.hpp"
#include "layout/held.hpp"
#include "layout/plain_line.hpp"
#include "protocol/pool.hpp"

namespace ipcq::detail {

template <class A>
struct GroupWords {
  HeldEntries<A> held;                  // those of the whole queue
  typename A::Word* orphans = nullptr;  // GroupControl::orphans of this group
  std::uint32_t first = 0;              // this member's block: [first, first + block)
  std::uint32_t block = 0;
  unsigned group = 0;
  std::uint32_t client = 0;
};

template <class A>
class Holder {
 public:
  Holder() = default;
  explicit Holder(const GroupWords<A>& words)
      : w_(words), mine_(pack(HeldWord{HeldState::held, words.client, words.group, 0})) {}

  HeldOf<A>& held(std::uint32_t entry) const { return w_.held[entry]; }
  unsigned group() const { return w_.group; }
  std::uint32_t client() const { return w_.client; }
  // Whether an entry belongs to this member's block; otherwise the member took it over as an orphan.
  bool is_own(std::uint32_t entry) const { return entry - w_.first < w_.block; }
  HeldEntries<A> own_block() const { return w_.held.part(w_.first, w_.block); }

  // Whether this member holds the entry, and nobody got its message before.
  bool is_first_delivery(const HeldOf<A>& entry) const { return entry.word.load(std::memory_order_relaxed) == mine_; }

  // Releases a held entry, and clears the group's bit of its slot. False when this member does not hold the entry.
  // `deliveries`: as in the entry's word. `freed`: a payload slot became free.
  bool release(std::uint32_t entry, std::uint32_t deliveries, const Pool<A>& pool, bool& freed) const {
    freed = false;
    return has_slot(entry) ? release_with_slot(entry, deliveries, pool, freed) : hand_over(entry, deliveries);
  }
  [[gnu::noinline]] bool release_with_slot(std::uint32_t entry, std::uint32_t deliveries, const Pool<A>& pool,
                                           bool& freed) const {
    HeldOf<A>& h = w_.held[entry];
    const std::uint64_t mine = mine_after(deliveries);
    const std::uint64_t releasing = pack(HeldWord{HeldState::releasing, w_.client, w_.group, deliveries});
    const Descriptor d = h.descriptor.load();  // before the word: another party may complete the release
    if (!h.word.cas(mine, releasing, std::memory_order_acq_rel)) return false;
    IPCQ_CRASH_POINT("release.started");
    freed = release_slot(d, pool, w_.group);
    IPCQ_CRASH_POINT("release.slot_done");
    // SYNC held-entry (release): the loads of the entry before the word. Pairs with: is_free_entry, take_orphan. The
    // swap fails if a repair has completed the release.
    h.word.cas(releasing, 0, std::memory_order_acq_rel);
    return true;
  }
  bool has_slot(std::uint32_t entry) const { return w_.held[entry].descriptor.load_kind() == LineKind::slot; }
  // Clears a group's bit in the slot or alias that the message refers to. True when a payload slot became free.
  static bool release_slot(const Descriptor& d, const Pool<A>& pool, unsigned group) {
    const SlotLoan held = held_by(d);
    return pool.release(held.slot, held.lease, group);
  }
  // Releases an entry without slot. Of a forwarded message it does not clear the group's bit: the alias clears it
  // later.
  bool hand_over(std::uint32_t entry, std::uint32_t deliveries) const {
    return w_.held[entry].word.cas(mine_after(deliveries), 0, std::memory_order_acq_rel);
  }

  // Gives a delivered message back to the group: its entry becomes an orphan, with one delivery more.
  bool give_back(std::uint32_t entry, std::uint32_t deliveries) const {
    return orphan(entry, deliveries, std::min(deliveries + 1, kMaxDeliveries));
  }
  // The same for a message that was taken and not delivered: the number of deliveries stays.
  bool put_back(std::uint32_t entry, std::uint32_t deliveries) const { return orphan(entry, deliveries, deliveries); }

 protected:
  // The word of an entry that this member holds.
  std::uint64_t mine_after(std::uint32_t deliveries) const { return mine_ | HeldBits::Deliveries::put(deliveries); }

  GroupWords<A> w_;
  std::uint64_t mine_ = 0;  // the word of an entry that this member holds, whose message was not delivered before

 private:
  bool orphan(std::uint32_t entry, std::uint32_t deliveries, std::uint32_t deliveries_then) const {
    const std::uint64_t mine = mine_after(deliveries);
    const std::uint64_t orphan = pack(HeldWord{HeldState::orphan, 0, w_.group, deliveries_then});
    if (!w_.held[entry].word.cas(mine, orphan, std::memory_order_acq_rel)) return false;
    IPCQ_CRASH_POINT("nack.orphaned");
    w_.orphans->fetch_add(kOneGivenBack, std::memory_order_acq_rel);
    return true;
  }
};

}  // namespace ipcq::detail
