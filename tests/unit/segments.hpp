// A pool and a queue in real shared memory, without a broker, for tests that build states by hand.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "protocol/doorbell.hpp"
#include "queue/queue_map.hpp"

namespace ipcq::detail {

struct Segments {
  explicit Segments(const QueueOptions& options, std::uint32_t slots = 4, std::size_t slot_bytes = 256)
      : Segments(options, options.handler.empty() ? QueueMap::Executed::none : QueueMap::Executed::by_host,
                 {.slots = slots, .size = slot_bytes}, nullptr) {}
  // `device`: the VRAM that the header of a pool with the backend "cuda" names.
  Segments(const QueueOptions& options, QueueMap::Executed executed, const PoolOptions& pool,
           const DeviceMemory* device) {
    static int count = 0;
    const std::string unique = std::to_string(getpid()) + "-" + std::to_string(++count);
    pool_owner = PoolMap::create("ipcq-test-pool-" + unique, "pool", pool, device, 1, {});
    queue_owner =
        QueueMap::create("ipcq-test-queue-" + unique, "queue", options, executed, pool_owner->config(), 2, {});
  }
  static QueueOptions small(std::size_t groups = 1) {
    QueueOptions o;
    o.lines = 4;
    o.endpoints = 4;
    o.held = 4;
    o.groups.clear();
    for (std::size_t g = 0; g < groups; ++g)
      o.groups.push_back({std::string("g").append(std::to_string(g)), GroupPolicy::must});
    return o;
  }

  QueueMap& queue() { return *queue_owner; }
  PoolMap& pool_map() { return *pool_owner; }
  const Ring<SharedAtomics>& ring() { return queue_owner->ring(); }
  const Pool<SharedAtomics>& pool() { return pool_owner->pool(); }
  QueueControl& control() { return queue_owner->control(); }
  Held& held(std::uint32_t i) { return queue_owner->held()[i]; }
  HeldWord held_word(std::uint32_t i) { return unpack_held(held(i).word.load(std::memory_order_acquire)); }
  bool is_bit_set(std::uint32_t slot) {
    const auto& c = pool_owner->config();
    auto* bits = reinterpret_cast<Word*>(pool_owner->segment().data() + c.free_bits_offset);
    return (bits[slot / 64].load(std::memory_order_relaxed) >> (slot % 64) & 1) != 0;
  }
  bool all_slots_free() {
    for (std::uint32_t i = 0; i < pool().slot_words(); ++i) {
      if (!pool().is_payload(i) && !pool().is_alias(i)) continue;
      if (pool().slot(i).state != SlotState::free || !is_bit_set(i)) return false;
    }
    return true;
  }

  PublishClaim claim(std::uint32_t client, std::uint32_t want = 1) {
    std::uint64_t limit = 0;
    return ring().claim_publish(client, want, limit);
  }
  static Descriptor inline_message(std::uint64_t sequence, std::uint32_t length = 0) {
    Descriptor d;
    d.kind = LineKind::inlined;
    d.sequence = sequence;
    d.length = length;
    return d;
  }
  static Descriptor slot_message(const SlotLoan& loan, std::uint64_t sequence) {
    Descriptor d;
    d.kind = LineKind::slot;
    d.flags = kPayloadReady;
    d.slot = loan.slot;
    d.lease = loan.lease;
    d.sequence = sequence;
    return d;
  }
  // Publishes one inline message, and returns its ticket; kNoTicket when the ring is full.
  std::uint64_t send(std::uint32_t client, std::uint64_t sequence) {
    const PublishClaim c = claim(client);
    if (c.outcome != ClaimOutcome::ok) return kNoTicket;
    ring().write(c.ticket, inline_message(sequence), nullptr);
    return c.ticket;
  }
  SlotLoan borrow(std::uint32_t client) {
    std::uint32_t hint = 0;
    return pool().borrow(client, hint);
  }
  SlotLoan send_slot(std::uint32_t client, std::uint64_t sequence) {
    const SlotLoan loan = borrow(client);
    const PublishClaim c = claim(client);
    pool().mark_message(loan, client, c.groups, c.ticket);
    ring().write(c.ticket, slot_message(loan, sequence), nullptr);
    return loan;
  }
  // Takes one message as member `client` of group `g` at endpoint `e`, and returns its held entry, or kNone.
  std::uint32_t take(unsigned g, std::uint32_t e, std::uint32_t client) {
    std::uint32_t entry = kNone;
    auto member = queue_owner->member(g, e, client);
    return member.take_one(entry).count == 1 ? entry : kNone;
  }
  bool release(unsigned g, std::uint32_t e, std::uint32_t client, std::uint32_t entry, std::uint32_t deliveries = 0) {
    bool freed = false;
    return queue_owner->member(g, e, client).release(entry, deliveries, pool(), freed);
  }
  // The sequence numbers of all that member 6 of group 0, the survivor, receives, in order.
  std::vector<std::uint64_t> receive_all() {
    std::vector<std::uint64_t> got;
    for (std::uint32_t e = take(0, 1, 6); e != kNone; e = take(0, 1, 6)) {
      got.push_back(held(e).descriptor.load().sequence);
      EXPECT_TRUE(release(0, 1, 6, e, held_word(e).deliveries));
    }
    return got;
  }
  // Sets the empty ring to `ticket`, as if that many messages had passed.
  void set_next(std::uint64_t ticket) {
    const Cursor v = ring().cursor(kProducers);
    control().cursor[kProducers].word.init(pack(Cursor{ticket, 0, 0, v.groups, false}));
    const std::uint64_t first = ticket > ring().lines() ? ticket - ring().lines() : 0;
    Descriptor tombstone;
    tombstone.kind = LineKind::tombstone;
    for (std::uint64_t t = first; t < ticket; ++t) ring().write(t, tombstone, nullptr);
    for (unsigned g = 0; g < kMaxGroups; ++g) {
      control().cursor[1 + g].word.init(pack(Cursor{ticket, 0, 0, 0, false}));
      for (std::uint64_t t = first; t < ticket; ++t) ring().finish(g, t, 1);
    }
  }

  std::unique_ptr<PoolMap> pool_owner;
  std::unique_ptr<QueueMap> queue_owner;
};

}  // namespace ipcq::detail
