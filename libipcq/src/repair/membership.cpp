#include "repair/membership.hpp"

#include "protocol/doorbell.hpp"
#include "protocol/group_set.hpp"
#include "protocol/published_view.hpp"
#include "repair/held_blocks.hpp"

namespace ipcq::detail {

std::uint64_t join_group(const QueueMap& queue, unsigned g) {
  auto& control = queue.control();
  control.group[g].dropped.store(0, std::memory_order_relaxed);
  control.group[g].orphans.store(0, std::memory_order_relaxed);
  const std::uint64_t at = join_set(queue.ring(), g, [&](std::uint64_t ticket) {
    control.group[g].joined_at.store(ticket, std::memory_order_relaxed);
  });
  ring_always(control.space);  // a producer may have checked lines while the group was live and its log incomplete
  return at;
}

std::uint64_t leave_group(const QueueMap& queue, unsigned g) { return leave_set(queue.ring(), g); }

bool drain_left_group(const QueueMap& queue, const PoolMap& pool, unsigned g, std::uint64_t end,
                      const std::vector<std::uint32_t>* blocks) {
  const auto& ring = queue.ring();
  const auto wake_producers = [&] {
    ring_always(queue.control().space);
    ring_always(pool.control().free);
  };
  // Whether no GPU writes the payload of the ticket any more.
  const auto is_complete = [&](std::uint64_t ticket) {
    if (!pool.on_device() || ring.has_handler()) return true;
    Descriptor d;
    return ring.look(ticket, d) != LineRead::present || is_written(d, pool);
  };
  if (!discard_untaken(ring, pool.pool(), g, end, is_complete)) {
    wake_producers();
    return false;
  }
  const bool all_gone = for_each_held(queue, blocks, [&](Held& h) {
    const HeldWord word = unpack_held(h.word.load(std::memory_order_acquire));
    if (word.state == HeldState::free || word.group != g) return true;
    const Descriptor d = h.descriptor.load();
    // A slot whose payload is not complete still has a writer, and must not be freed.
    const std::uint64_t ticket = h.ticket.load(std::memory_order_relaxed);
    const bool early = d.kind == LineKind::slot && (d.flags & kBeforeExecutor) != 0;
    if (early ? !PublishedView<SharedAtomics>(ring).is_processed(ticket) : pool.on_device() && !is_written(d, pool)) {
      return false;
    }
    if (d.kind == LineKind::slot) GroupMember<SharedAtomics>::release_slot(d, pool.pool(), g);
    h.word.store(0, std::memory_order_release);
    return true;
  });
  if (!all_gone) {
    wake_producers();
    return false;
  }
  ring.clear_live(g);
  wake_producers();
  return true;
}

std::uint64_t close_intake(const QueueMap& queue) {
  const auto& ring = queue.ring();
  for (;;) {
    const Cursor v = ring.stable_cursor(kProducers);
    if (v.closed) return v.next;
    Cursor to = v;
    to.closed = true;
    if (ring.swap_cursor(kProducers, v, to)) break;
  }
  ring_always(queue.control().space);
  return ring.cursor(kProducers).next;
}

void open_intake(const QueueMap& queue) {
  const auto& ring = queue.ring();
  for (;;) {
    const Cursor v = ring.stable_cursor(kProducers);
    Cursor to = v;
    to.closed = false;
    if (!v.closed || ring.swap_cursor(kProducers, v, to)) return;
  }
}

void pause_group(const QueueMap& queue, unsigned g, bool paused) {
  (void)pause_in_set(queue.ring(), g, paused);
  if (!paused) ring_always(queue.control().ready[g]);
}

std::uint64_t close_group(const QueueMap& queue, unsigned g) {
  const auto& ring = queue.ring();
  for (;;) {
    const Cursor v = ring.stable_cursor(1 + g);
    if (v.closed) return v.next;
    Cursor to = v;  // keeps the last taker, whose claim may have no log entry yet
    to.closed = true;
    if (ring.swap_cursor(1 + g, v, to)) return v.next;
  }
}

namespace {

void count_being_read(const QueueMap& queue, HeldCounts& n) {
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    for_each_being_read(queue.ring(), g, [&](std::uint64_t, std::uint32_t) { ++n.held[g]; });
  }
}

}  // namespace

