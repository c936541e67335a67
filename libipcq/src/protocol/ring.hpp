// The ring of descriptor lines: which party owns which ticket. docs/design/ring.md explains the protocol and its crash
// cases; words.hpp has the state diagrams of the cursor and the owner log entry.
//
// Invariants: a claimed ticket is recorded in its cursor or in the owner log at every instant. A line is written only
// by the owner of its ticket, and only once the line's previous ticket was published and every live group is done with
// it.
//
// Thread-safe, lock-free; never waits but for a pause after a lost race. Template over the atomics policy, so that the
// model checker runs this code. A Ring is a view: copyable, with pointers into a mapping that its creator has checked
// and that must outlive it.
#pragma once

#include <bit>
#include <cstdint>

#include "base/crash_point.hpp"
#include "layout/layout.hpp"
#include "layout/line.hpp"
#include "layout/plain_line.hpp"
#include "layout/words.hpp"
#include "protocol/back_off.hpp"
#include "protocol/ring_lines.hpp"

namespace ipcq::detail {

template <class A>
struct RingWords {
  typename A::Wide* cursor[kCursors] = {};
  typename A::Word* own[kCursors] = {};  // owner logs, `lines` entries each
  typename A::Unit* in = nullptr;        // lines of `line_units` each
  typename A::Unit* out = nullptr;       // == in for a direct queue
  typename A::Word* live_groups = nullptr;
  typename A::Word* free_before = nullptr;
  std::uint64_t lines = 0;  // power of two
  std::uint32_t line_units = kLineUnits;
  bool plain = false;  // the lines are plain, else tagged
  bool device_writes_out = false;
};

enum class ClaimOutcome : std::uint8_t { ok, full, closed };

// The claimer owns tickets [ticket, ticket + count) and must publish each, for the groups in `groups`. 16 bytes without
// padding, so that it is returned in registers.
struct PublishClaim {
  std::uint64_t ticket = 0;
  std::uint32_t count = 0;
  std::uint8_t groups = 0;
  ClaimOutcome outcome = ClaimOutcome::full;
  std::uint16_t reserved = 0;
};
static_assert(sizeof(PublishClaim) == 16);

// More than 25 members: the steps of producers, readers, executors, broker and repair on the same words. Each relies on
// the order of the others' accesses, so they stand together.
template <class A>
class Ring {
 public:
  Ring() = default;
  explicit Ring(const RingWords<A>& words)
      : w_(words),
        shape_{words.lines - 1, static_cast<unsigned>(std::countr_zero(words.lines))},
        inline_bytes_(words.plain ? plain_inline_bytes(words.line_units * kUnitSize) : kInlineBytes) {}

  std::uint64_t lines() const { return w_.lines; }
  bool has_handler() const { return w_.in != w_.out; }
  std::uint64_t index(std::uint64_t ticket) const { return shape_.index(ticket); }
  std::uint64_t lap(std::uint64_t ticket) const { return shape_.lap(ticket); }
  // The first of the tickets before `next` that have a line each: what a search of all lines begins with.
  std::uint64_t oldest(std::uint64_t next) const { return next > w_.lines ? next - w_.lines : 0; }
  // The first unit of the ticket's line.
  typename A::Unit* in(std::uint64_t ticket) const { return w_.in + index(ticket) * w_.line_units; }
  typename A::Unit* out(std::uint64_t ticket) const { return w_.out + index(ticket) * w_.line_units; }
  // The longest payload that travels in a line.
  std::uint32_t inline_bytes() const { return inline_bytes_; }
  typename A::Word& own(unsigned cursor, std::uint64_t ticket) const { return w_.own[cursor][index(ticket)]; }

  OutLines<A> out_lines() const { return {shape_, w_.line_units, inline_bytes(), w_.plain, w_.out}; }
  UsualWriter<A> usual_writer(std::uint32_t producer) const { return {shape_, w_.line_units, producer, w_.in}; }
  Finisher<A> finisher(unsigned group, std::uint32_t client) const { return {shape_, client, w_.own[1 + group]}; }

  // The cursor as it stands in memory: what the caller compares and swaps it does not have to pack again.
  // SYNC cursor (acquire): the caller observes what earlier takers did before their swap. Pairs with: swap_cursor.
  Pair cursor_word(unsigned c) const { return w_.cursor[c]->load(); }
  Cursor cursor(unsigned c) const { return unpack_cursor(cursor_word(c)); }
  // For decisions that need both halves and that no compare-and-swap confirms.
  Cursor stable_cursor(unsigned c) const { return unpack_cursor(w_.cursor[c]->load_stable()); }
  // SYNC cursor (acquire, release). Pairs with: cursor_word, swap_cursor.
  bool swap_cursor(unsigned c, const Pair& from, const Pair& to) const { return w_.cursor[c]->cas(from, to); }
  bool swap_cursor(unsigned c, const Pair& from, const Cursor& to) const { return swap_cursor(c, from, pack(to)); }
  bool swap_cursor(unsigned c, const Cursor& from, const Cursor& to) const { return swap_cursor(c, pack(from), to); }

