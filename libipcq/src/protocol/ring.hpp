// The ring of descriptor lines: who owns which ticket. docs/design/ring.md explains the protocol and its crash cases.
//
// Template over the atomics policy, so that the model checker runs this very code. A Ring is a view: pointers into a
// mapping, checked by whoever made it.
#pragma once

#include <bit>
#include <cstdint>

#include "base/crash_point.hpp"
#include "layout/layout.hpp"
#include "layout/line.hpp"
#include "layout/words.hpp"

namespace ipcq::detail {

template <class A>
struct RingWords {
  typename A::Wide* cursor[kCursors] = {};
  typename A::Word* own[kCursors] = {};  // each of `lines` entries
  LineOf<A>* in = nullptr;
  LineOf<A>* out = nullptr;  // == in for a direct queue
  typename A::Word* live_groups = nullptr;
  std::uint64_t lines = 0;  // power of two
  bool device_writes_out = false;
};

enum class ClaimOutcome : std::uint8_t { ok, full, closed };

// Tickets [ticket, ticket + count) are the claimer's to publish, each for the groups of `groups`. 16 bytes without a
// gap: it travels in registers, and a copy through memory is not read back in other pieces than it was written.
struct PublishClaim {
  std::uint64_t ticket = 0;
  std::uint32_t count = 0;
  std::uint8_t groups = 0;
  ClaimOutcome outcome = ClaimOutcome::full;
  std::uint16_t reserved = 0;
};
static_assert(sizeof(PublishClaim) == 16);

template <class A>
class Ring {
 public:
  Ring() = default;
  explicit Ring(const RingWords<A>& words)
      : w_(words), mask_(words.lines - 1), shift_(static_cast<unsigned>(std::countr_zero(words.lines))) {}

  std::uint64_t lines() const { return w_.lines; }
  bool has_handler() const { return w_.in != w_.out; }
  std::uint64_t index(std::uint64_t ticket) const { return ticket & mask_; }
  std::uint64_t lap(std::uint64_t ticket) const { return (ticket >> shift_) + 1; }
  LineOf<A>& in(std::uint64_t ticket) const { return w_.in[index(ticket)]; }
  LineOf<A>& out(std::uint64_t ticket) const { return w_.out[index(ticket)]; }
  typename A::Word& own(unsigned cursor, std::uint64_t ticket) const { return w_.own[cursor][index(ticket)]; }

  // SYNC cursor (acquire): a ticket's taker sees what earlier takers left. Pairs with: swap_cursor.
  Cursor cursor(unsigned c) const { return unpack_cursor(w_.cursor[c]->load()); }
  // For decisions that no swap confirms and that need both halves.
  Cursor stable_cursor(unsigned c) const { return unpack_cursor(w_.cursor[c]->load_stable()); }
  // SYNC cursor (acquire, release). Pairs with: cursor, swap_cursor.
  bool swap_cursor(unsigned c, const Cursor& from, const Cursor& to) const {
    return w_.cursor[c]->cas(pack(from), pack(to));
  }

  // Takes up to `want` tickets for publishing, as many as are free in a row. `limit` is the caller's memory of the
  // first ticket not known to be free; it starts at 0 and stays valid whatever happens to the ring. The caller has
  // published all tickets of its claim before.
  PublishClaim claim_publish(std::uint32_t me, std::uint32_t want, std::uint64_t& limit) const {
    for (;;) {
      const Cursor v = cursor(kProducers);
      if (v.closed) return {v.next, 0, 0, ClaimOutcome::closed, 0};
      if (v.client != me) help(kProducers, v);
      if (limit < v.next + want) limit = first_not_free(std::max(limit, v.next), v.next + want + kLookAhead, v.next);
      if (limit <= v.next) {
        if (cursor(kProducers) == v) return {v.next, 0, v.groups, ClaimOutcome::full, 0};
        limit = 0;  // judged by a cursor that has moved since
        continue;
      }
      const auto k = static_cast<std::uint32_t>(std::min<std::uint64_t>({want, limit - v.next, kMaxClaim}));
      if (swap_cursor(kProducers, v, {v.next + k, me, k, v.groups, false})) {
        IPCQ_CRASH_POINT("publish.claimed");
        return {v.next, k, v.groups, ClaimOutcome::ok, 0};
      }
    }
  }

  // Publishes one claimed ticket.
  void publish(std::uint64_t ticket, const Descriptor& d, const std::byte* data) const {
    write_line(in(ticket), lap(ticket), d, data);
  }

