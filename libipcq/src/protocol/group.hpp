// The readers' side: a group member takes messages from readable lines into held entries, and releases them or gives
// them back. docs/design/ring.md, "Receive"; words.hpp has the state diagram of the held word.
//
// Invariant: until it is released or discarded, a message that the group's cursor has passed is in its line (log not
// DONE) or in a held entry, so the death of a member does not lose it.
//
// Taking and has_work() are for one thread at a time; release(), hand_over(), give_back() and put_back() for any
// thread. Never waits. Template over the atomics policy; a view like Ring.
#pragma once

#include <cstdint>
#include <span>
#include <utility>

#include "layout/held.hpp"
#include "protocol/pool.hpp"
#include "protocol/ring.hpp"

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

// The last two are InPlaceReader's. needs_entry: the next message can be taken into a held entry only. too_large: it
// exceeds the caller's room.
enum class TakeOutcome : std::uint8_t { taken, none, no_entry, needs_entry, too_large };

struct Taken {
  TakeOutcome outcome = TakeOutcome::none;
  std::size_t count = 0;      // messages, in the first held entries of the caller's list
  std::uint64_t damaged = 0;  // lines skipped because their content was invalid
  bool freed_lines = false;   // the caller rings the producers' doorbell
};

// `R`: the view that the member reads, Ring or PublishedView.
template <class A, class R = Ring<A>>
class GroupMember {
 public:
  static constexpr std::size_t kMaxTake = 256;     // messages at once
  static constexpr std::uint64_t kFetchAhead = 8;  // lines that are prefetched before the one that is read

  GroupMember() = default;
  GroupMember(const R& ring, const GroupWords<A>& words)
      : ring_(ring),
        w_(words),
        mine_(pack(HeldWord{HeldState::held, words.client, words.group, 0})),
        scan_(words.first) {}

  HeldOf<A>& held(std::uint32_t entry) const { return w_.held[entry]; }
  unsigned group() const { return w_.group; }
  std::uint32_t client() const { return w_.client; }
  // Whether an entry belongs to this member's block; otherwise the member took it over as an orphan.
  bool is_own(std::uint32_t entry) const { return entry - w_.first < w_.block; }
  HeldEntries<A> own_block() const { return w_.held.part(w_.first, w_.block); }

  // Takes up to entries.size() (at least 1) messages that are readable now, and writes the indices of their held
  // entries to `entries`: one that was given back, if there is any, else the next of the ring. Skips tombstones.
  // `expected`: lines before this ticket are prefetched.
  Taken take(std::span<std::uint32_t> entries, std::uint64_t expected = 0) {
    return take_up_to<kMaxTake>(entries, expected);
  }
  // The same for one message, without the loops. In line: where the caller receives one message at a time, the calls
  // would take as many instructions as what they do.
  [[gnu::always_inline]] Taken take_one(std::uint32_t& entry) { return take_up_to<1>({&entry, 1}, 0); }

  // Moves the message of a ticket that this member has claimed with InPlaceReader to a held entry, whose index it
  // returns. kNone: the line carries no message, or is damaged, or no entry is free, which adds one to `damaged`. The
  // line is finished in any case.
  std::uint32_t hold(std::uint64_t ticket, std::uint64_t& damaged) {
    std::uint32_t entry = kNone;
    const std::span<std::uint32_t> entries(&entry, 1);
    Taken t;
    const Copied copied = reserve(entries) == 1 ? copy_line(ticket, entry) : Copied::damaged;
    mark_held(ticket, {&copied, 1}, entries, t);
    damaged += t.damaged;
    return t.count == 1 ? entry : kNone;
  }

  // Whether a receive could return something now.
  bool has_work() const {
    const std::uint64_t next = ring_.cursor(1 + w_.group).next;
    // Prefetches the line's first 128 bytes, so that a spinning reader gets both cache lines together.
    A::prefetch_for_read(ring_.out(next));
    return may_have_orphans(w_.orphans->load(std::memory_order_acquire)) || ring_.readable(next);
  }
  std::uint64_t next_ticket() const { return ring_.cursor(1 + w_.group).next; }

