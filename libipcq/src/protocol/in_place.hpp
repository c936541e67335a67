// A group member that reads messages in their lines, for a user who does not keep them: it writes no held entry. Inline
// messages only. docs/design/ring.md, "Receive in place".
//
// Invariants: between the claim of a ticket and its finish the message is in its line, which is not DONE, so the death
// of the member does not lose it. The member claims no more tickets than it has free held entries: the repair puts the
// messages there.
//
// For the member's thread; never waits but for a pause after a lost race. Template over the atomics policy; a view like
// Ring.
#pragma once

#include <algorithm>
#include <cstdint>

#include "protocol/group.hpp"

namespace ipcq::detail {

// Calls visit(ticket, client) for each ticket that a member of the group has claimed in place and not finished. For
// statistics: exact only while nobody moves the group's cursor.
template <class A, class Visit>
void for_each_being_read(const Ring<A>& ring, unsigned group, Visit visit) {
  const Cursor v = ring.stable_cursor(1 + group);
  const std::uint64_t claimed = v.reading ? v.next - std::min<std::uint64_t>(v.count, v.next) : v.next;
  for (std::uint64_t t = ring.oldest(v.next); t < v.next; ++t) {
    const std::uint64_t e = ring.own(1 + group, t).load(std::memory_order_acquire);
    if (own_lap(e) == ring.lap(t)) {
      if (own_state(e) == OwnState::reading) visit(t, own_client(e));
    } else if (own_lap(e) < ring.lap(t) && t >= claimed) {
      visit(t, v.client);
    }
  }
}

template <class A>
class InPlaceReader {
 public:
  InPlaceReader() = default;
  InPlaceReader(const Ring<A>& ring, const GroupWords<A>& words)
      : ring_(ring), w_(words), mine_in_cursor_(Ring<A>::mine_after_one(words.client)) {}

  // Held entries of the member's block were taken into use by another path.
  void spend(std::size_t entries) { spare_ -= std::min(spare_, entries); }

  // copy() in the usual case: the last claim was one of this member, of one ticket, and the next is a message
  // in a plain line of the usual head. kNoTicket: anything else, and nothing is taken; copy() says what.
  [[gnu::always_inline]] std::uint64_t copy_next(std::byte* data, std::size_t room, PackedUnits& p) const {
    if (spare_ == 0 || may_have_orphans(w_.orphans->load(std::memory_order_acquire))) return kNoTicket;
    const Pair word = ring_.cursor_word(cursor());
    if (word.hi != mine_in_cursor_) return kNoTicket;
    const auto* const line = ring_.out_lines().template usual<LineKind::inlined>(word.lo, p);
    if (line == nullptr || HeadBits::Length::get(p.head) > room) return kNoTicket;
    A::Unit::read_plain(line + kInlineUnit, data, HeadBits::Length::get(p.head));
    if (!ring_.swap_cursor(cursor(), word, Pair{word.lo + 1, word.hi})) return kNoTicket;
    IPCQ_CRASH_POINT("copy.claimed");
    finish(word.lo);
    IPCQ_CRASH_POINT("copy.finished");
    return word.lo;
  }

  // Takes the group's next message, of up to `room` bytes, into private memory, which is unspecified unless a message
  // was taken. Skips tombstones. Nobody but this call has seen the message when it returns; if the member dies before,
  // the group gets it again as if never delivered. Returns the ticket.
  // In line, as GroupMember::take_one().
  [[gnu::always_inline]] std::uint64_t copy(std::byte* data, std::size_t room, Descriptor& d, Taken& t) {
    t = {};
    if (!may_begin(1, t)) return 0;
    for (;;) {
      const Pair word = ring_.cursor_word(cursor());
      const Cursor v = unpack_cursor(word);
      if (v.is_shut()) return 0;
      const LineRead read = ring_.read_fitting(v.next, d, data, room);
      const bool message = read == LineRead::present && carries_message(d);
      if (read == LineRead::absent) {
        if (ring_.cursor_word(cursor()) == word) return 0;
        continue;
      }
      const bool for_entry = d.kind == LineKind::slot || (d.flags & kFiltered) != 0;
      if (message && (for_entry || d.length > room)) {
        if (ring_.cursor_word(cursor()) != word) continue;  // of a ticket that another member has taken
        t.outcome = for_entry ? TakeOutcome::needs_entry : TakeOutcome::too_large;
        return 0;
      }
      if (!swap(word, v, 1, false)) continue;
      IPCQ_CRASH_POINT("copy.claimed");
      finish(v.next);
      IPCQ_CRASH_POINT("copy.finished");
      t.freed_lines = true;
      if (read == LineRead::damaged) ++t.damaged;
      if (!message) continue;
      t.count = 1;
      t.outcome = TakeOutcome::taken;
      return v.next;
    }
  }