  // Copies what `ticket` carries for readers; absent until published (and processed, with a handler).
  LineRead read(std::uint64_t ticket, Descriptor& d, InlineData& data) const {
    return read_line(out(ticket), lap(ticket), d, data, A::kUnitsArriveInAnyOrder || w_.device_writes_out);
  }
  bool readable(std::uint64_t ticket) const { return is_tagged(out(ticket), lap(ticket)); }

  // Writes down the last claim of a cursor in its owner log where its owner has not done so, before the cursor moves
  // on. Only the log survives the move; a dead owner is found through it.
  void help(unsigned c, const Cursor& v) const {
    const std::uint64_t count = std::min<std::uint64_t>({v.count, w_.lines, v.next});
    for (std::uint64_t t = v.next - count; t != v.next; ++t) {
      if (c == kProducers && is_tagged(in(t), lap(t))) continue;  // published: nothing left to attribute
      auto& entry = own(c, t);
      for (;;) {
        const std::uint64_t seen = entry.load(std::memory_order_acquire);
        if (own_lap(seen) >= lap(t)) break;
        if (cursor(c) != v) return;  // moved on: somebody else has helped
        // It may fail against a helper of an older lap that was held up in between: then once more.
        if (entry.cas(seen, pack_own(lap(t), OwnState::taken, v.client), std::memory_order_acq_rel)) break;
      }
    }
  }

  // The group is done with the line: it copied the message, or skips it.
  void finish(unsigned group, std::uint64_t ticket, std::uint32_t client) const {
    // SYNC line-freed (release): the copy of the line before the entry. Pairs with: is_free.
    own(1 + group, ticket).store(pack_own(lap(ticket), OwnState::done, client), std::memory_order_release);
  }

  // Whether the group is done with the ticket, perhaps laps ago.
  bool has_finished(unsigned group, std::uint64_t ticket) const {
    const std::uint64_t e = own(1 + group, ticket).load(std::memory_order_acquire);
    return own_lap(e) > lap(ticket) || (own_lap(e) == lap(ticket) && own_state(e) == OwnState::done);
  }

  // Whether a ticket that somebody took was published; true for ever after, also when its line serves another lap. The
  // tag first: the next owner of the line may write it between the two looks, and never before this ticket's.
  bool was_published(std::uint64_t ticket) const {
    return is_tagged(in(ticket), lap(ticket)) || cursor(kProducers).next > ticket + w_.lines;
  }

  // Whether the line of `ticket` may be written: its predecessor was published (and processed, with a handler) and
  // every live group is done with it.
  bool is_free(std::uint64_t ticket, std::uint64_t live) const {
    if (ticket < w_.lines) return true;
    const std::uint64_t before = lap(ticket) - 1;
    bool was_read = false;
    for (std::uint64_t left = live; left != 0; left &= left - 1) {
      // SYNC line-freed (acquire). Pairs with: finish.
      const std::uint64_t e =
          own(1 + static_cast<unsigned>(std::countr_zero(left)), ticket).load(std::memory_order_acquire);
      if (own_lap_and_state(e) != own_lap_and_state(pack_own(before, OwnState::done, 0))) return false;
      was_read = was_read || own_client(e) != kBrokerClient;
    }
    // A member that is done with the predecessor has seen its tag. A group that joined later is done with it whether it
    // was published or not (join_set, in the broker's name), and where there is no group nobody has looked.
    return (was_read && !has_handler()) || is_tagged(out(ticket), before);
  }
  std::uint64_t live_groups() const { return w_.live_groups->load(std::memory_order_acquire) & kAllGroups; }

  // Broker, for a group that is not in the set. group_set.hpp says when.
  void start_group(unsigned group, std::uint64_t at) const {
    w_.cursor[1 + group]->init(pack(Cursor{at, kBrokerClient, 0, 0, false}));
  }
  void set_live(unsigned group) const {
    w_.live_groups->fetch_or(std::uint64_t{1} << group, std::memory_order_acq_rel);
  }
  void clear_live(unsigned group) const {
    w_.live_groups->fetch_and(~(std::uint64_t{1} << group), std::memory_order_acq_rel);
  }

 private:
  // Checking a few tickets more than asked for costs little, and the next claims need no look at other parties' lines.
  static constexpr std::uint64_t kLookAhead = 64;

  std::uint64_t first_not_free(std::uint64_t from, std::uint64_t to, std::uint64_t next) const {
    // Read after the cursor: a group in the cursor's mask is live. One that joins later covers no ticket before `next`.
    const std::uint64_t live = live_groups();
    to = std::min(to, next + w_.lines);
    while (from < to && is_free(from, live)) ++from;
    return from;
  }

  RingWords<A> w_;
  std::uint64_t mask_ = 0;
  unsigned shift_ = 0;
};

}  // namespace ipcq::detail