  // Whether another member of the group holds, or any member has given back, a message before ticket `end`.
  // Precondition: the group has taken all tickets before `end`. Loads an entry for every line: only for the end of the
  // stream.
  bool others_have(std::uint64_t end) const {
    for (std::uint64_t t = ring_.oldest(end); t < end; ++t) {
      if (!ring_.has_finished(w_.group, t)) return true;  // claimed, and not yet in a held entry
    }
    for (std::uint32_t i = 0; i < w_.held.size(); ++i) {
      const HeldWord h = unpack_held(w_.held[i].word.load(std::memory_order_acquire));
      if (h.state != HeldState::free && h.group == w_.group &&
          (h.client != w_.client || h.state == HeldState::orphan)) {
        return true;
      }
    }
    return false;
  }

  // Releases a held entry, and clears the group's bit of its slot. False when this member does not hold the entry.
  // `deliveries`: as in the entry's word. `freed`: a payload slot became free.
  bool release(std::uint32_t entry, std::uint32_t deliveries, const Pool<A>& pool, bool& freed) const {
    freed = false;
    auto& h = w_.held[entry];
    if (h.descriptor.load_kind() == LineKind::slot) return release_with_slot(h, deliveries, pool, freed);
    return h.word.cas(mine_after(deliveries), 0, std::memory_order_acq_rel);
  }
  // Clears a group's bit in the slot or alias that the message refers to. True when a payload slot became free.
  static bool release_slot(const Descriptor& d, const Pool<A>& pool, unsigned group) {
    const SlotLoan held = held_by(d);
    return pool.release(held.slot, held.lease, group);
  }
  // Frees the entry of a forwarded message without clearing the group's bit: the alias clears it later.
  bool hand_over(std::uint32_t entry, std::uint32_t deliveries) const {
    return w_.held[entry].word.cas(mine_after(deliveries), 0, std::memory_order_acq_rel);
  }

  // Gives a delivered message back to the group: its entry becomes an orphan, with one delivery more.
  bool give_back(std::uint32_t entry, std::uint32_t deliveries) const {
    return orphan(entry, deliveries, std::min(deliveries + 1, kMaxDeliveries));
  }
  // The same for a message that was taken and not delivered: the number of deliveries stays.
  bool put_back(std::uint32_t entry, std::uint32_t deliveries) const { return orphan(entry, deliveries, deliveries); }

  // Takes over the orphan of the group with the lowest ticket. False when there is none, or another party was faster.
  bool take_orphan(std::uint32_t& entry) const {
    const std::uint64_t seen = w_.orphans->load(std::memory_order_acquire);
    std::uint32_t best = kNone;
    std::uint64_t best_ticket = kNoTicket;
    for (std::uint32_t i = 0; i < w_.held.size(); ++i) {
      const HeldWord h = unpack_held(w_.held[i].word.load(std::memory_order_acquire));
      if (h.state != HeldState::orphan || h.group != w_.group) continue;
      const std::uint64_t ticket = w_.held[i].ticket.load(std::memory_order_relaxed);
      if (ticket < best_ticket) best = i, best_ticket = ticket;
    }
    if (best == kNone) {
      w_.orphans->cas(seen, found_none(seen), std::memory_order_acq_rel);  // fails if one was given back meanwhile
      return false;
    }
    const std::uint64_t orphan = w_.held[best].word.load(std::memory_order_acquire);
    HeldWord h = unpack_held(orphan);
    if (h.state != HeldState::orphan || h.group != w_.group) return false;
    h.state = HeldState::held;
    h.client = w_.client;
    // SYNC held-entry (acquire): the taker observes the copy behind the word. Pairs with: mark_held, release,
    // give_back.
    if (!w_.held[best].word.cas(orphan, pack(h), std::memory_order_acq_rel)) return false;
    entry = best;
    return true;
  }

