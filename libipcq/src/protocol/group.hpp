// The readers' side: a group member takes messages from readable lines into held entries. holder.hpp has what it does
// with them then. docs/design/ring.md, "Receive"; words.hpp has the state diagram of the held word.
//
// Invariant: until it is released or discarded, a message that the group's cursor has passed is in its line (log not
// DONE) or in a held entry, so the death of a member does not lose it.
//
// For one thread at a time, but for the functions of Holder. Never waits but for a pause after a lost race. Template
// over the atomics policy; a view like Ring.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>

#include "protocol/holder.hpp"
#include "protocol/ring.hpp"

namespace ipcq::detail {

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
class GroupMember : public Holder<A> {
 public:
  static constexpr std::size_t kMaxTake = 256;  // messages at once

  GroupMember() = default;
  GroupMember(const R& ring, const GroupWords<A>& words)
      : Holder<A>(words), ring_(ring), mine_in_cursor_(Ring<A>::mine_after_one(words.client)), scan_(words.first) {}

  // Takes up to entries.size() (at least 1) messages that are readable now, and writes the indices of their held
  // entries to `entries`: one that was given back, if there is any, else the next of the ring. Skips tombstones.
  // `expected`: lines before this ticket are prefetched.
  Taken take(std::span<std::uint32_t> entries, std::uint64_t expected = 0) {
    return take_up_to<kMaxTake>(entries, expected);
  }
  // The same for one message, without the loops. In line: where the caller receives one message at a time, the calls
  // would take as many instructions as what they do.
  [[gnu::always_inline]] Taken take_one(std::uint32_t& entry) { return take_up_to<1>({&entry, 1}, 0); }

  // take_one() in the usual case: the last claim was one of this member, of one ticket, and the next is in a plain line
  // with the usual head of `Kind`. Into the block's first entry, which first_entry() is. Returns the ticket, and what
  // the line says. kNoTicket: anything else, and nothing is taken; take_one() says what.
  template <LineKind Kind>
  [[gnu::always_inline]] std::uint64_t take_next(const OutLines<A>& lines, PackedUnits& p) const {
    if (may_have_orphans(w_.orphans->load(std::memory_order_acquire))) return kNoTicket;
    HeldOf<A>& h = w_.held[w_.first];
    if (!is_free_entry(h)) return kNoTicket;
    const unsigned c = 1 + w_.group;
    const Pair word = ring_.cursor_word(c);
    if (word.hi != mine_in_cursor_) return kNoTicket;
    const auto* const line = lines.template usual<Kind>(word.lo, p);
    if (line == nullptr) return kNoTicket;
    copy_usual_line<Kind>(line, p, h);
    if (!ring_.swap_cursor(c, word, Pair{word.lo + 1, word.hi})) return kNoTicket;
    IPCQ_CRASH_POINT("take.claimed");
    h.ticket.store(word.lo, std::memory_order_relaxed);
    // SYNC held-entry (release): the copy before the word. Pairs with: take_orphan.
    h.word.store(mine_, std::memory_order_release);
    IPCQ_CRASH_POINT("take.held");
    ring_.finish(w_.group, word.lo, w_.client);
    IPCQ_CRASH_POINT("take.finished");
    return word.lo;
  }
  std::uint32_t first_entry() const { return w_.first; }
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
    const Cursor v = ring_.cursor(1 + w_.group);
    // Prefetches the line's first 128 bytes, so that a spinning reader gets both cache lines together.
    A::prefetch_for_read(ring_.out(v.next));
    return !v.paused && (may_have_orphans(w_.orphans->load(std::memory_order_acquire)) || ring_.readable(v.next));
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

 private:
  enum class Copied : std::uint8_t { absent, message, tombstone, damaged };

