// The readers' side: held entries, and a group member's way from a readable line to a message and back.
//
// A held entry carries a copy of the message, so that the line is free for the ring at once. It belongs to whom its
// word says: the member that holds it, nobody when given back (orphan; any member may take it over), the repair when
// its holder died. Template over the atomics policy; a view like Ring.
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
  HeldOf<A>* held = nullptr;            // [entries], of the whole queue
  typename A::Word* orphans = nullptr;  // GroupControl::orphans of this group
  std::uint32_t entries = 0;
  std::uint32_t first = 0;  // this member's block: [first, first + block)
  std::uint32_t block = 0;
  unsigned group = 0;
  std::uint32_t client = 0;
};

enum class TakeOutcome : std::uint8_t { taken, none, no_entry };

struct Taken {
  TakeOutcome outcome = TakeOutcome::none;
  std::size_t count = 0;      // messages, in the first held entries of the caller's list
  std::uint64_t damaged = 0;  // lines passed over because their content made no sense
  bool freed_lines = false;   // producers may have been waiting for
};

// `R`: what the member reads; Ring, or PublishedView.
template <class A, class R = Ring<A>>
class GroupMember {
 public:
  GroupMember() = default;
  GroupMember(const R& ring, const GroupWords<A>& words) : ring_(ring), w_(words), scan_(words.first) {}

  HeldOf<A>& held(std::uint32_t entry) const { return w_.held[entry]; }
  unsigned group() const { return w_.group; }
  std::uint32_t client() const { return w_.client; }
  // Whether an entry is of this member's block, not taken over from another's.
  bool is_own(std::uint32_t entry) const { return entry - w_.first < w_.block; }
  std::span<HeldOf<A>> own_block() const { return {w_.held + w_.first, w_.block}; }

  // Takes up to entries.size() messages that are readable now; writes the indices of their held entries. Tombstones are
  // passed over. Lines below ticket `expected` are fetched ahead.
  Taken take(std::span<std::uint32_t> entries, std::uint64_t expected = 0) {
    Taken t;
    // Once the group is closed what is given back is nobody's: the broker has counted.
    if (may_have_orphans(w_.orphans->load(std::memory_order_acquire)) && !ring_.cursor(1 + w_.group).closed &&
        take_orphan(entries[0])) {
      t.outcome = TakeOutcome::taken;
      t.count = 1;
      return t;
    }
    const std::size_t room = reserve(entries);
    if (room == 0) {
      t.outcome = TakeOutcome::no_entry;
      return t;
    }
    const unsigned c = 1 + w_.group;
    while (t.count == 0) {
      const Cursor v = ring_.cursor(c);
      if (v.closed) return t;  // the broker has counted what is left
      // Copied before the claim: a line that nobody of the group has taken does not change. The entries are free still.
      std::size_t k = 0;
      Copied copied[kMaxTake];
      while (k < room && (copied[k] = copy_line(v.next + k, entries[k])) != Copied::absent) {
        if (v.next + k + kFetchAhead < expected) A::prefetch_for_read(&ring_.out(v.next + k + kFetchAhead));
        ++k;
      }
      if (k == 0) {
        if (ring_.cursor(c) == v) return t;
        continue;
      }
      if (v.client != w_.client) ring_.help(c, v);
      if (!ring_.swap_cursor(c, v, {v.next + k, w_.client, static_cast<std::uint32_t>(k), 0, false})) continue;
      IPCQ_CRASH_POINT("take.claimed");
      settle(v.next, std::span(copied, k), entries, t);
    }
    t.outcome = TakeOutcome::taken;
    return t;
  }

  // Whether a receive could return something now.
  bool has_work() const {
    const std::uint64_t next = ring_.cursor(1 + w_.group).next;
    // A spinning reader keeps both cache lines of the line: they then come together, not one after the other.
    A::prefetch_for_read(&ring_.out(next));
    return may_have_orphans(w_.orphans->load(std::memory_order_acquire)) || ring_.readable(next);
  }
  std::uint64_t next_ticket() const { return ring_.cursor(1 + w_.group).next; }

