#include "client/producer_core.hpp"

#include <cstring>
#include <exception>

#include "client/discard.hpp"
#include "client/unread_group.hpp"

namespace ipcq::detail {
ProducerCore::ProducerCore(std::shared_ptr<SessionCore> session, Attachment attachment, Wait wait)
    : keep_(std::move(session)),
      session_(keep_.get()),
      queue_(std::move(attachment.queue)),
      pool_(std::move(attachment.pool)),
      ring_(queue_->ring()),
      inline_bytes_(ring_.inline_bytes()),
      plain_end_(ring_.is_plain() ? inline_bytes_ + 1 : 0),
      client_(attachment.client),
      endpoint_(queue_->endpoint(attachment.endpoint)),
      bells_(*queue_, *pool_),
      wait_(wait),
      backpressure_(static_cast<Backpressure>(queue_->config().backpressure)),
      slots_(*pool_, client_, backpressure_, wait_),
      alias_hint_(attachment.client * kSlotsPerFreeWord),
      uses_cuda_(attachment.uses_cuda),
      exceptions_(std::uncaught_exceptions()) {}

ProducerCore::~ProducerCore() { close(false); }

void ProducerCore::close(bool broken_off) noexcept {
  if (closed_) return;
  if (device_side_) device_side_->close();
  closed_ = true;
  session_->detach(client_, broken_off || std::uncaught_exceptions() > exceptions_ ? std::uint32_t{kBrokenOff} : 0);
  keep_.reset();
}

void ProducerCore::warn_of_unread(bool for_slot) noexcept {
  try {
    const std::string warning = warning_of_unread(*queue_, for_slot);
    if (warning.empty()) return;
    warned_ = true;
    session_->log(LogLevel::warning, warning);
  } catch (const std::exception&) {  // no memory
  }
}

Status ProducerCore::claim(std::uint32_t want, Deadline& deadline, PublishClaim& claim) noexcept {
  if (!session_->connected()) {  // the broker is gone: no consumer would read the message
    return ring_.cursor(kProducers).closed ? Status::closed : Status::peer_dead;
  }
  claim = ring_.claim_publish(client_, want, limit_, back_off_);
  switch (claim.outcome) {
    case ClaimOutcome::ok:
      return Status::ok;
    case ClaimOutcome::closed:
      return Status::closed;
    case ClaimOutcome::full:
      break;
  }
  return claim_slow(want, deadline, claim);
}

Status ProducerCore::claim_one(Deadline& deadline, PublishClaim& c) noexcept {
  if (session_->connected()) {
    if (const std::uint64_t ticket = ring_.claim_next(mine_, limit_); ticket != kNoTicket) {
      c = {ticket, 1, static_cast<std::uint8_t>(CursorBits::Groups::get(mine_)), ClaimOutcome::ok, 0};
      return Status::ok;
    }
  }
  const Status s = claim(1, deadline, c);
  mine_ = s == Status::ok && c.groups != 0 ? ring_.mine_after_one(client_, c.groups) : kNever;
  return s;
}

Status ProducerCore::wait_for_room(bool for_slot, Deadline& deadline, const auto& try_now) noexcept {
  constexpr std::uint64_t kAWhile = 1'000'000'000;
  Doorbell& bell = for_slot ? pool_->control().free : queue_->control().space;
  const auto wait = [&](std::uint64_t until) {
    return wait_until(bell, wait_, until, session_->interruption(*queue_), try_now, queue_->attendant());
  };
  if (backpressure_ == Backpressure::reject || !deadline.was_given_time()) {
    const Status s = wait(0);
    return s == Status::timeout ? Status::full : s;
  }
  if (const std::uint64_t look = now_ns() + kAWhile; !warned_ && look < deadline.at_ns()) {
    if (const Status s = wait(look); s != Status::timeout) return s;
    warn_of_unread(for_slot);
  }
  return wait(deadline.at_ns());
}

Status ProducerCore::claim_slow(std::uint32_t want, Deadline& deadline, PublishClaim& claim) noexcept {
  const bool waits = backpressure_ != Backpressure::reject && deadline.was_given_time();
  // While it spins, it first waits, for 63 checks, until a quarter of the ring is free. To claim each line as soon as
  // it is free would have producer and consumer write the same cache lines alternately.
  const std::uint64_t quarter = ring_.lines() / 4;
  unsigned patience = !waits || wait_.kind() == Wait::Kind::sleep || quarter < 2 ? 0 : 63;
  const auto try_claim = [&] {
    if (patience > 0) {
      --patience;
      if (!ring_.is_free(claim.ticket + quarter - 1, ring_.live_groups())) return false;
    }
    do {
      claim = ring_.claim_publish(client_, want, limit_, back_off_);
      if (claim.outcome != ClaimOutcome::full) return true;
    } while (make_room(false));
    return false;
  };
  const Status s = wait_for_room(false, deadline, try_claim);
  return s == Status::ok && claim.outcome == ClaimOutcome::closed ? Status::closed : s;
}

Status ProducerCore::borrow(Deadline& deadline, SlotLoan& loan) noexcept {
  loan = slots_.borrow();
  return loan.slot != kNone ? Status::ok : borrow_slow(deadline, loan);
}

Status ProducerCore::borrow_slow(Deadline& deadline, SlotLoan& loan) noexcept {
  if (pool_->pool().payload_slots() == 0) return Status::too_large;
  if (deadline.was_given_time()) slots_.await_some(deadline);
  const auto try_borrow = [&] {
    do {
      loan = slots_.borrow();
      if (loan.slot != kNone) return true;
    } while (make_room(true));
    return false;
  };
  return wait_for_room(true, deadline, try_borrow);
}

bool ProducerCore::make_room(bool for_slot) noexcept { return discard_oldest(*queue_, *pool_, client_, for_slot); }

void ProducerCore::publish_line(std::uint64_t ticket, std::uint8_t groups, Descriptor& d) noexcept {
  d.producer = client_;
  bytes_ += d.length;
  const SlotLoan loan = held_by(d);
  if (groups == 0) {  // no group reads it: the slot goes back, unless a GPU may still write it
    if ((d.flags & kPayloadReady) != 0 && pool_->pool().give_back(loan, client_)) {
      publisher_fence();
      ring(pool_->control().free);
    }
    d.kind = LineKind::tombstone;
  } else {
    pool_->pool().mark_message(loan, client_, groups, ticket);
    IPCQ_CRASH_POINT("publish.slot_marked");
  }
  ring_.write(ticket, d, nullptr);
  IPCQ_CRASH_POINT("publish.tagged");
}

void ProducerCore::publish_inline_tagged(std::uint64_t ticket, std::uint8_t groups,
                                         std::span<const std::byte> bytes) noexcept {
  Descriptor d;
  d.kind = groups != 0 ? LineKind::inlined : LineKind::tombstone;
  d.length = static_cast<std::uint32_t>(bytes.size());
  d.producer = client_;
  d.sequence = sequence_++;
  bytes_ += d.length;
  ring_.write(ticket, d, bytes.data());
  IPCQ_CRASH_POINT("publish.tagged");
}

[[gnu::always_inline]] inline void ProducerCore::publish_inline(const PublishClaim& c,
                                                                const std::span<const std::byte>* batch) noexcept {
  const std::uint64_t end = c.ticket + c.count;
  const std::uint64_t limit = limit_;
  if (c.groups == 0 || !ring_.is_plain()) [[unlikely]] {
    for (std::uint64_t t = c.ticket; t != end; ++t) {
      ring_.usual_writer(client_).fetch_ahead(t, limit);
      publish_inline_tagged(t, c.groups, *batch++);
    }
    return;
  }
  const auto lines = ring_.usual_writer(client_);
  std::uint64_t sequence = sequence_;
  std::uint64_t length = 0;
  for (std::uint64_t t = c.ticket; t != end; ++t) {
    lines.fetch_ahead(t, limit);
    const std::span<const std::byte> bytes = *batch++;
    lines.write(t, sequence++, bytes.data(), static_cast<std::uint32_t>(bytes.size()));
    IPCQ_CRASH_POINT("publish.tagged");
    length += bytes.size();
  }
  sequence_ = sequence;
  bytes_ += length;
}

Status ProducerCore::send(std::span<const std::byte> bytes, Duration timeout) noexcept {
  // The usual case, without a call but the last: it saves no registers.
  if (bytes.size() <= kShortCopy && bytes.size() < plain_end_ && !is_unusable() && session_->connected()) [[likely]] {
    if (const std::uint64_t ticket = ring_.claim_next(mine_, limit_); ticket != kNoTicket) [[likely]] {
      ring_.usual_writer(client_).write(ticket, sequence_, bytes.data(), static_cast<std::uint32_t>(bytes.size()));
      IPCQ_CRASH_POINT("publish.tagged");
      ring_.usual_writer(client_).fetch_ahead(ticket, limit_);
      ++sequence_;
      bytes_ += bytes.size();
      show_counters();
      return bells_.ring(static_cast<std::uint8_t>(CursorBits::Groups::get(mine_)));
    }
  }
  return send_any_within(bytes, timeout);
}

Status ProducerCore::send_any_within(std::span<const std::byte> bytes, Duration timeout) noexcept {
  Deadline deadline(timeout);
  return send_any(bytes, deadline);
}

Status ProducerCore::send_any(std::span<const std::byte> bytes, Deadline& deadline) noexcept {
  if (bytes.size() > inline_bytes_) return send_in_slot(bytes, deadline);
  if (is_unusable()) return Status::closed;
  PublishClaim c;
  if (const Status s = claim_one(deadline, c); s != Status::ok) return s;
  publish_inline(c, &bytes);
  after_publish(c.groups);
  return Status::ok;
}

Status ProducerCore::send_in_slot(std::span<const std::byte> bytes, Deadline& deadline) noexcept {
  if (bytes.size() > slot_bytes()) return Status::too_large;
  if (!pool_->has_host_payloads()) return Status::unreachable;
  deadline.start();
  auto slot = loan(deadline);
  if (!slot) return slot.status();
  std::memcpy(slot->bytes().data(), bytes.data(), bytes.size());
  return publish(*slot, bytes.size(), deadline);
}

BatchResult ProducerCore::send_many(std::span<const std::span<const std::byte>> batch, Deadline& deadline,
                                    bool more) noexcept {
  if (packer_) [[unlikely]]
    return packer_->send(batch, deadline, more);
  BatchResult done;
  deadline.start();
  while (done.count < batch.size()) {
    if (batch[done.count].size() > inline_bytes_) {
      done.status = send_in_slot(batch[done.count], deadline);
      if (done.status != Status::ok) return done;
      ++done.count;
      continue;
    }
    if (is_unusable()) return {Status::closed, done.count};
    // A run of inline messages claims its tickets together.
    constexpr std::size_t kRun = 256;
    std::size_t run = 1;
    while (run < kRun && done.count + run < batch.size() && batch[done.count + run].size() <= inline_bytes_) ++run;
    PublishClaim c;
    done.status = claim(static_cast<std::uint32_t>(run), deadline, c);
    if (done.status != Status::ok) return done;
    publish_inline(c, &batch[done.count]);
    done.count += c.count;
    after_publish(c.groups);
  }
  return done;
}

Result<Loan> ProducerCore::loan(Deadline& deadline) noexcept {
  if (is_unusable()) return Status::closed;
  if (pool_->config().slots == 0) return Status::too_large;
  if (!pool_->has_host_payloads()) return Status::unreachable;  // slots without a mirror: ipcq::cuda reaches them
  SlotLoan s;
  if (const Status status = borrow(deadline, s); status != Status::ok) return status;
  Loan loan;
  loan.core_ = this;
  loan.data_ = pool_->payload(s.slot);
  loan.capacity_ = pool_->config().slot_bytes;
  loan.lease_ = s.lease;
  loan.slot_ = s.slot;
  ++loans_;
  return loan;
}

Status ProducerCore::publish(Loan& loan, std::size_t length, Deadline& deadline) noexcept {
  if (const Status s = publish_filled({loan.slot_, loan.lease_}, length, 0, deadline); s != Status::ok) return s;
  --loans_;
  loan.core_ = nullptr;
  loan = Loan();
  return Status::ok;
}

Status ProducerCore::publish_filled(const SlotLoan& slot, std::size_t length, std::uint8_t flags,
                                    Deadline& deadline) noexcept {
  if (is_unusable()) return Status::closed;  // another producer may have the slot
  // The repair of a producer that uses CUDA judges by this word whether a payload is complete.
  if (uses_cuda_) pool_->gpub(slot.slot).store(slot.lease, std::memory_order_release);
  const auto all = static_cast<std::uint8_t>(flags | kPayloadReady | (pool_->on_device() ? kInMirror : 0));
  bool kept = false;
  return publish_slot(slot, length, all, deadline, kept);
}

Status ProducerCore::publish_slot(const SlotLoan& loan, std::size_t length, std::uint8_t flags, Deadline& deadline,
                                  bool& kept) noexcept {
  if (is_unusable()) return Status::closed;
  if (length > slot_bytes()) return Status::too_large;
  PublishClaim c;
  if (const Status s = claim_one(deadline, c); s != Status::ok) return s;
  if (flags == kPayloadReady && c.groups != 0 && ring_.is_plain()) [[likely]] {
    pool_->pool().mark_message(loan, client_, c.groups, c.ticket);
    IPCQ_CRASH_POINT("publish.slot_marked");
    ring_.usual_writer(client_).write_slot(c.ticket, sequence_++,
                                           {.lease = loan.lease, .slot = loan.slot, .published_at_ns = now_ns()},
                                           static_cast<std::uint32_t>(length));
    IPCQ_CRASH_POINT("publish.tagged");
    ring_.usual_writer(client_).fetch_ahead(c.ticket, limit_);
    bytes_ += length;
    after_publish(c.groups);
    return Status::ok;
  }
  Descriptor d;
  d.kind = LineKind::slot;
  d.flags = flags;
  d.length = static_cast<std::uint32_t>(length);
  d.slot = loan.slot;
  d.lease = loan.lease;
  d.sequence = sequence_++;
  d.published_at_ns = now_ns();
  kept = c.groups == 0 && (flags & kPayloadReady) == 0;
  publish_line(c.ticket, c.groups, d);
  after_publish(c.groups);
  return Status::ok;
}

void ProducerCore::drop(Loan& loan) noexcept {
  --loans_;
  give_back({loan.slot_, loan.lease_});
}

void ProducerCore::give_back(const SlotLoan& loan) noexcept {
  if (!is_unusable() && pool_->pool().give_back(loan, client_)) {
    publisher_fence();
    ring(pool_->control().free);
  }
}

}  // namespace ipcq::detail

namespace ipcq {

Status Producer::send(std::span<const std::byte> bytes, Timeout timeout) noexcept {
  return core_ ? core_->send(bytes, timeout) : Status::closed;
}

}  // namespace ipcq
