// A device pool and a device queue without a GPU: the words are in shared memory, and no code uses the device. Tests
// write by hand what the producers' streams and the executor would write.
#pragma once

#include <gtest/gtest.h>

#include "segments.hpp"

namespace ipcq::detail {

struct DeviceSegments : Segments {
  explicit DeviceSegments(QueueMap::Executed executed, const QueueOptions& options = small(), std::uint32_t slots = 4)
      : Segments(options, executed, {.slots = slots, .size = 256, .backend = "cuda", .mirror = mirror_of(executed)},
                 &kNowhere) {}

  // Borrows a slot that a stream of the client may write.
  SlotLoan borrow_for_gpu(std::uint32_t client, LoanWriter writer = LoanWriter::gpu) {
    const SlotLoan loan = borrow(client);
    if (loan.slot != kNone) pool().mark_for_gpu(loan, client, writer);
    return loan;
  }
  // Claims a ticket, marks the loan as its message, and returns the ticket.
  std::uint64_t mark(const SlotLoan& loan, std::uint32_t client) {
    const PublishClaim c = claim(client);
    EXPECT_EQ(c.outcome, ClaimOutcome::ok);
    pool().mark_message(loan, client, c.groups, c.ticket);
    return c.ticket;
  }
  // Publishes a message that the client's stream has still to write.
  SlotLoan send_late(std::uint32_t client, std::uint64_t sequence) {
    const SlotLoan loan = borrow_for_gpu(client);
    const std::uint64_t ticket = mark(loan, client);
    Descriptor d = slot_message(loan, sequence);
    d.flags = 0;
    ring().write(ticket, d, nullptr);
    return loan;
  }
  // As the stream does when the payload is complete.
  void write(const SlotLoan& loan) { gpub(loan.slot).store(loan.lease, std::memory_order_release); }
  // Writes `out` as the executor does: the message of `in`, or a tombstone.
  void process(std::uint64_t ticket, bool tombstone = false) {
    Descriptor d;
    InlineData data;
    ASSERT_EQ(ring().read_in(ticket, d, data.bytes), LineRead::present);
    if (tombstone) d.kind = LineKind::tombstone;
    if (d.kind == LineKind::slot) d.flags = kPayloadReady | kInMirror;
    ring().write_out(ticket, d, data.bytes);
  }
  // As take(), for a message that the executor has not processed.
  std::uint32_t take_early(unsigned g, std::uint32_t e, std::uint32_t client) {
    std::uint32_t entry = kNone;
    auto member = queue().published_member(g, e, client);
    return member.take_one(entry).count == 1 ? entry : kNone;
  }

  Word& gpub(std::uint32_t slot) { return pool_map().gpub(slot); }
  std::uint64_t written(std::uint32_t slot) { return gpub(slot).load(std::memory_order_acquire); }
  std::uint64_t buried(std::uint32_t slot) { return pool_map().tomb(slot).load(std::memory_order_acquire); }
  SlotState state(std::uint32_t slot) { return pool().slot(slot).state; }

 private:
  static constexpr DeviceMemory kNowhere{};
  // No mirror without an executor, which is what copies payloads there.
  static Mirror mirror_of(QueueMap::Executed executed) {
    return executed == QueueMap::Executed::none ? Mirror::none : Mirror::full;
  }
};

}  // namespace ipcq::detail