HeldCounts withdraw_given_back(const QueueMap& queue, const std::vector<std::uint32_t>& blocks) {
  HeldCounts n;
  (void)for_each_held(queue, &blocks, [&](Held& h) {
    std::uint64_t seen = h.word.load(std::memory_order_acquire);
    HeldWord w = unpack_held(seen);
    while (w.state == HeldState::orphan) {
      HeldWord mine = w;
      mine.state = HeldState::held;
      mine.client = kBrokerClient;
      if (h.word.cas(seen, pack(mine), std::memory_order_acq_rel)) {
        ++n.given_back[w.group];
        return true;
      }
      seen = h.word.load(std::memory_order_acquire);
      w = unpack_held(seen);
    }
    if (w.state != HeldState::free) ++n.held[w.group];
    return true;
  });
  count_being_read(queue, n);
  return n;
}

HeldCounts count_held(const QueueMap& queue, const std::vector<std::uint32_t>& blocks) {
  HeldCounts n;
  (void)for_each_held(queue, &blocks, [&](const Held& h) {
    const HeldWord w = unpack_held(h.word.load(std::memory_order_acquire));
    if (w.state != HeldState::free) ++(w.state == HeldState::orphan ? n.given_back : n.held)[w.group];
    return true;
  });
  count_being_read(queue, n);
  return n;
}

void release_late_payloads(const QueueMap& queue, const PoolMap& pool) {
  if (!pool.on_device()) return;
  const auto& ring = queue.ring();
  const std::uint64_t next = ring.cursor(kProducers).next;
  for (std::uint64_t t = ring.oldest(next); t < next; ++t) {
    Descriptor d;
    if (ring.look_in(t, d) != LineRead::present) continue;
    if (d.kind == LineKind::slot && (d.flags & kPayloadReady) == 0) bury_payload(pool, d.slot, d.lease);
  }
}

bool bury_payload(const PoolMap& pool, std::uint32_t slot, std::uint64_t lease) {
  if (!pool.pool().is_payload(slot) || pool.gpub(slot).load(std::memory_order_acquire) >= lease) return false;
  pool.tomb(slot).store(lease, std::memory_order_relaxed);
  // SYNC gpub (release, system): the tomb before gpub. Pairs with: dispatch_ready, the readers' streams.
  pool.gpub(slot).store(lease, std::memory_order_release);
  return true;
}

namespace {

bool is_endpoint(const QueueMap& queue, std::uint32_t client) {
  for (std::uint32_t e = 0; e < queue.config().endpoints; ++e) {
    if (queue.endpoint(e).client.load(std::memory_order_acquire) == client) return client != 0;
  }
  return false;
}

bool is_published(const Ring<SharedAtomics>& ring, const Slot& message) {
  const std::uint64_t next = ring.cursor(kProducers).next;
  const std::uint64_t ticket = next - static_cast<std::uint32_t>(static_cast<std::uint32_t>(next) - message.ticket);
  return ring.was_published(ticket);
}

// Buries the payloads that producers may publish after their claim: such a line may still appear in `in`, and a stream
// may take it early.
void bury_unpublished(const QueueMap& queue, const PoolMap& pool) {
  for (std::uint32_t i = 0; i < pool.pool().payload_slots(); ++i) {
    const Slot s = pool.pool().slot(i);
    const bool unpublished =
        s.state == SlotState::loan || (s.state == SlotState::message && !is_published(queue.ring(), s));
    if (unpublished && is_endpoint(queue, s.client)) pool.tomb(i).store(s.lease, std::memory_order_release);
  }
}

}  // namespace

void bury_unprocessed(const QueueMap& queue, const PoolMap& pool) {
  const auto& ring = queue.ring();
  if (!ring.has_handler()) return;
  if (pool.on_device()) bury_unpublished(queue, pool);
  const std::uint64_t next = ring.cursor(kProducers).next;
  for (std::uint64_t t = ring.oldest(next); t < next; ++t) {
    if (ring.readable(t)) continue;
    // Streams that took the message early wait for the tag of `out` and check the tomb after it.
    Descriptor d;
    if (ring.look_in(t, d) == LineRead::present && is_sound(d, queue, pool) && d.kind == LineKind::slot) {
      pool.tomb(d.slot).store(d.lease, std::memory_order_release);
    }
    Descriptor tombstone;
    tombstone.kind = LineKind::tombstone;
    ring.write_out(t, tombstone, nullptr);
  }
}

}  // namespace ipcq::detail