  // Claims up to `want` tickets for client `me`: as many as have free lines in a row. `limit` is the caller's record of
  // the first ticket not known to be free; it starts at 0 and never becomes invalid, since a free line stays free until
  // its ticket is claimed. Precondition: `me` has published every ticket of its previous claim.
  PublishClaim claim_publish(std::uint32_t me, std::uint32_t want, std::uint64_t& limit, BackOff<A>& back_off) const {
    for (;;) {
      const Pair word = cursor_word(kProducers);
      const std::uint64_t next = word.lo;
      if (CursorBits::Closed::get(word.hi) != 0) return {next, 0, 0, ClaimOutcome::closed, 0};
      const bool mine = CursorBits::Client::get(word.hi) == me;
      if (limit < next + want) {
        limit = look_for_free(next, want, limit, mine);
        // Others have claimed meanwhile, more likely the longer it took.
        if (!mine && limit > next && !(cursor_word(kProducers) == word)) continue;
      }
      if (!mine) help(kProducers, unpack_cursor(word));
      const auto groups = static_cast<std::uint8_t>(CursorBits::Groups::get(word.hi));
      if (limit <= next) {
        if (cursor_word(kProducers) == word) return {next, 0, groups, ClaimOutcome::full, 0};
        limit = 0;  // the cursor has moved, and `limit` was computed from its old value
        continue;
      }
      const auto k = static_cast<std::uint32_t>(std::min<std::uint64_t>({want, limit - next, kMaxClaim}));
      if (back_off.after(swap_cursor(kProducers, word, {next + k, me, k, groups, false}))) {
        IPCQ_CRASH_POINT("publish.claimed");
        return {next, k, groups, ClaimOutcome::ok, 0};
      }
    }
  }
  // For who claims seldom.
  PublishClaim claim_publish(std::uint32_t me, std::uint32_t want, std::uint64_t& limit) const {
    BackOff<A> back_off;
    return claim_publish(me, want, limit, back_off);
  }

  // What the claim of one ticket by `me` leaves in the high half of a cursor; of the producers' with their `groups`.
  static std::uint64_t mine_after_one(std::uint32_t me, std::uint8_t groups = 0) {
    return pack(Cursor{0, me, 1, groups, false}).hi;
  }
  // claim_publish() of one ticket for the producer that made the last claim: `mine`, from mine_after_one(), is what
  // that left in the cursor. kNoTicket: anything else, and claim_publish() says what.
  [[gnu::always_inline]] std::uint64_t claim_next(std::uint64_t mine, std::uint64_t limit) const {
    const Pair word = cursor_word(kProducers);
    if (word.hi != mine || word.lo >= limit || !swap_cursor(kProducers, word, Pair{word.lo + 1, mine}))
      return kNoTicket;
    IPCQ_CRASH_POINT("publish.claimed");
    return word.lo;
  }

  // Publishes one claimed ticket. A reader that observes the tag observes `d`, `data` and the payload.
  void write(std::uint64_t ticket, const Descriptor& d, const std::byte* data) const {
    write_to(in(ticket), ticket, d, data);
  }
  // To plain lines usual_writer() writes without a descriptor.
  bool is_plain() const { return w_.plain; }
  // What an executor passes on to the readers.
  void write_out(std::uint64_t ticket, const Descriptor& d, const std::byte* data) const {
    write_to(out(ticket), ticket, d, data);
  }

