// Forwarding: a received message moves on to another queue, within its pool without a copy. docs/design/ring.md,
// "Forward".
#include "client/consumer_core.hpp"
#include "client/producer_core.hpp"

namespace ipcq::detail {
namespace {

constexpr std::uint64_t kForwardRound = 1'000'000;  // ns

}  // namespace

Status ProducerCore::forward(Message& message, Deadline& deadline) noexcept {
  ConsumerCore* const reader = message.m_.core;
  if (reader == nullptr) return Status::not_held;
  if (is_unusable() || reader->is_unusable()) return Status::closed;
  const Descriptor from = reader->descriptor(message);
  const bool shares_pool = reader->pool().config().segment.generation == pool_->config().segment.generation;
  if (from.kind == LineKind::slot && shares_pool) return forward_slot(message, from, *reader, deadline);
  return forward_copy(message, deadline);
}

Status ProducerCore::forward_copy(Message& message, Deadline& deadline) noexcept {
  if (message.bytes().size() != message.length()) return Status::unreachable;
  if (const Status s = send(message.bytes(), deadline); s != Status::ok) return s;
  return message.release();
}

Status ProducerCore::forward_slot(Message& message, const Descriptor& from, const ConsumerCore& reader,
                                  Deadline& deadline) noexcept {
  if (!is_sound(from, *pool_)) return Status::not_held;  // the held entry is damaged
  const SlotLoan parent = held_by(from);
  const bool waits = backpressure_ != Backpressure::reject && deadline.was_given_time();
  deadline.start();
  SlotLoan alias;
  for (;;) {
    // Copied: a payload that a handler would change while other groups still read it, and one whose chain of aliases
    // has reached its limit, as of a message that is forwarded in a circle.
    const auto chain = pool_->pool().chain(parent.slot, parent.lease, reader.group());
    const bool copy =
        (queue_->changes_payloads() && !chain.sole_reader) || chain.depth + 1 >= Pool<SharedAtomics>::kMaxDepth;
    // In short rounds, since no bell is rung when the other groups have released the payload or an alias becomes free.
    Deadline round = waits ? deadline.round(kForwardRound) : Deadline::none();
    Status s = Status::ok;
    if (copy) {
      s = forward_copy(message, round);
      if (s == Status::ok || !message) return s;
    } else {
      const auto try_alias = [&] {
        alias = pool_->pool().borrow_alias(client_, alias_hint_, parent, reader.group());
        return alias.slot != kNone;
      };
      s = wait_until(pool_->control().free, wait_, round.at_ns(), session_->interruption(*queue_), try_alias);
      if (s == Status::ok) break;
    }
    if (s != Status::timeout && s != Status::full) return s;
    if (!waits) return Status::full;
    if (deadline.has_passed()) return Status::timeout;
  }
  IPCQ_CRASH_POINT("forward.alias_borrowed");
  PublishClaim c;
  if (const Status s = claim(1, deadline, c); s != Status::ok) {
    pool_->pool().give_back(alias, client_);
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
  d.published_at_ns = now_ns();
  publish_line(c.ticket, c.groups, d, nullptr);
  IPCQ_CRASH_POINT("forward.published");
  after_publish(c.groups);
  if (c.groups == 0) return message.release();
  return message.m_.core->hand_over(message) ? Status::ok : Status::not_held;
}

}  // namespace ipcq::detail
