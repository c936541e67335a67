// Calls: a client's request is a message, whose answer comes to an entry of the client's own. The room for it is there
// before the request is, so nobody waits between taking a request and answering it. docs/design/calls.md; words.hpp has
// the state diagram of an entry's word.
//
// Invariant: of the parties that may know a call's id, one at a time can change its entry: the caller (free, answered),
// who answers (writing), or either by a compare-and-swap that the other then sees (open, writing, answered with more).
//
// Caller and server: each for one thread at a time. Never waits. Template over the atomics policy; views like Ring.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/crash_point.hpp"
#include "layout/call.hpp"
#include "protocol/pool.hpp"

namespace ipcq::detail {

// The one group of a queue of calls.
inline constexpr unsigned kServers = 0;

// Where a long answer lies: the request's slot.
template <class A>
SlotLoan slot_of(const CallOf<A>& e) {
  return {static_cast<std::uint32_t>(CallPlaceBits::SlotOrCode::get(e.where.load(std::memory_order_relaxed))),
          e.lease.load(std::memory_order_relaxed)};
}
// That of a request; none of one in its line.
constexpr SlotLoan slot_of(const Descriptor& request) {
  return request.kind == LineKind::slot ? held_by(request) : SlotLoan{};
}

// The caller's side of one entry, and of the repair that acts for it.
template <class A>
class CallerSide {
 public:
  explicit CallerSide(CallOf<A>& entry) : e_(entry) {}

  // A spinning caller gets the first 128 bytes together.
  void fetch() const { A::prefetch_for_read(&e_); }
  CallWord look() const { return unpack_call(load()); }
  // Precondition: the entry is free. Returns the call's number.
  std::uint32_t open(std::uint64_t deadline) const {
    const std::uint32_t number = look().number + 1;
    e_.deadline.store(deadline, std::memory_order_relaxed);
    // Before the request is published, which orders both for whoever takes it.
    e_.word.store(pack(CallWord{.number = number, .state = CallState::open}), std::memory_order_release);
    IPCQ_CRASH_POINT("call.opened");
    return number;
  }
  // Done with a reply, with more to come: the server may write the next. False: there is no more, since the server has
  // ended the call.
  bool go_on() const {
    const std::uint64_t seen = load();
    const CallWord w = unpack_call(seen);
    return w.state == CallState::answered && w.more &&
           swap(seen, {.number = w.number, .state = CallState::open, .begun = true});
  }
  // Ends the call in any state. `free_slot(SlotLoan)` gives back a slot that is the caller's, before the entry is free.
  // False: somebody is writing the answer, who frees the entry.
  template <class FreeSlot>
  bool close(const FreeSlot& free_slot) const {
    for (;;) {
      const std::uint64_t seen = load();
      const CallWord w = unpack_call(seen);
      if (w.state == CallState::free || w.state == CallState::cancelled) return w.state == CallState::free;
      CallWord to{.number = w.number, .state = CallState::free};
      if (w.state == CallState::writing) to.state = CallState::cancelled, to.client = w.client;
      if (w.state == CallState::answered && w.in_slot && !w.more) {
        free_slot(slot_of(e_));
        IPCQ_CRASH_POINT("call.slot_freed");
      }
      if (swap(seen, to)) return to.state == CallState::free;
    }
  }

 private:
  std::uint64_t load() const {
    // SYNC call-answered (acquire): the answer behind the word. Pairs with: publish, finish.
    return e_.word.load(std::memory_order_acquire);
  }
  // From the word as it was loaded: one that is damaged has bits that no field has.
  bool swap(std::uint64_t from, const CallWord& to) const {
    // SYNC call-word (release): the loads of the answer before the word. Pairs with: begin.
    return e_.word.cas(from, pack(to), std::memory_order_acq_rel);
  }
  CallOf<A>& e_;
};

// The side of who has the request, and of the repair that acts for it.
template <class A>
class AnswerSide {
 public:
  // `me`: the client id of who answers.
  AnswerSide(CallOf<A>& entry, std::uint32_t number, std::uint32_t me) : e_(entry), number_(number), me_(me) {}

  // Just before begin(): the entry, which lies in the caller's cache, comes once, for writing. Any look before that
  // would have it come twice, since the caller looks at it, too.
  void fetch() const { A::prefetch_for_write(&e_); }
  // Whether the caller still waits. A look: it may have gone by the time that this returns.
  bool is_awaited() const {
    const CallWord w = unpack_call(e_.word.load(std::memory_order_acquire));
    return w.number == number_ && (w.state == CallState::open || (w.state == CallState::answered && w.more));
  }
  std::uint64_t deadline() const { return e_.deadline.load(std::memory_order_relaxed); }
  // Whether the caller has not yet read the last reply: the next must wait.
  bool is_unread() const {
    const CallWord w = unpack_call(e_.word.load(std::memory_order_acquire));
    return w.number == number_ && w.state == CallState::answered && w.more;
  }