  // Copies the line of `ticket` for readers; absent until it is published and, with a handler, processed. `data` has
  // room for inline_bytes() + 8.
  LineRead read(std::uint64_t ticket, Descriptor& d, std::byte* data) const {
    return read_from(out(ticket), ticket, d, data, w_.device_writes_out);
  }
  // The same, to a held entry, which is complete if the line carries a message. `kind`: of a line that is present.
  LineRead copy(std::uint64_t ticket, StoredDescriptorOf<A>& to, std::byte* data, LineKind& kind) const {
    if (w_.plain) [[likely]]
      return copy_plain_line(out(ticket), w_.line_units, lap(ticket), to, data, kind);
    Descriptor d;
    const LineRead r = read(ticket, d, data);
    kind = d.kind;
    if (r == LineRead::present && carries_message(d)) to.store(d);
    return r;
  }
  // As read(), for the executor: as it was published.
  LineRead read_in(std::uint64_t ticket, Descriptor& d, std::byte* data) const {
    return read_from(in(ticket), ticket, d, data, false);
  }
  // Copies the payload of an inline message only if it fits `room`.
  LineRead read_fitting(std::uint64_t ticket, Descriptor& d, std::byte* data, std::size_t room) const {
    if (w_.plain) [[likely]] {
      const typename A::Unit* const line = out(ticket);
      const LineRead r = look_at_plain_line(line, w_.line_units, lap(ticket), d);
      if (r == LineRead::present && d.kind == LineKind::inlined && d.length <= room) read_plain_payload(line, d, data);
      return r;
    }
    std::byte copy[kInlineBytes + 8];
    const LineRead r = read_tagged(out(ticket), ticket, d, copy, w_.device_writes_out);
    if (r == LineRead::present && d.kind == LineKind::inlined && d.length != 0 && d.length <= room) {
      std::memcpy(data, copy, d.length);
    }
    return r;
  }
  // As read() and read_in(), for callers without use for the payload.
  LineRead look(std::uint64_t ticket, Descriptor& d) const {
    return look_at(out(ticket), ticket, d, w_.device_writes_out);
  }
  LineRead look_in(std::uint64_t ticket, Descriptor& d) const { return look_at(in(ticket), ticket, d, false); }
  // As look(). `payload`: where that of an inline message lies, if the line is plain; else null. Only for the owner of
  // the ticket, since the line may change for everybody else.
  LineRead look_in_place(std::uint64_t ticket, Descriptor& d, const std::byte*& payload) const {
    const typename A::Unit* const line = out(ticket);
    payload = nullptr;
    if (!w_.plain) return look_at(line, ticket, d, w_.device_writes_out);
    const LineRead r = look_at_plain_line(line, w_.line_units, lap(ticket), d);
    if (r == LineRead::present && d.kind == LineKind::inlined) payload = A::Unit::plain_bytes(line + d.data_unit);
    return r;
  }
  bool readable(std::uint64_t ticket) const { return is_tagged(out(ticket), lap(ticket)); }

  // Records the last claim of cursor `c`, whose value is `v`, in the owner log: each of its tickets that has no entry
  // of its lap becomes TAKEN, or READING, by v.client. Every party calls this before it moves the cursor past another
  // client's claim, because the move erases the cursor's record and the repair finds a dead owner's tickets only by
  // these. The lines themselves are not looked at: their owner is perhaps writing them just now.
  [[gnu::noinline]] void help(unsigned c, const Cursor& v) const {
    const std::uint64_t count = std::min<std::uint64_t>({v.count, w_.lines, v.next});
    const OwnState state = v.reading ? OwnState::reading : OwnState::taken;
    for (std::uint64_t t = v.next - count; t != v.next; ++t) {
      auto& entry = own(c, t);
      for (;;) {
        const std::uint64_t seen = entry.load(std::memory_order_acquire);
        if (own_lap(seen) >= lap(t)) break;
        if (cursor(c) != v) return;  // another party has moved the cursor, and has helped before
        // Fails if a delayed helper of an older lap wrote its entry in between: load the entry again.
        if (entry.cas(seen, pack_own(lap(t), state, v.client), std::memory_order_acq_rel)) break;
      }
    }
  }

  // Marks the line as done for a group: `client` has copied the message, or discards or skips it.
  void finish(unsigned group, std::uint64_t ticket, std::uint32_t client) const {
    finisher(group, client).finish(ticket);
  }

  // Whether the group is done with the ticket. Once true it stays true, also after the line is reused.
  bool has_finished(unsigned group, std::uint64_t ticket) const {
    const std::uint64_t e = own(1 + group, ticket).load(std::memory_order_acquire);
    return own_lap(e) > lap(ticket) || (own_lap(e) == lap(ticket) && own_state(e) == OwnState::done);
  }

  // Whether a claimed ticket was published. Once true it stays true, also after its line is reused: claiming the line's
  // next ticket requires it. The tag is loaded before the cursor: in the other order the line could be claimed and
  // written for the next lap between the two loads, and neither would show the publish.
  bool was_published(std::uint64_t ticket) const {
    return is_tagged(in(ticket), lap(ticket)) || cursor(kProducers).next > ticket + w_.lines;
  }

  // Whether the line of `ticket` may be written: its previous ticket was published and, with a handler, processed, and
  // each group of `live` is done with it.
  bool is_free(std::uint64_t ticket, std::uint64_t live) const {
    if (ticket < w_.lines) return true;
    const std::uint64_t before = lap(ticket) - 1;
    bool was_read = false;
    for (std::uint64_t left = live; left != 0; left &= left - 1) {
      const Finished f = finished(own(1 + static_cast<unsigned>(std::countr_zero(left)), ticket), before);
      if (f == Finished::no) return false;
      was_read = was_read || f == Finished::by_reader;
    }
    // A member that is done with the previous ticket has observed its tag. The broker's entry proves nothing: join_set
    // writes it whether the ticket was published or not. Without such a member the tag itself is loaded. With a handler
    // it always is: a client with a GPU takes a message by its `in` line (PublishedView), and is done with it perhaps
    // before the executor has read that line.
    return (was_read && !has_handler()) || is_tagged(out(ticket), before);
  }
  std::uint64_t live_groups() const { return w_.live_groups->load(std::memory_order_acquire) & kAllGroups; }