  // Takes the group's next readable message and discards it (drop-oldest, lossy groups, a group that has left). Called
  // by a producer or the broker, whose id is `client`, not by a member. `at`: the ticket that the caller chose; if the
  // cursor is elsewhere nothing is discarded, since another group may have the index by now. False: nothing can be
  // discarded now. True: a ticket was discarded (`dropped`: it was a message; `freed`: a payload slot became free), or
  // another party has taken it.
  static bool drop_one(const Ring<A>& ring, const Pool<A>& pool, unsigned group, std::uint64_t at, std::uint32_t client,
                       bool& dropped, bool& freed) {
    dropped = freed = false;
    const unsigned c = 1 + group;
    const Cursor v = ring.cursor(c);
    if (v.next != at) return true;  // another party has taken it
    if (v.closed) return false;
    Descriptor d;
    const LineRead read = ring.look(v.next, d);
    if (read == LineRead::absent) return false;
    if (v.client != client) ring.help(c, v);
    if (!ring.swap_cursor(c, v, {v.next + 1, client, 1, 0, false})) return true;  // another party has taken it
    IPCQ_CRASH_POINT("drop.claimed");
    if (read == LineRead::present && carries_message(d)) {
      dropped = true;
      if (d.kind == LineKind::slot) freed = release_slot(d, pool, group);
    }
    ring.finish(group, v.next, client);
    return true;
  }

 private:
  enum class Copied : std::uint8_t { absent, message, tombstone, damaged };

  // The word of an entry that this member holds.
  std::uint64_t mine_after(std::uint32_t deliveries) const { return mine_ | HeldBits::Deliveries::put(deliveries); }

  // As take(), of at most Most messages.
  template <std::size_t Most>
  [[gnu::always_inline]] Taken take_up_to(std::span<std::uint32_t> entries, std::uint64_t expected) {
    Taken t;
    // In a closed group the broker takes the given-back messages over and counts them as left.
    if (may_have_orphans(w_.orphans->load(std::memory_order_acquire))) [[unlikely]] {
      if (!ring_.cursor(1 + w_.group).closed && take_orphan(entries[0])) {
        t.outcome = TakeOutcome::taken;
        t.count = 1;
        return t;
      }
    }
    const std::size_t room = reserve(entries.first(std::min(entries.size(), Most)));
    if (room == 0) {
      t.outcome = TakeOutcome::no_entry;
      return t;
    }
    const unsigned c = 1 + w_.group;
    while (t.count == 0) {
      const Pair word = ring_.cursor_word(c);
      const Cursor v = unpack_cursor(word);
      if (v.closed) return t;  // the broker has counted the tickets from v.next on as left
      // Copied before the claim, into entries that stay free: a line does not change while no member of the group has
      // taken its ticket. If the swap fails the copies are discarded.
      std::size_t k = 0;
      Copied copied[Most];
      while (k < std::min(room, Most) && (copied[k] = copy_line(v.next + k, entries[k])) != Copied::absent) {
        if (v.next + k + kFetchAhead < expected) A::prefetch_for_read(ring_.out(v.next + k + kFetchAhead));
        ++k;
      }
      if (k == 0) {
        if (ring_.cursor_word(c) == word) return t;
        continue;
      }
      if (v.client != w_.client) [[unlikely]]
        ring_.help(c, unpack_cursor(word));  // v itself stays in registers
      if (!ring_.swap_cursor(c, word, {v.next + k, w_.client, static_cast<std::uint32_t>(k), 0, false})) continue;
      IPCQ_CRASH_POINT("take.claimed");
      mark_held(v.next, std::span(copied, k), entries, t);
    }
    t.outcome = TakeOutcome::taken;
    return t;
  }