  // Whether anybody but this member still has, or has given back, a message before ticket `end`, up to which all are
  // taken. Costs a look at every line: for the end of the stream.
  bool others_have(std::uint64_t end) const {
    const std::uint64_t first = end > ring_.lines() ? end - ring_.lines() : 0;
    for (std::uint64_t t = first; t < end; ++t) {
      if (!ring_.has_finished(w_.group, t)) return true;  // taken, and on the way to a held entry
    }
    for (std::uint32_t i = 0; i < w_.entries; ++i) {
      const HeldWord h = unpack_held(w_.held[i].word.load(std::memory_order_acquire));
      if (h.state != HeldState::free && h.group == w_.group &&
          (h.client != w_.client || h.state == HeldState::orphan)) {
        return true;
      }
    }
    return false;
  }

  // Ends the holding of an entry. False when this member does not hold it. With a payload slot the group's bit is
  // cleared in between; `freed` says whether the slot became free.
  bool release(std::uint32_t entry, std::uint32_t deliveries, const Pool<A>& pool, bool& freed) const {
    freed = false;
    auto& h = w_.held[entry];
    const std::uint64_t mine = pack(HeldWord{HeldState::held, w_.client, w_.group, deliveries});
    const Descriptor d = h.descriptor.load();
    if (d.kind != LineKind::slot) return h.word.cas(mine, 0, std::memory_order_acq_rel);
    const std::uint64_t releasing = pack(HeldWord{HeldState::releasing, w_.client, w_.group, deliveries});
    if (!h.word.cas(mine, releasing, std::memory_order_acq_rel)) return false;
    IPCQ_CRASH_POINT("release.started");
    freed = release_slot(d, pool, w_.group);
    IPCQ_CRASH_POINT("release.slot_done");
    // SYNC held-entry (release). Pairs with: reserve, take_orphan. Not ours any more if a repair has finished it.
    h.word.cas(releasing, 0, std::memory_order_acq_rel);
    return true;
  }
  // Clears a group's bit of the slot, or alias, that the message refers to. True when a payload slot became free.
  static bool release_slot(const Descriptor& d, const Pool<A>& pool, unsigned group) {
    return d.alias != kNone ? pool.release(d.alias, d.alias_lease, group) : pool.release(d.slot, d.lease, group);
  }
  // The entry's slot bit lives on in an alias (forward): ends the holding without clearing it.
  bool hand_over(std::uint32_t entry, std::uint32_t deliveries) const {
    const std::uint64_t mine = pack(HeldWord{HeldState::held, w_.client, w_.group, deliveries});
    return w_.held[entry].word.cas(mine, 0, std::memory_order_acq_rel);
  }

  // Gives a delivered message back to the group.
  bool give_back(std::uint32_t entry, std::uint32_t deliveries) const {
    return orphan(entry, deliveries, std::min(deliveries + 1, kMaxDeliveries));
  }
  // Likewise one that was taken and not delivered.
  bool put_back(std::uint32_t entry, std::uint32_t deliveries) const { return orphan(entry, deliveries, deliveries); }

  // Taken over by this member, from whoever gave it back. False when there was none.
  bool take_orphan(std::uint32_t& entry) const {
    const std::uint64_t seen = w_.orphans->load(std::memory_order_acquire);
    std::uint32_t best = kNone;
    std::uint64_t best_ticket = kNoTicket;
    for (std::uint32_t i = 0; i < w_.entries; ++i) {
      const HeldWord h = unpack_held(w_.held[i].word.load(std::memory_order_acquire));
      if (h.state != HeldState::orphan || h.group != w_.group) continue;
      const std::uint64_t ticket = w_.held[i].ticket.load(std::memory_order_relaxed);
      if (ticket < best_ticket) best = i, best_ticket = ticket;
    }
    if (best == kNone) {
      w_.orphans->cas(seen, found_none(seen), std::memory_order_acq_rel);  // fails when one was given back meanwhile
      return false;
    }
    const std::uint64_t orphan = w_.held[best].word.load(std::memory_order_acquire);
    HeldWord h = unpack_held(orphan);
    if (h.state != HeldState::orphan || h.group != w_.group) return false;
    h.state = HeldState::held;
    h.client = w_.client;
    // SYNC held-entry (acquire): the copy belongs to the taker. Pairs with: settle, release, give_back.
    if (!w_.held[best].word.cas(orphan, pack(h), std::memory_order_acq_rel)) return false;
    entry = best;
    return true;
  }