  // Called by the broker only, for a group that is not in the producers' set (group_set.hpp).
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
  // Tickets checked beyond those wanted, so that the next claims load no other party's words.
  static constexpr std::uint64_t kLookAhead = 64;

  // For a claim of `want` tickets from `next` on: the first that is not known to be free, `limit` being what the caller
  // knew. Producers that claim in turn tell each other (`mine`: the last claim was the caller's own), else each would
  // look at all lines.
  std::uint64_t look_for_free(std::uint64_t next, std::uint32_t want, std::uint64_t limit, bool mine) const {
    const std::uint64_t end = next + want;
    if (mine) return first_not_free(std::max(limit, next), end + kLookAhead, next);
    // SYNC lines-free (acquire): the readers' loads of these lines are done. Pairs with: the store below.
    const std::uint64_t told = w_.free_before->load(std::memory_order_acquire);
    if (told > limit && told <= next + w_.lines) limit = told;  // beyond is damaged
    if (limit < end) limit = first_not_free(std::max(limit, next), end + kLookAhead, next);
    // SYNC lines-free (release). Pairs with: the load above.
    if (limit > told) w_.free_before->store(limit, std::memory_order_release);
    return limit;
  }
  [[gnu::noinline]] std::uint64_t first_not_free(std::uint64_t from, std::uint64_t to, std::uint64_t next) const {
    // Loaded after the cursor, whose acquire makes every group of its mask live here. A group that joins later reads no
    // ticket before `next`.
    const std::uint64_t live = live_groups();
    to = std::min(to, next + w_.lines);
    if (std::has_single_bit(live) && !has_handler()) {  // the usual case: as many tickets as the one entry tells
      from = std::max(from, std::min(to, w_.lines));
      const auto* const log = w_.own[1 + static_cast<unsigned>(std::countr_zero(live))];
      for (const RingShape shape = shape_; from < to; ++from) {
        if (finished(log[shape.index(from)], shape.lap(from) - 1) != Finished::by_reader) break;
      }
    }
    while (from < to && is_free(from, live)) ++from;
    return from;
  }

  enum class Finished : std::uint8_t { no, by_reader, by_broker };
  // Whether, and by whom, the group whose log has `entry` is done with the ticket of lap `before` at this line.
  static Finished finished(const typename A::Word& entry, std::uint64_t before) {
    // SYNC line-freed (acquire): the group's loads of the line are done. Pairs with: finish.
    const std::uint64_t e = entry.load(std::memory_order_acquire);
    if (own_lap_and_state(e) != own_lap_and_state(pack_own(before, OwnState::done, 0))) return Finished::no;
    return own_client(e) != kBrokerClient ? Finished::by_reader : Finished::by_broker;
  }

  void write_to(typename A::Unit* line, std::uint64_t ticket, const Descriptor& d, const std::byte* data) const {
    if (w_.plain) {
      write_plain_line(line, lap(ticket), d, data);
    } else {
      write_line(line, lap(ticket), d, data);
    }
  }
  LineRead read_from(const typename A::Unit* line, std::uint64_t ticket, Descriptor& d, std::byte* data,
                     bool any_order) const {
    if (!w_.plain) [[unlikely]]
      return read_tagged(line, ticket, d, data, any_order);
    const LineRead r = look_at_plain_line(line, w_.line_units, lap(ticket), d);
    if (r == LineRead::present && d.kind == LineKind::inlined) read_plain_payload(line, d, data);
    return r;
  }
  LineRead look_at(const typename A::Unit* line, std::uint64_t ticket, Descriptor& d, bool any_order) const {
    if (w_.plain) [[likely]]
      return look_at_plain_line(line, w_.line_units, lap(ticket), d);
    std::byte unused[kInlineBytes + 8];
    return read_tagged(line, ticket, d, unused, any_order);
  }
  LineRead read_tagged(const typename A::Unit* line, std::uint64_t ticket, Descriptor& d, std::byte* data,
                       bool any_order) const {
    Descriptor tagged;  // in memory; `d` itself may stay in registers
    const LineRead r = read_line(line, lap(ticket), tagged, data, any_order);
    d = tagged;
    return r;
  }

  RingWords<A> w_;
  RingShape shape_;
  std::uint32_t inline_bytes_ = kInlineBytes;
};

}  // namespace ipcq::detail