  // As take(), of at most Most messages.
  template <std::size_t Most>
  [[gnu::always_inline]] Taken take_up_to(std::span<std::uint32_t> entries, std::uint64_t expected) {
    Taken t;
    // In a closed group the broker takes the given-back messages over and counts them as left; in a paused one they lie
    // where they are.
    if (may_have_orphans(w_.orphans->load(std::memory_order_acquire))) [[unlikely]] {
      if (!ring_.cursor(1 + w_.group).is_shut() && take_orphan(entries[0])) {
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
      if (v.is_shut()) return t;  // closed: the broker has counted the tickets from v.next on as left
      // Copied before the claim, into entries that stay free: a line does not change while no member of the group has
      // taken its ticket. If the swap fails the copies are discarded.
      Copied copied[Most];
      std::size_t k = 0;
      if constexpr (Most > 1) {  // take_one() is called where take_next() has found another line
        const auto free = entries.first(std::min(room, Most));
        k = copy_usual<LineKind::inlined>(v.next, free, expected);
        if (k == 0) k = copy_usual<LineKind::slot>(v.next, free, expected);
        std::fill_n(copied, k, Copied::message);
      }
      while (k < std::min(room, Most) && (copied[k] = copy_line(v.next + k, entries[k])) != Copied::absent) {
        (void)ring_.out_lines().fetch_ahead(v.next + k, expected);
        ++k;
      }
      if (k == 0) {
        if (ring_.cursor_word(c) == word) return t;
        continue;
      }
      if (v.client != w_.client) [[unlikely]]
        ring_.help(c, unpack_cursor(word));  // v itself stays in registers
      const Cursor to{v.next + k, w_.client, static_cast<std::uint32_t>(k), 0, false};
      if (!back_off_.after(ring_.swap_cursor(c, word, to))) continue;
      IPCQ_CRASH_POINT("take.claimed");
      mark_held(v.next, std::span(copied, k), entries, t);
    }
    t.outcome = TakeOutcome::taken;
    return t;
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
    const std::uint32_t first = w_.first;
    const std::uint32_t end = first + w_.block;
    const auto start = w_.held.part(first, 0).begin();
    auto entry = w_.held.part(at, 0).begin();
    std::size_t found = 0;
    for (std::uint32_t left = w_.block; left != 0 && found < entries.size(); --left) {
      if (is_free_entry(*entry)) entries[found++] = at;
      ++entry;
      if (++at == end) at = first, entry = start;
    }
    scan_ = found == entries.size() ? at : first;
    return found;
  }
  static bool is_free_entry(const HeldOf<A>& entry) {
    // SYNC held-entry (acquire): the last holder's loads of the entry are done. Pairs with: release.
    return entry.word.load(std::memory_order_acquire) == 0;
  }

  // Copies the lines from `ticket` on as long as they have the usual head of `Kind`, each to its entry. Of tagged lines
  // only inline messages. Returns how many.
  template <LineKind Kind>
  [[gnu::noinline]] std::size_t copy_usual(std::uint64_t ticket, std::span<const std::uint32_t> entries,
                                           std::uint64_t expected) const {
    const auto lines = ring_.out_lines();
    const HeldEntries<A> held = w_.held;
    std::size_t k = 0;
    // A loop for each kind of line: one for both takes two instructions a message more.
    if (Kind == LineKind::inlined && !lines.plain) {
      for (PackedUnits p; k < entries.size(); ++k, ++ticket) {
        HeldOf<A>& h = held[entries[k]];
        if (!copy_usual_tagged_line(lines.at(ticket), lines.lap(ticket), p, h.data.edit())) break;
        (void)lines.fetch_ahead(ticket, expected);
        h.descriptor.store_units(p);
      }
      return k;
    }
    for (PackedUnits p; k < entries.size(); ++k, ++ticket) {
      const auto* const line = lines.template usual<Kind>(ticket, p);
      if (line == nullptr) break;
      (void)lines.fetch_ahead(ticket, expected);
      copy_usual_line<Kind>(line, p, held[entries[k]]);
    }
    return k;
  }
  // `p`: what the line says.
  template <LineKind Kind>
  [[gnu::always_inline]] static void copy_usual_line(const typename A::Unit* line, const PackedUnits& p, HeldOf<A>& h) {
    h.descriptor.store_units(p);
    if constexpr (Kind == LineKind::inlined) {
      A::Unit::read_plain(line + kInlineUnit, h.data.edit(), HeadBits::Length::get(p.head));
    } else {
      const PlainSlot s = read_plain_slot(line);
      h.descriptor.store_slot(s.lease, s.slot, s.alias, s.alias_lease, s.published_at_ns);
    }
  }
  Copied copy_line(std::uint64_t ticket, std::uint32_t entry) const {
    HeldOf<A>& h = w_.held[entry];
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

  using Holder<A>::mine_;
  using Holder<A>::w_;

  R ring_;
  std::uint64_t mine_in_cursor_ = 0;  // what its claim of one ticket leaves there
  std::uint32_t scan_ = 0;
  BackOff<A> back_off_;
};

}  // namespace ipcq::detail
