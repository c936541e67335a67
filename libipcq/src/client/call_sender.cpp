#include "client/call_sender.hpp"

#include <cstring>

namespace ipcq::detail {

Status CallSender::send(std::uint64_t id, std::span<const std::byte> bytes, bool in_slot, Deadline& deadline) noexcept {
  if (!in_slot && bytes.size() <= producer_.inline_bytes()) return send_inline(id, bytes, deadline);
  if (bytes.size() > producer_.slot_bytes()) return Status::too_large;
  auto loan = producer_.loan(deadline);
  if (!loan) return loan.status();
  std::memcpy(loan->bytes().data(), bytes.data(), bytes.size());
  return publish(id, *loan, bytes.size(), deadline);
}

Status CallSender::send_inline(std::uint64_t id, std::span<const std::byte> bytes, Deadline& deadline) noexcept {
  ProducerCore& p = producer_;
  if (p.is_unusable()) return Status::closed;
  PublishClaim c;
  if (const Status s = p.claim_one(deadline, c); s != Status::ok) return s;
  const auto length = static_cast<std::uint32_t>(bytes.size());
  if (c.groups != 0 && p.ring_.is_plain()) [[likely]] {
    p.ring_.usual_writer(p.client_).write(c.ticket, id, bytes.data(), length);
  } else {
    Descriptor d;
    d.kind = c.groups != 0 ? LineKind::inlined : LineKind::tombstone;
    d.length = length;
    d.producer = p.client_;
    d.sequence = id;
    p.ring_.write(c.ticket, d, bytes.data());
  }
  IPCQ_CRASH_POINT("publish.tagged");
  p.bytes_ += length;
  count(c.groups);
  return Status::ok;
}

Status CallSender::publish(std::uint64_t id, Loan& loan, std::size_t length, Deadline& deadline) noexcept {
  ProducerCore& p = producer_;
  if (p.is_unusable()) return Status::closed;  // another client may have the slot
  if (length > p.slot_bytes()) return Status::too_large;
  PublishClaim c;
  if (const Status s = p.claim_one(deadline, c); s != Status::ok) return s;
  Descriptor d;
  d.kind = LineKind::slot;
  d.flags = static_cast<std::uint8_t>(kPayloadReady | (p.pool_->on_device() ? kInMirror : 0));
  d.length = static_cast<std::uint32_t>(length);
  d.sequence = id;
  d.slot = loan.slot_;
  d.lease = loan.lease_;
  d.published_at_ns = now_ns();
  p.publish_line(c.ticket, c.groups, d);
  --p.loans_;
  loan.core_ = nullptr;
  loan = Loan();
  count(c.groups);
  return Status::ok;
}

void CallSender::count(std::uint8_t groups) noexcept {
  ++producer_.sequence_;  // the number of requests, which carry none
  producer_.after_publish(groups);
}

}  // namespace ipcq::detail
