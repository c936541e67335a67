// A consumer's wait until its group has a message for it, or until the stream, the queue or the broker has ended.
//
// For the consumer's thread. A MessageWait refers to the map and the session of its consumer, which must outlive its
// calls.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "base/deadline.hpp"
#include "client/session_core.hpp"
#include "ipcq/consumer.hpp"
#include "protocol/doorbell.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::detail {

class MessageWait {
 public:
  using Member = GroupMember<SharedAtomics>;
  using EarlyMember = GroupMember<SharedAtomics, PublishedView<SharedAtomics>>;

  // `member`: of the group that is waited for.
  MessageWait(SessionCore& session, const QueueMap& queue, const Member& member, const ConsumerOptions& options);

  // Calls attempt(), which takes from the ring as `member` does, until its outcome is another than none. Statuses:
  // ok, `taken` has the outcome; empty, timeout; full (no_entry); end; closed; peer_dead; interrupted. Adds to
  // `damaged` the damaged lines that attempts skipped. With `roused`: `timeout` before its time once that is true.
  template <class M, class Attempt>
  [[gnu::always_inline]] Status until_taken(const M& member, const Attempt& attempt, Deadline& deadline, Taken& taken,
                                            std::uint64_t& damaged,
                                            const std::atomic<bool>* roused = nullptr) noexcept {
    taken = attempt();
    // In line: the usual case, in which nothing is waited for.
    if (taken.outcome == TakeOutcome::taken) [[likely]] {
      if (taken.damaged != 0) [[unlikely]]
        damaged += taken.damaged;
      if (taken.freed_lines) announce_free_lines();
      return Status::ok;
    }
    // Copies in memory, so that what is copied stays in registers in the usual case.
    const Attempt again = attempt;
    Taken later = taken;
    const Status s = go_on_until_taken(member, again, deadline, later, damaged, roused);
    taken = later;
    return s;
  }

  // Before a batch is taken: waits until the last line that a producer has claimed, within `room`, is readable, where
  // no executor stands between. To take a producer's batch line by line would move every cache line to and fro between
  // the two. The wait is short, since that producer may be dead. Returns the ticket before which lines are expected to
  // be readable: a hint.
  std::uint64_t await_batch(const Member& member, std::size_t room) const noexcept;

  // Whether a receive would return another status than empty.
  bool has_news(const Member& member) const noexcept;

  // Whether a call that has nothing to deliver yet may try again: ok, or the status that it returns.
  Status go_on(Deadline& deadline) const noexcept;

  // After lines of the group are done with: wakes producers that wait for one, and members that wait for the end of the
  // stream, of which these were perhaps the last messages.
  [[gnu::always_inline]] void announce_free_lines() const noexcept {
    auto& control = queue_.control();
    publisher_fence();
    ring(control.space);
    if (control.end_ticket.load(std::memory_order_relaxed) != kNoTicket) ring(control.ready[group_]);
  }

 private:
  // How often a consumer that takes messages early checks for the end of the stream and for messages given back (ns).
  // Neither rings the bell `work`, on which it sleeps.
  static constexpr std::uint64_t kEarlyRound = 10'000'000;

  template <class M>
  bool is_at_end(const M& member) const noexcept;
  // The rest of until_taken(), after the first attempt.
  template <class M, class Attempt>
  [[gnu::noinline]] Status go_on_until_taken(const M& member, const Attempt& attempt, Deadline& deadline, Taken& taken,
                                             std::uint64_t& damaged, const std::atomic<bool>* roused) noexcept;

  SessionCore& session_;
  const QueueMap& queue_;
  const unsigned group_;
  const Wait wait_;
  const Until until_;
  // The end of a stream that was over when this consumer attached (its end_count) is not reported before this time
  // (ns).
  std::uint64_t grace_until_ = 0;
  std::uint64_t stale_end_ = 0;
};

template <class M>
bool MessageWait::is_at_end(const M& member) const noexcept {
  if (until_ == Until::forever) return false;
  const auto& control = queue_.control();
  // SYNC stream-end (acquire). Pairs with: announce_end.
  const std::uint64_t end = control.end_ticket.load(std::memory_order_acquire);
  if (end != kNoTicket && grace_until_ != 0) {
    // The stream was over when this consumer attached: a producer may open and begin the next one.
    const bool same = control.end_count.load(std::memory_order_relaxed) == stale_end_;
    if (same && now_ns() < grace_until_) return false;
  }
  return end != kNoTicket && end == member.next_ticket() && !member.others_have(end);
}

template <class M, class Attempt>
Status MessageWait::go_on_until_taken(const M& member, const Attempt& attempt, Deadline& deadline, Taken& taken,
                                      std::uint64_t& damaged, const std::atomic<bool>* roused) noexcept {
  constexpr bool kEarly = std::is_same_v<M, EarlyMember>;
  auto& control = queue_.control();
  for (bool first = true;; first = false) {
    if (!first) taken = attempt();
    damaged += taken.damaged;
    if (taken.freed_lines) announce_free_lines();
    if (taken.outcome == TakeOutcome::no_entry) {
      const Status s = session_.interruption(queue_).check();
      return s == Status::closed || s == Status::peer_dead ? s : Status::full;
    }
    if (taken.outcome != TakeOutcome::none) return Status::ok;
    if (is_at_end(member)) return Status::end;
    // Where shared words are damaged, ready() may hold each time and nothing can be taken.
    if (!first || !deadline.was_given_time()) {
      if (const Status s = go_on(deadline); s != Status::ok) return s;
    }
    // An early member waits until the next line is published. If it is already, it is an inline message, which the
    // member takes processed: then it waits for that.
    const auto& ring = queue_.ring();
    const std::uint64_t next = member.next_ticket();
    const bool published = kEarly && is_tagged(ring.in(next), ring.lap(next));
    const auto is_roused = [&] { return roused != nullptr && roused->load(std::memory_order_relaxed); };
    const auto ready = [&] {
      return member.has_work() || is_at_end(member) || is_roused() ||
             (kEarly && !published && is_tagged(ring.in(next), ring.lap(next)));
    };
    // Wakes when the grace ends, since a stream that was over before counts from then on.
    const std::uint64_t end = deadline.at_ns();
    const bool in_grace = grace_until_ != 0 && grace_until_ < end && now_ns() < grace_until_;
    std::uint64_t until = in_grace ? grace_until_ : end;
    if constexpr (kEarly) until = std::min(until, now_ns() + kEarlyRound);
    const Status s = wait_until(kEarly && !published ? control.work : control.ready[group_], wait_, until,
                                session_.interruption(queue_), ready, queue_.attendant());
    if (s != Status::ok && !(until < end && s == Status::timeout)) return s;
    if (is_roused()) return Status::timeout;
  }
}

}  // namespace ipcq::detail
