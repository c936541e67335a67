// The packed words of shared memory: the meaning of their values, their transitions, and which bits hold which field.
// Pure functions. The transitions are implemented in protocol/ and repair/; the diagrams name the function and the
// party that calls it. "Repair" is the broker, acting for an endpoint that has ended.
#pragma once

#include <cstdint>

#include "layout/bits.hpp"
#include "layout/limits.hpp"

namespace ipcq::detail {

// A client id names one endpoint, which is single-threaded. Each word that names a client has it in its lowest bits.
inline constexpr unsigned kClientBits = 22;
inline constexpr std::uint32_t kClientMask = (1u << kClientBits) - 1;
inline constexpr std::uint32_t kBrokerClient = 1;  // the broker's own id as a client

// Value of a cursor: tickets [next - count, next) were taken last, by `client`. `next` never decreases while the queue,
// or the group, lives. Every transition is one 16-byte compare-and-swap:
//
//              +----- claim_publish, claim_next (producer, broker), take, take_next, claim, copy, copy_next (member),
//              |    |    drop_one (producer, broker):
//              v    |    next + n, client = the taker, count = n, reading = whether by InPlaceReader::claim
//   start --> open -+
//              ^    |
//              +----- join_set, leave_set (broker; producers' cursor only): groups
//
//   open --> closed:  close_intake (producers' cursor), close_group (group's cursor), both the broker: closed = 1,
//                     the other fields kept. No ticket is taken any more.
//   closed --> open:  open_intake (the broker; producers' cursor only): closed = 0, the other fields kept.
//   open <-> paused:  pause_group (the broker; group's cursor only): paused = 1 or 0, the other fields kept. Meanwhile
//                     no member takes a ticket; drop_one still does, and leaves paused = 1.
//
// start: QueueMap::create; start_group (broker) for a group that joins, before the producers' set has it.
struct Cursor {
  std::uint64_t next = 0;
  std::uint32_t client = 0;
  std::uint32_t count = 0;
  std::uint8_t groups = 0;  // producers' cursor: groups that see every ticket from `next` on
  bool closed = false;      // no further ticket is taken
  bool reading = false;     // group's cursor: the taker shows the messages to its user in their lines
  bool paused = false;      // group's cursor: members take no ticket
  std::uint32_t rest = 0;   // no meaning; unpacked so that a compare-and-swap from a damaged cursor can match
  // Whether members must leave the cursor as it is.
  constexpr bool is_shut() const { return closed || paused; }
  friend bool operator==(const Cursor&, const Cursor&) = default;
};
// Of the high half; the low one is `next`.
struct CursorBits {
  using Client = Bits<0, kClientBits>;
  using Count = Bits<22, 16>;
  using Groups = Bits<38, kMaxGroups>;
  using Closed = Bits<46, 1>;
  using Reading = Bits<47, 1>;
  using Paused = Bits<48, 1>;
  using Rest = Bits<49, 15>;
};
static_assert(fill_a_word<CursorBits::Client, CursorBits::Count, CursorBits::Groups, CursorBits::Closed,
                          CursorBits::Reading, CursorBits::Paused, CursorBits::Rest>());
inline constexpr std::uint32_t kMaxClaim = CursorBits::Count::kMax;

constexpr Pair pack(const Cursor& c) {
  return {c.next, CursorBits::Client::put(c.client) | CursorBits::Count::put(c.count) |
                      CursorBits::Groups::put(c.groups) | CursorBits::Closed::put(c.closed) |
                      CursorBits::Reading::put(c.reading) | CursorBits::Paused::put(c.paused) |
                      CursorBits::Rest::put(c.rest)};
}
constexpr Cursor unpack_cursor(Pair p) {
  return {p.lo,
          static_cast<std::uint32_t>(CursorBits::Client::get(p.hi)),
          static_cast<std::uint32_t>(CursorBits::Count::get(p.hi)),
          static_cast<std::uint8_t>(CursorBits::Groups::get(p.hi)),
          CursorBits::Closed::get(p.hi) != 0,
          CursorBits::Reading::get(p.hi) != 0,
          CursorBits::Paused::get(p.hi) != 0,
          static_cast<std::uint32_t>(CursorBits::Rest::get(p.hi))};
}

// Entry of an owner log, for the ticket of lap `lap` at this index. A later lap's entry replaces an earlier one's.
//
//   producers' log:   earlier lap --help--> taken --repair--> done
//   a group's log:    earlier lap --help--> taken or reading --finish--> done
//                     earlier lap --finish---------------------------> done
//
//   help    whoever moves the cursor past the claim, or the repair. Compare-and-swap; `client` is the ticket's taker.
//           In the producers' log also of a published ticket. `reading` where the cursor says so
//   repair  of the taker: publish_tombstones()
//   finish  the taker (a member, a discarding producer or broker), its repair, or join_set() in the broker's name.
//           Store, release
enum class OwnState : std::uint64_t { none = 0, taken = 1, done = 2, reading = 3 };
struct OwnBits {
  using Client = Bits<0, kClientBits>;
  using State = Bits<22, 2>;
  using Lap = Bits<24, 40>;
};
static_assert(fill_a_word<OwnBits::Client, OwnBits::State, OwnBits::Lap>());

constexpr std::uint64_t pack_own(std::uint64_t lap, OwnState state, std::uint32_t client) {
  return OwnBits::Lap::put(lap) | OwnBits::State::put(static_cast<std::uint64_t>(state)) | OwnBits::Client::put(client);
}
constexpr std::uint64_t own_lap(std::uint64_t e) { return OwnBits::Lap::get(e); }
constexpr OwnState own_state(std::uint64_t e) { return static_cast<OwnState>(OwnBits::State::get(e)); }
constexpr std::uint32_t own_client(std::uint64_t e) { return static_cast<std::uint32_t>(OwnBits::Client::get(e)); }
// Lap and state at once, for a comparison.
constexpr std::uint64_t own_lap_and_state(std::uint64_t e) { return e >> kClientBits; }

// Value of the word of a slot or an alias. The lease counts its loans. Every reference to a slot carries the lease that
// it means, so a reference to an earlier loan is recognised. One 16-byte compare-and-swap each, except where noted:
//
//          borrow         mark_message           clear_group, last bit
//   free ----------> loan -----------> message ------------------------> free
//                     | |                |
//                     | +---quarantine---+--> quarantine --end_quarantine--> free
//                     +---give_back, repair--> free
//
//   borrow          a producer: lease + 1
//   mark_message    the loaner: store of the high half (release), as by mark_for_gpu() within `loan`. Until then the
//                   loaner is the word's only writer
//   clear_group     each group's consumer; a producer or the broker that discards for the group; the repair; on a
//                   parent, finish_alias(). An alias without bits stays `message` until its parent's bit is cleared
//   quarantine      the repair: GPU work of an ended client may still write the payload
//   end_quarantine  the broker: that work has ended
//   repair          also `message` to `free`: a ticket that was not published, or a payload that will not be written
enum class SlotState : std::uint64_t { free = 0, loan = 1, message = 2, quarantine = 3 };
struct Slot {
  std::uint64_t lease = 0;
  std::uint32_t client = 0;  // the loaner
  SlotState state = SlotState::free;
  std::uint8_t groups = 0;   // message: groups that have not released it; loan: LoanWriter
  std::uint32_t ticket = 0;  // message: low 32 bits of the ticket
  friend bool operator==(const Slot&, const Slot&) = default;
};
// Of the high half; the low one is `lease`.
struct SlotBits {
  using Client = Bits<0, kClientBits>;
  using State = Bits<22, 2>;
  using Groups = Bits<24, kMaxGroups>;
  using Ticket = Bits<32, 32>;
};
static_assert(fill_a_word<SlotBits::Client, SlotBits::State, SlotBits::Groups, SlotBits::Ticket>());

// Which processor may write the payload of a loan.
enum class LoanWriter : std::uint8_t {
  cpu = 0,
  gpu = 1,        // the loaner's streams; gpub reaches the lease after their writes
  gpu_again = 2,  // gpub has the lease already, from a publish that failed: it does not cover later writes
};

constexpr Pair pack(const Slot& s) {
  return {s.lease, SlotBits::Client::put(s.client) | SlotBits::State::put(static_cast<std::uint64_t>(s.state)) |
                       SlotBits::Groups::put(s.groups) | SlotBits::Ticket::put(s.ticket)};
}
constexpr Slot unpack_slot(Pair p) {
  return {p.lo, static_cast<std::uint32_t>(SlotBits::Client::get(p.hi)),
          static_cast<SlotState>(SlotBits::State::get(p.hi)), static_cast<std::uint8_t>(SlotBits::Groups::get(p.hi)),
          static_cast<std::uint32_t>(SlotBits::Ticket::get(p.hi))};
}

constexpr LoanWriter writer_of(const Slot& loan) { return static_cast<LoanWriter>(loan.groups); }
constexpr bool is_gpu_loan(const Slot& s) { return s.state == SlotState::loan && writer_of(s) != LoanWriter::cpu; }

// AliasParent::where: the index of the parent, a slot or an alias, and the group whose bit the alias clears there.
struct ParentBits {
  using Slot = Bits<0, 32>;
  using Group = Bits<32, 3>;
};
static_assert(are_disjoint<ParentBits::Slot, ParentBits::Group>() && ParentBits::Group::kMax == kMaxGroups - 1);

constexpr std::uint64_t pack_parent(std::uint32_t slot, unsigned group) {
  return ParentBits::Slot::put(slot) | ParentBits::Group::put(group);
}
constexpr std::uint32_t parent_slot(std::uint64_t where) {
  return static_cast<std::uint32_t>(ParentBits::Slot::get(where));
}
constexpr unsigned parent_group(std::uint64_t where) { return static_cast<unsigned>(ParentBits::Group::get(where)); }

// Word of a held entry: its holder and state. A free entry's word is 0. Only the endpoint in whose block the entry
// lies, or its repair, takes a free entry into use. Compare-and-swap, except where noted:
//
//        mark_held                    release (slot)               release
//   free ----------> held ------------------------------> releasing ----------> free
//     |              ^ | |
//     |  take_orphan | | +--release (inline), hand_over, repair (forwarded)--> free
//     |              | v give_back, put_back, repair
//     +------------> orphan
//   make_orphan
//
//   mark_held    (and take_next) the member that claimed the ticket. Store, release
//   release      the holder; from `releasing` also the repair. hand_over: the holder, which has forwarded the message
//   take_orphan  any member of the group; in a closed queue the broker (withdraw_given_back)
//   make_orphan  the repair of a member that died between its claim and mark_held()
//   Any state to free: drain_left_group (broker), once the group has left and has no member. Store, release
enum class HeldState : std::uint64_t { free = 0, held = 1, orphan = 2, releasing = 3 };
struct HeldWord {
  HeldState state = HeldState::free;
  std::uint32_t client = 0;  // the holder; 0 for an orphan
  std::uint32_t group = 0;
  std::uint32_t deliveries = 0;  // how often it was delivered before; saturates
  friend bool operator==(const HeldWord&, const HeldWord&) = default;
};
struct HeldBits {
  using Client = Bits<0, kClientBits>;
  using State = Bits<22, 2>;
  using Group = Bits<24, 3>;
  using Deliveries = Bits<27, 16>;
};
static_assert(are_disjoint<HeldBits::Client, HeldBits::State, HeldBits::Group, HeldBits::Deliveries>() &&
              HeldBits::Group::kMax == kMaxGroups - 1);
inline constexpr std::uint32_t kMaxDeliveries = HeldBits::Deliveries::kMax;

constexpr std::uint64_t pack(const HeldWord& h) {
  return HeldBits::Client::put(h.client) | HeldBits::State::put(static_cast<std::uint64_t>(h.state)) |
         HeldBits::Group::put(h.group) | HeldBits::Deliveries::put(h.deliveries);
}
constexpr HeldWord unpack_held(std::uint64_t v) {
  return {static_cast<HeldState>(HeldBits::State::get(v)), static_cast<std::uint32_t>(HeldBits::Client::get(v)),
          static_cast<std::uint32_t>(HeldBits::Group::get(v)),
          static_cast<std::uint32_t>(HeldBits::Deliveries::get(v))};
}

// GroupControl::orphans: the number of messages given back so far, and that number as of the last search that found
// none. Equal: a search finds nothing. Within one membership of the group the word never returns to an old value, so
// the compare-and-swap of a search that found none fails if a message was given back during it.
struct OrphanBits {
  using Seen = Bits<0, 32>;
  using GivenBack = Bits<32, 32>;
};
static_assert(fill_a_word<OrphanBits::Seen, OrphanBits::GivenBack>());
inline constexpr std::uint64_t kOneGivenBack = OrphanBits::GivenBack::put(1);
constexpr bool may_have_orphans(std::uint64_t v) { return OrphanBits::GivenBack::get(v) != OrphanBits::Seen::get(v); }
constexpr std::uint64_t found_none(std::uint64_t v) {
  const std::uint64_t all = OrphanBits::GivenBack::get(v);
  return OrphanBits::GivenBack::put(all) | OrphanBits::Seen::put(all);
}

// Word of a call entry: how far the call with this number has come. Compare-and-swap, except where noted. docs/design/
// calls.md has the whole.
//
//              open             begin             publish, finish           close
//   free(n-1) ------> open(n) ---------> writing ----------------> answered -----> free(n)
//                     ^  |  |              |  |                      ^   |
//                     |  |  +-----finish---|--|----------------------+   |
//                     |  +------close------|--|---> free(n)              |
//                     +---------finish-----+  +-close-> cancelled --publish, finish--> free(n)
//                     +-----------------------go_on, where there is more-+
//
//   open     the caller. Store, release
//   begin    whoever has the request, and is `client` until it has answered
//   publish  the same: a reply or a failure
//   finish   the same, which answers no further, or its repair: the end, or server_died; also of an answer with more to
//            come, which is the last then. Open again where the request goes to another server
//   go_on    the caller, which has read the answer
//   close    the caller, which has read the answer or wants none; its repair
//
// pass_on: open(n) to open(n+1), by whoever has the request and passes it on to another queue; is `client` then
enum class CallState : std::uint64_t { free = 0, open = 1, writing = 2, answered = 3, cancelled = 4 };
// What the caller is told of an answered call. reply_and_death: it may read the reply, and more will not come.
enum class Answer : std::uint64_t { reply = 0, failure = 1, server_died = 2, reply_and_death = 3, end = 4 };
struct CallWord {
  std::uint32_t number = 0;
  CallState state = CallState::free;
  std::uint32_t client = 0;  // writing, cancelled: who answers; open: who has passed the request on last
  Answer answer = Answer::reply;
  bool in_slot = false;  // the answer lies in the request's slot; it is the caller's, unless there is more
  bool more = false;     // the server sends further replies, and has the request still
  bool begun = false;    // open, writing: the caller has had a reply, or the request's bytes may have changed
  friend bool operator==(const CallWord&, const CallWord&) = default;
};
struct CallBits {
  using Client = Bits<0, kClientBits>;
  using State = Bits<22, 3>;
  using Answered = Bits<25, 3>;
  using InSlot = Bits<28, 1>;
  using More = Bits<29, 1>;
  using Begun = Bits<30, 1>;
  using Number = Bits<32, 32>;
};
static_assert(are_disjoint<CallBits::Client, CallBits::State, CallBits::Answered, CallBits::InSlot, CallBits::More,
                           CallBits::Begun, CallBits::Number>());

constexpr std::uint64_t pack(const CallWord& c) {
  return CallBits::Client::put(c.client) | CallBits::State::put(static_cast<std::uint64_t>(c.state)) |
         CallBits::Answered::put(static_cast<std::uint64_t>(c.answer)) | CallBits::InSlot::put(c.in_slot) |
         CallBits::More::put(c.more) | CallBits::Begun::put(c.begun) | CallBits::Number::put(c.number);
}
constexpr CallWord unpack_call(std::uint64_t v) {
  return {static_cast<std::uint32_t>(CallBits::Number::get(v)),
          static_cast<CallState>(CallBits::State::get(v)),
          static_cast<std::uint32_t>(CallBits::Client::get(v)),
          static_cast<Answer>(CallBits::Answered::get(v)),
          CallBits::InSlot::get(v) != 0,
          CallBits::More::get(v) != 0,
          CallBits::Begun::get(v) != 0};
}

// A call's id, which its request carries as its sequence: the entry's index and the call's number.
struct CallIdBits {
  using Number = Bits<0, 32>;
  using Entry = Bits<32, 32>;
};
static_assert(fill_a_word<CallIdBits::Number, CallIdBits::Entry>());
constexpr std::uint64_t pack_call_id(std::uint32_t entry, std::uint32_t number) {
  return CallIdBits::Entry::put(entry) | CallIdBits::Number::put(number);
}
// Of a call that AnswerSide::pass_on() has given its next number.
constexpr std::uint64_t id_passed_on(std::uint64_t id) {
  return pack_call_id(static_cast<std::uint32_t>(CallIdBits::Entry::get(id)),
                      static_cast<std::uint32_t>(CallIdBits::Number::get(id)) + 1);
}
constexpr std::uint32_t call_entry(std::uint64_t id) { return static_cast<std::uint32_t>(CallIdBits::Entry::get(id)); }
constexpr std::uint32_t call_number(std::uint64_t id) {
  return static_cast<std::uint32_t>(CallIdBits::Number::get(id));
}

}  // namespace ipcq::detail