  // Claims up to `want` (at least 1) messages that are readable now, tombstones and damaged lines among them. Lines
  // before the ticket `expected` are prefetched. Returns the first of t.count tickets. The member finishes each, in
  // order, before its next claim. The user sees them by read() before: if the member dies, the first that is not
  // finished counts as delivered once.
  std::uint64_t claim(std::size_t want, std::uint64_t expected, Taken& t) {
    t = {};
    if (!may_begin(want, t)) return 0;
    const std::uint64_t most = std::min<std::uint64_t>(
        {want, spare_, GroupMember<A>::kMaxTake, std::max<std::uint64_t>(ring_.lines() / 4, 1)});
    const auto lines = ring_.out_lines();
    for (;;) {
      const Pair word = ring_.cursor_word(cursor());
      const Cursor v = unpack_cursor(word);
      if (v.is_shut()) return 0;
      std::uint64_t k = 0;
      Next next = Next::in_line;
      for (; k < most && (next = next_at(lines, v.next + k)) == Next::in_line; ++k) {
        (void)lines.fetch_ahead(v.next + k, expected);
      }
      if (k == 0) {
        if (ring_.cursor_word(cursor()) != word) continue;
        if (next == Next::in_slot) t.outcome = TakeOutcome::needs_entry;
        return 0;
      }
      if (!swap(word, v, k, true)) continue;
      IPCQ_CRASH_POINT("consume.claimed");
      t.count = k;
      t.outcome = TakeOutcome::taken;
      return v.next;
    }
  }

  // The payload of a claimed ticket, in its line where that is plain, else in `data`: until it is finished. Null: it
  // carries no message (`damaged`: because its content is invalid).
  const std::byte* read(std::uint64_t ticket, Descriptor& d, InlineData& data, bool& damaged) const {
    const std::byte* there = nullptr;
    const LineRead r = ring_.look_in_place(ticket, d, there);
    damaged = false;
    if (there != nullptr) [[likely]]
      return there;
    damaged = r != LineRead::present || d.kind == LineKind::slot;
    if (damaged || d.kind != LineKind::inlined) return nullptr;
    damaged = ring_.read(ticket, d, data.bytes) != LineRead::present;
    return damaged ? nullptr : data.bytes;
  }
  // The lines, for several messages of the usual head; read() tells of others.
  OutLines<A> lines() const { return ring_.out_lines(); }
  void finish(std::uint64_t ticket) const { finisher().finish(ticket); }
  // The same for several tickets.
  Finisher<A> finisher() const { return ring_.finisher(w_.group, w_.client); }

 private:
  unsigned cursor() const { return 1 + w_.group; }

  // Whether there is an entry for the repair, and no message that was given back; one of those lies in an entry.
  bool may_begin(std::size_t want, Taken& t) {
    if (may_have_orphans(w_.orphans->load(std::memory_order_acquire))) [[unlikely]] {
      t.outcome = TakeOutcome::needs_entry;
      return false;
    }
    if (spare_ < want && spare_ < w_.block) [[unlikely]]
      count_spare();
    if (spare_ == 0) t.outcome = TakeOutcome::no_entry;
    return spare_ != 0;
  }
  // Only this member takes entries of its block into use, so the number that it counts stays a lower bound.
  [[gnu::noinline]] void count_spare() {
    spare_ = 0;
    for (std::uint32_t i = w_.first; i < w_.first + w_.block; ++i) {
      if (w_.held[i].word.load(std::memory_order_relaxed) == 0) ++spare_;
    }
  }
  // absent: the line is not readable yet. in_line: also of what is no message.
  enum class Next : std::uint8_t { absent, in_line, in_slot };
  static Next next_at(const OutLines<A>& lines, std::uint64_t ticket) {
    // SYNC line-tagged (acquire). Pairs with: write_line, write_plain_line.
    const Pair head = lines.at(ticket)->load(std::memory_order_acquire);
    if (tag_of(head.hi) != static_cast<std::uint32_t>(lines.lap(ticket))) return Next::absent;
    return kind_in(head.lo) == LineKind::slot ? Next::in_slot : Next::in_line;
  }
  bool swap(const Pair& word, const Cursor& v, std::uint64_t count, bool reading) {
    if (v.client != w_.client) [[unlikely]]
      ring_.help(cursor(), unpack_cursor(word));  // v itself stays in registers
    return back_off_.after(ring_.swap_cursor(
        cursor(), word, {v.next + count, w_.client, static_cast<std::uint32_t>(count), 0, false, reading}));
  }

  Ring<A> ring_;
  GroupWords<A> w_;
  std::uint64_t mine_in_cursor_ = 0;  // what its claim of one ticket leaves there
  std::size_t spare_ = 0;             // at least so many entries of the member's block are free
  BackOff<A> back_off_;
};

}  // namespace ipcq::detail