  // unread: the caller has not read the last reply, for which the next must wait. cancelled: it does not wait any more.
  enum class Begun : std::uint8_t { yes, unread, cancelled };
  // Reserves the entry for this party. After `yes` it writes the answer, then publishes it. `over_request`: over the
  // bytes of the request, which no other server can be given from then on.
  Begun begin(bool over_request) const {
    for (;;) {
      const std::uint64_t seen = e_.word.load(std::memory_order_acquire);
      const CallWord w = unpack_call(seen);
      if (w.number != number_) return Begun::cancelled;
      if (w.state == CallState::answered && w.more) return Begun::unread;
      if (w.state != CallState::open) return Begun::cancelled;
      const CallWord to{
          .number = number_, .state = CallState::writing, .client = me_, .begun = w.begun || over_request};
      // SYNC call-word (acquire): the caller's loads of the last answer are done. Pairs with: swap.
      if (e_.word.cas(seen, pack(to), std::memory_order_acq_rel)) {
        IPCQ_CRASH_POINT("answer.writing");
        return Begun::yes;
      }
    }
  }
  // Has the call go on under its next number, by which whoever this party passes its request on to knows it. After
  // `yes` this party knows of it no more: its own number is over.
  Begun pass_on() const {
    for (;;) {
      const std::uint64_t seen = e_.word.load(std::memory_order_acquire);
      CallWord w = unpack_call(seen);
      if (w.number != number_) return Begun::cancelled;
      if (w.state == CallState::answered && w.more) return Begun::unread;
      if (w.state != CallState::open) return Begun::cancelled;
      ++w.number;
      w.client = me_;  // by which the repair knows the step from a call that its client has opened anew
      if (e_.word.cas(seen, pack(w), std::memory_order_acq_rel)) {
        IPCQ_CRASH_POINT("pass_on.renumbered");
        return Begun::yes;
      }
    }
  }
  // Before this party changes the bytes of the request: no other server can be given it from then on.
  void begin_to_change() const {
    for (;;) {
      const std::uint64_t seen = e_.word.load(std::memory_order_relaxed);
      CallWord w = unpack_call(seen);
      if (w.number != number_ || w.state != CallState::open || w.begun) return;
      w.begun = true;
      if (e_.word.cas(seen, pack(w), std::memory_order_acq_rel)) return;
    }
  }
  // Writes where the answer is. Between begin() and publish().
  void place(std::uint32_t length, std::uint32_t slot_or_code, std::uint64_t lease) const {
    e_.where.store(CallPlaceBits::Length::put(length) | CallPlaceBits::SlotOrCode::put(slot_or_code),
                   std::memory_order_relaxed);
    e_.lease.store(lease, std::memory_order_relaxed);
  }
  std::byte* data() const { return e_.data.edit(); }
  // False: the caller has gone meanwhile; the entry is free. The slot, if the answer lies there, still is this party's,
  // as it is with `more`.
  bool publish(Answer answer, bool in_slot, bool more) const {
    const CallWord to{
        .number = number_, .state = CallState::answered, .answer = answer, .in_slot = in_slot, .more = more};
    IPCQ_CRASH_POINT("answer.written");
    for (;;) {
      const std::uint64_t seen = e_.word.load(std::memory_order_relaxed);
      const CallWord w = unpack_call(seen);
      if (!is_mine(w)) return false;  // shared words are damaged
      const bool gone = w.state == CallState::cancelled;
      const CallWord then = gone ? CallWord{.number = number_} : to;
      // SYNC call-answered (release): the answer before the word. Pairs with: look.
      if (e_.word.cas(seen, pack(then), std::memory_order_acq_rel)) {
        if (!gone) IPCQ_CRASH_POINT("answer.answered");
        return !gone;
      }
    }
  }

  // What becomes of the request of a party that gives no further answer.
  enum class After : std::uint8_t {
    release,      // the request is over, its slot is free
    handed_over,  // its slot is the caller's: the request is released without it
    give_back,    // it goes to another server
  };
  // What the caller is told instead: `unread` if it has a reply that it has not read, else `none_left`.
  struct Last {
    Answer none_left;
    Answer unread;
  };
  static constexpr Last kEnded{Answer::end, Answer::reply};
  static constexpr Last kDied{Answer::server_died, Answer::reply_and_death};
  // Ends the call, also in the midst of an answer of this party, by itself or by its repair. `redelivers`: opens it
  // again, if it has not begun. `own`: the slot of this party's request.
  After finish(const Last& last, bool redelivers, const SlotLoan& own) const {
    for (;;) {
      const std::uint64_t seen = e_.word.load(std::memory_order_acquire);
      const CallWord w = unpack_call(seen);
      if (w.number != number_) return After::release;
      const bool unread = w.state == CallState::answered && w.more;
      if (w.state != CallState::open && !unread && !is_mine(w)) {  // the caller has gone, or has its answer
        // A place that is loaded too late, of the entry's next call, is of another lease.
        const bool has_mine = w.state == CallState::answered && w.in_slot && slot_of(e_) == own;
        return has_mine ? After::handed_over : After::release;
      }
      CallWord to{.number = number_, .state = CallState::answered, .answer = last.none_left};
      After then = After::release;
      if (w.state == CallState::cancelled) {
        to = {.number = number_};
      } else if (unread) {
        to.answer = last.unread;
        to.in_slot = w.in_slot;
        if (w.in_slot) then = After::handed_over;
      } else if (redelivers && !w.begun) {
        to = {.number = number_, .state = CallState::open};
        then = After::give_back;
      }
      // SYNC call-answered (release): what the word says of the answer. Pairs with: look.
      if (e_.word.cas(seen, pack(to), std::memory_order_acq_rel)) return then;
    }
  }

 private:
  bool is_mine(const CallWord& w) const {
    return w.number == number_ && w.client == me_ && (w.state == CallState::writing || w.state == CallState::cancelled);
  }
  CallOf<A>& e_;
  std::uint32_t number_;
  std::uint32_t me_;
};

}  // namespace ipcq::detail