  // Takes the group's oldest readable message on nobody's behalf and discards it (drop-oldest, lossy groups, a group
  // that leaves). `client` is the caller's id, who is no member; `at` the ticket that it means: another group may have
  // come in the place of the one that it looked at. True when one was discarded or passed over; `dropped` tells whether
  // it was a message.
  static bool drop_one(const Ring<A>& ring, const Pool<A>& pool, unsigned group, std::uint64_t at, std::uint32_t client,
                       bool& dropped, bool& freed) {
    dropped = freed = false;
    const unsigned c = 1 + group;
    const Cursor v = ring.cursor(c);
    if (v.next != at) return true;  // taken meanwhile: look again
    if (v.closed) return false;
    Descriptor d;
    InlineData data;
    const LineRead read = ring.read(v.next, d, data);
    if (read == LineRead::absent) return false;
    if (v.client != client) ring.help(c, v);
    if (!ring.swap_cursor(c, v, {v.next + 1, client, 1, 0, false})) return true;  // somebody took it: look again
    IPCQ_CRASH_POINT("drop.claimed");
    if (read == LineRead::present && carries_message(d)) {
      dropped = true;
      if (d.kind == LineKind::slot) freed = release_slot(d, pool, group);
    }
    ring.finish(group, v.next, client);
    return true;
  }

 private:
  static constexpr std::size_t kMaxTake = 256;
  static constexpr std::uint64_t kFetchAhead = 8;
  enum class Copied : std::uint8_t { absent, message, tombstone, damaged };

  bool orphan(std::uint32_t entry, std::uint32_t deliveries, std::uint32_t deliveries_then) const {
    const std::uint64_t mine = pack(HeldWord{HeldState::held, w_.client, w_.group, deliveries});
    const std::uint64_t orphan = pack(HeldWord{HeldState::orphan, 0, w_.group, deliveries_then});
    if (!w_.held[entry].word.cas(mine, orphan, std::memory_order_acq_rel)) return false;
    IPCQ_CRASH_POINT("nack.orphaned");
    w_.orphans->fetch_add(kOneGivenBack, std::memory_order_acq_rel);
    return true;
  }

  // Finds free entries of this member's block; writes their indices.
  std::size_t reserve(std::span<std::uint32_t> entries) {
    std::size_t found = 0;
    const std::size_t want = std::min(entries.size(), kMaxTake);
    // The first entry again if it is free: it is the one in the cache. Else on from where the last search ended.
    std::uint32_t at = w_.held[w_.first].word.load(std::memory_order_acquire) == 0 ? w_.first : scan_;
    for (std::uint32_t n = 0; n < w_.block && found < want; ++n) {
      // SYNC held-entry (acquire). Pairs with: release.
      if (w_.held[at].word.load(std::memory_order_acquire) == 0) entries[found++] = at;
      if (++at == w_.first + w_.block) at = w_.first;
    }
    scan_ = found == want ? at : w_.first;
    return found;
  }

  Copied copy_line(std::uint64_t ticket, std::uint32_t entry) const {
    auto& h = w_.held[entry];
    Descriptor d;
    switch (ring_.read(ticket, d, h.data.edit())) {
      case LineRead::absent:
        return Copied::absent;
      case LineRead::damaged:
        return Copied::damaged;
      case LineRead::present:
        break;
    }
    if (!carries_message(d)) return Copied::tombstone;
    h.descriptor.store(d);
    return Copied::message;
  }

  // After the claim of [ticket, ...): marks the entries held and the lines finished. Packs `entries` to the messages.
  void settle(std::uint64_t ticket, std::span<const Copied> copied, std::span<std::uint32_t> entries, Taken& t) {
    for (std::size_t i = 0; i < copied.size(); ++i) {
      const std::uint32_t entry = entries[i];
      if (copied[i] == Copied::message) {
        auto& h = w_.held[entry];
        h.ticket.store(ticket + i, std::memory_order_relaxed);
        // SYNC held-entry (release): the copy before the word. Pairs with: take_orphan.
        h.word.store(pack(HeldWord{HeldState::held, w_.client, w_.group, 0}), std::memory_order_release);
        IPCQ_CRASH_POINT("take.held");
        std::swap(entries[t.count++], entries[i]);
      } else if (copied[i] == Copied::damaged) {
        ++t.damaged;
      }
      ring_.finish(w_.group, ticket + i, w_.client);
      IPCQ_CRASH_POINT("take.finished");
    }
    t.freed_lines = true;
  }

  R ring_;
  GroupWords<A> w_;
  std::uint32_t scan_ = 0;
};

}  // namespace ipcq::detail
