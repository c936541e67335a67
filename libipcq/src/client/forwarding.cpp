#include "client/forwarding.hpp"

#include <cstring>

namespace ipcq::detail {
namespace {

constexpr std::uint64_t kForwardRound = 1'000'000;  // ns

}  // namespace

Status Forwarding::run() noexcept {
  if (reader_ == nullptr) return Status::not_held;
  if (to_.is_unusable() || reader_->is_unusable()) return Status::closed;
  if (ConsumerCore::is_record(message_)) return by_copy(deadline_);
  const Descriptor from = reader_->descriptor(message_);
  const bool shares_pool = reader_->pool().config().segment.generation == to_.pool_->config().segment.generation;
  return from.kind == LineKind::slot && shares_pool ? by_alias(from) : by_copy(deadline_);
}

Status Forwarding::by_copy(Deadline& deadline) noexcept {
  if (message_.bytes().size() != message_.length()) return Status::unreachable;
  const Status s =
      message_.metadata().empty() ? to_.send_any(message_.bytes(), deadline) : copy_with_metadata(deadline);
  return s == Status::ok ? message_.release() : s;
}

Status Forwarding::copy_with_metadata(Deadline& deadline) noexcept {
  if (message_.length() > to_.slot_bytes()) return Status::too_large;
  Result<Loan> loan = to_.loan(deadline);
  if (!loan) return loan.status();
  if (const Status s = loan->set_metadata(message_.metadata()); s != Status::ok) return s;
  std::memcpy(loan->bytes().data(), message_.bytes().data(), message_.length());
  return to_.publish(*loan, message_.length(), deadline);
}

Status Forwarding::by_alias(const Descriptor& from) noexcept {
  if (!is_sound(from, *to_.queue_, *to_.pool_)) return Status::not_held;  // the held entry is damaged
  const auto& pool = to_.pool_->pool();
  const SlotLoan parent = held_by(from);
  const bool waits = to_.backpressure_ != Backpressure::reject && deadline_.was_given_time();
  deadline_.start();
  SlotLoan alias;
  for (;;) {
    // Copied: a payload that a handler would change while other groups still read it, and one whose chain of aliases
    // has reached its limit, as of a message that is forwarded in a circle.
    const auto chain = pool.chain(parent.slot, parent.lease, reader_->group());
    const bool copy =
        (to_.queue_->changes_payloads() && !chain.sole_reader) || chain.depth + 1 >= Pool<SharedAtomics>::kMaxDepth;
    // In short rounds, since no bell is rung when the other groups have released the payload or an alias becomes free.
    Deadline round = waits ? deadline_.round(kForwardRound) : Deadline::none();
    Status s = Status::ok;
    if (copy) {
      s = by_copy(round);
      if (s == Status::ok || !message_) return s;
    } else {
      const auto try_alias = [&] {
        alias = pool.borrow_alias(to_.client_, to_.alias_hint_, parent, reader_->group());
        return alias.slot != kNone;
      };
      s = wait_until(to_.pool_->control().free, to_.wait_, round.at_ns(), to_.session_->interruption(*to_.queue_),
                     try_alias);
      if (s == Status::ok) break;
    }
    if (s != Status::timeout && s != Status::full) return s;
    if (!waits) return Status::full;
    if (deadline_.has_passed()) return Status::timeout;
  }
  IPCQ_CRASH_POINT("forward.alias_borrowed");
  PublishClaim c;
  if (const Status s = to_.claim_one(deadline_, c); s != Status::ok) {
    pool.give_back(alias, to_.client_);
    return s;
  }
  Descriptor d;
  d.kind = LineKind::slot;
  d.flags = kPayloadReady;
  d.length = from.length;
  d.slot = from.slot;
  d.lease = from.lease;
  d.alias = alias.slot;
  d.alias_lease = alias.lease;
  d.sequence = to_.sequence_++;
  d.published_at_ns = now_ns();
  to_.publish_line(c.ticket, c.groups, d);
  IPCQ_CRASH_POINT("forward.published");
  to_.after_publish(c.groups);
  if (c.groups == 0) return message_.release();
  return reader_->hand_over(message_) ? Status::ok : Status::not_held;
}

}  // namespace ipcq::detail