  [[gnu::noinline]] bool release_with_slot(HeldOf<A>& h, std::uint32_t deliveries, const Pool<A>& pool,
                                           bool& freed) const {
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

  bool orphan(std::uint32_t entry, std::uint32_t deliveries, std::uint32_t deliveries_then) const {
    const std::uint64_t mine = mine_after(deliveries);
    const std::uint64_t orphan = pack(HeldWord{HeldState::orphan, 0, w_.group, deliveries_then});
    if (!w_.held[entry].word.cas(mine, orphan, std::memory_order_acq_rel)) return false;
    IPCQ_CRASH_POINT("nack.orphaned");
    w_.orphans->fetch_add(kOneGivenBack, std::memory_order_acq_rel);
    return true;
  }

  // Finds free entries in this member's block and writes their indices. Only this member takes them into use, so they
  // stay free.
  std::size_t reserve(std::span<std::uint32_t> entries) {
    // The block's first entry if it is free, because it is probably cached; else from where the last search ended.
    const bool first_is_free = is_free_entry(w_.held[w_.first]);
    if (first_is_free && entries.size() == 1) {
      entries[0] = w_.first;
      return 1;
    }
    return search(entries, first_is_free ? w_.first : scan_);
  }
  [[gnu::noinline]] std::size_t search(std::span<std::uint32_t> entries, std::uint32_t at) {
    // Copies: each load below makes the compiler load members again.
    const HeldEntries<A> held = w_.held;
    const std::uint32_t first = w_.first;
    const std::uint32_t end = first + w_.block;
    std::size_t found = 0;
    for (std::uint32_t left = w_.block; left != 0 && found < entries.size(); --left) {
      if (is_free_entry(held[at])) entries[found++] = at;
      if (++at == end) at = first;
    }
    scan_ = found == entries.size() ? at : first;
    return found;
  }
  static bool is_free_entry(const HeldOf<A>& entry) {
    // SYNC held-entry (acquire): the last holder's loads of the entry are done. Pairs with: release.
    return entry.word.load(std::memory_order_acquire) == 0;
  }

  Copied copy_line(std::uint64_t ticket, std::uint32_t entry) const {
    auto& h = w_.held[entry];
    LineKind kind = LineKind::none;
    switch (ring_.copy(ticket, h.descriptor, h.data.edit(), kind)) {
      case LineRead::absent:
        return Copied::absent;
      case LineRead::damaged:
        return Copied::damaged;
      case LineRead::present:
        break;
    }
    return carries_message(kind) ? Copied::message : Copied::tombstone;
  }

  // After the claim of the tickets from `ticket` on: marks the entries held, then the lines done. Moves the entries
  // that got a message to the front of `entries`.
  void mark_held(std::uint64_t ticket, std::span<const Copied> copied, std::span<std::uint32_t> entries, Taken& t) {
    const HeldEntries<A> held = w_.held;
    const auto lines = ring_.finisher(w_.group, w_.client);
    std::size_t count = 0;
    for (std::size_t i = 0; i < copied.size(); ++i) {
      if (copied[i] == Copied::message) {
        auto& h = held[entries[i]];
        h.ticket.store(ticket + i, std::memory_order_relaxed);
        // SYNC held-entry (release): the copy before the word. Pairs with: take_orphan.
        h.word.store(mine_, std::memory_order_release);
        IPCQ_CRASH_POINT("take.held");
        if (count != i) std::swap(entries[count], entries[i]);
        ++count;
      } else if (copied[i] == Copied::damaged) {
        ++t.damaged;
      }
      lines.finish(ticket + i);
      IPCQ_CRASH_POINT("take.finished");
    }
    t.count = count;
    t.freed_lines = true;
  }

  R ring_;
  GroupWords<A> w_;
  std::uint64_t mine_ = 0;  // the word of an entry that this member holds, whose message was not delivered before
  std::uint32_t scan_ = 0;
};

}  // namespace ipcq::detail
