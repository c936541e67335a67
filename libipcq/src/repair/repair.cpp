#include "repair/repair.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "protocol/calls.hpp"
#include "protocol/doorbell.hpp"
#include "protocol/published_view.hpp"
#include "repair/held_blocks.hpp"
#include "repair/membership.hpp"

namespace ipcq::detail {
namespace {

using Member = GroupMember<SharedAtomics>;

class Repair {
 public:
  Repair(const QueueMap& queue, const PoolMap& pool, const Ended& ended)
      : queue_(queue),
        map_(pool),
        pool_(pool.pool()),
        ring_(queue.ring()),
        client_(ended.client),
        is_producer_(ended.kind == EndpointKind::producer),
        discards_(is_producer_ && !queue.handler_answers()),
        uses_cuda_(ended.uses_cuda),
        alive_(ended.alive),
        gpu_may_live_on_(ended.alive || ended.gpu_may_outlive),
        endpoint_(ended.endpoint),
        blocks_(ended.blocks),
        homes_(ended.homes),
        own_block_(queue.held_block(ended.endpoint)) {}

  RepairReport run_late() {
    settle_gpu_writes();
    pool_.restore_free_bits();
    return std::move(report_);
  }
  RepairReport run() {
    note_last_claims();
    publish_tombstones();
    if (uses_cuda_ && is_producer_) settle_gpu_writes();
    free_slots();
    finish_aliases();
    for (unsigned g = 0; g < kMaxGroups; ++g) settle_taken(g);
    settle_held();
    if (is_producer_) close_calls();
    pool_.restore_free_bits();
    return std::move(report_);
  }

 private:
  // Copies the cursors' records of its last claims to the owner logs, which the next steps search.
  void note_last_claims() {
    for (unsigned c = 0; c < kCursors; ++c) {
      // help() stops when the cursor has changed. If another client has claimed, that client has helped. If the broker
      // has changed the set of groups, the claim is still this client's: help again.
      for (Cursor v = ring_.stable_cursor(c); v.client == client_;) {
        ring_.help(c, v);
        const Cursor now = ring_.stable_cursor(c);
        if (now == v) break;
        v = now;
      }
    }
  }

  static bool is_open(OwnState s) { return s == OwnState::taken || s == OwnState::reading; }
  template <class Visit>
  void for_each_taken(unsigned c, Visit visit) {
    for (std::uint64_t i = 0; i < ring_.lines(); ++i) {
      auto& entry = ring_.own(c, i);
      const std::uint64_t e = entry.load(std::memory_order_acquire);
      if (own_client(e) != client_ || !is_open(own_state(e)) || own_lap(e) == 0) continue;
      visit(entry, e, (own_lap(e) - 1) * ring_.lines() + i);
    }
  }

  // Publishes a tombstone for each ticket that it claimed and did not publish, so that readers can pass.
  void publish_tombstones() {
    for_each_taken(kProducers, [&](Word& entry, std::uint64_t e, std::uint64_t ticket) {
      if (!ring_.was_published(ticket)) {
        Descriptor d;
        d.kind = LineKind::tombstone;
        d.producer = client_;
        ring_.write(ticket, d, nullptr);
        report_.tombstones.push_back(ticket);
      }
      entry.cas(e, pack_own(own_lap(e), OwnState::done, client_), std::memory_order_acq_rel);
    });
  }

  // Slots whose payload its streams have not completed. If its GPU work may still run, the slots go into quarantine and
  // are not lent again. If its process is dead, published payloads are buried, so that no reader waits for them; if it
  // is alive, they will still be completed.
  void settle_gpu_writes() {
    for (std::uint32_t i = 0; i < pool_.payload_slots(); ++i) {
      while (!settle_gpu_write(i)) {
      }
    }
  }
  // False: the word has changed since it was loaded, call again.
  bool settle_gpu_write(std::uint32_t i) {
    const Slot s = pool_.slot(i);
    const bool message = s.state == SlotState::message && map_.on_device();  // in host memory a message is complete
    if (s.client != client_ || (!message && !is_gpu_loan(s))) return true;
    // Buried, by the client or by this repair: readers skip the message and release nothing.
    if (message && map_.tomb(i).load(std::memory_order_acquire) >= s.lease) return pool_.make_free(i, s);
    const bool gpub_tells = message || writer_of(s) != LoanWriter::gpu_again;
    if (gpub_tells && map_.gpub(i).load(std::memory_order_acquire) >= s.lease) return true;
    if (message && alive_) {
      ++report_.late;
      return true;
    }
    if (!gpu_may_live_on_) {
      if (!message) return true;  // a loan: free_slots() frees it
      if (bury_payload(map_, i, s.lease)) ++report_.unwritten;
      return false;
    }
    // Quarantined before it is buried: while the GPU may still write the slot, it must not be lent again.
    if (!pool_.quarantine(i, s)) return false;
    ++report_.quarantined;
    if (message && bury_payload(map_, i, s.lease)) ++report_.unwritten;
    return true;
  }

  // Frees its loans, and the slots marked for a ticket that was never published. An alias among them is freed without
  // clearing its parent's bit, because the message that was to be forwarded is still held.
  void free_slots() {
    for (std::uint32_t i = 0; i < pool_.slot_words(); ++i) {
      if (!pool_.is_payload(i) && !pool_.is_alias(i)) continue;
      const Slot s = pool_.slot(i);
      if (s.client != client_) continue;
      const bool unpublished = s.state == SlotState::message &&
                               std::any_of(report_.tombstones.begin(), report_.tombstones.end(),
                                           [&](std::uint64_t t) { return static_cast<std::uint32_t>(t) == s.ticket; });
      if ((s.state == SlotState::loan || unpublished) && pool_.make_free(i, s)) ++report_.loans;
    }
  }

  // Aliases whose last reader died before it cleared the parent's bit.
  void finish_aliases() {
    for (std::uint32_t i = 0; i < pool_.slot_words(); ++i) {
      if (!pool_.is_alias(i)) continue;
      const Slot s = pool_.slot(i);
      if (s.state == SlotState::message && s.groups == 0) {
        pool_.finish_alias(i);
        ++report_.finished;
      }
    }
  }

  // Tickets of a group that it claimed and did not finish. A member's message goes to a held entry, as an orphan. A
  // producer was discarding the message, which is completed.
  void settle_taken(unsigned g) {
    const std::uint64_t shown = shown_last(g);
    for_each_taken(1 + g, [&](Word&, std::uint64_t, std::uint64_t ticket) {
      Descriptor d;
      InlineData data;
      LineRead read = ring_.read(ticket, d, data.bytes);
      // It took the ticket early, for a stream, and the executor is not done: the next taker will wait for that.
      if (read == LineRead::absent && !discards_) {
        read = PublishedView<SharedAtomics>(ring_).read(ticket, d, data.bytes);
      }
      if (read == LineRead::present && carries_message(d) && !is_held(g, ticket)) {
        if (discards_) {
          if (d.kind == LineKind::slot) Member::release_slot(d, pool_, g);
          queue_.control().group[g].dropped.fetch_add(1, std::memory_order_relaxed);
          ++report_.finished;
        } else {
          make_orphan(g, ticket, d, data.bytes, ticket == shown ? 1 : 0);
        }
      }
      ring_.finish(g, ticket, client_);
    });
  }

  // The ticket whose message its user may have seen in the line: a member reads a claim in order and finishes each
  // message before the next.
  std::uint64_t shown_last(unsigned g) {
    std::uint64_t first = kNoTicket;
    for_each_taken(1 + g, [&](Word&, std::uint64_t e, std::uint64_t ticket) {
      if (own_state(e) == OwnState::reading) first = std::min(first, ticket);
    });
    return first;
  }

  bool is_held(unsigned g, std::uint64_t ticket) const {
    for (const Held& h : own_block_) {
      const HeldWord w = unpack_held(h.word.load(std::memory_order_acquire));
      if (w.state != HeldState::free && w.group == g && h.ticket.load(std::memory_order_relaxed) == ticket) return true;
    }
    return false;
  }

  void make_orphan(unsigned g, std::uint64_t ticket, const Descriptor& d, const std::byte* data,
                   std::uint32_t deliveries) {
    for (Held& h : own_block_) {
      if (h.word.load(std::memory_order_acquire) != 0) continue;
      h.descriptor.store(d);
      if (d.kind == LineKind::inlined) std::memcpy(h.data.edit(), data, d.length);
      h.ticket.store(ticket, std::memory_order_relaxed);
      orphan(h, 0, g, deliveries);
      return;
    }
    Descriptor lost = d;
    if (queue_.takes_calls()) (void)settle_call(lost, data, {}, false);
    if (d.kind == LineKind::slot) Member::release_slot(d, pool_, g);
    ++report_.lost;
  }

  // Makes the entry an orphan. False if its word is not `seen` any more: after a close, another thread of the process
  // may be releasing the message.
  bool orphan(Held& h, std::uint64_t seen, unsigned g, std::uint32_t deliveries) {
    if (!h.word.cas(seen, pack(HeldWord{HeldState::orphan, 0, g, deliveries}), std::memory_order_acq_rel)) return false;
    queue_.control().group[g].orphans.fetch_add(kOneGivenBack, std::memory_order_acq_rel);
    ++report_.orphans;
    return true;
  }

  // Entries that it holds, of its own block or taken over from others.
  void settle_held() {
    (void)for_each_held(queue_, blocks_, [this](Held& h) {
      while (!settle_entry(h)) {
      }
      return true;
    });
    // It may have died after it made an entry an orphan and before it counted that: have the members search once.
    for (unsigned g = 0; g < kMaxGroups; ++g) {
      queue_.control().group[g].orphans.fetch_add(kOneGivenBack, std::memory_order_acq_rel);
    }
  }

  // Calls of a client that has ended: whoever answers one finds nobody.
  void close_calls() {
    const std::uint32_t n = queue_.config().calls_per_endpoint;
    for (std::uint32_t i = endpoint_ * n; i != (endpoint_ + 1) * n; ++i) {
      const CallerSide<SharedAtomics> call(queue_.calls()[i]);
      if (call.look().state == CallState::free) continue;
      (void)call.close([this](const SlotLoan& s) { (void)pool_.release(s.slot, s.lease, kServers); });
      ++report_.finished;
    }
  }
  AnswerSide<SharedAtomics>::After settle_call(Descriptor& d, const std::byte* data, const Onward& onward,
                                               bool may_give_back) {
    return settle_request({queue_, map_, homes_, client_}, d, data, onward, may_give_back);
  }

  // False: the entry has changed since it was loaded, call again.
  bool settle_entry(Held& h) {
    const std::uint64_t seen = h.word.load(std::memory_order_acquire);
    const HeldWord w = unpack_held(seen);
    if (w.client != client_ || w.state == HeldState::free || w.state == HeldState::orphan) return true;
    const Descriptor d = h.descriptor.load();
    if (w.state == HeldState::releasing) {
      Member::release_slot(d, pool_, w.group);
    } else if (queue_.takes_calls()) {
      Descriptor now = d;
      const auto& words = h.descriptor.word;
      const Onward onward{words[5].load(std::memory_order_relaxed), words[6].load(std::memory_order_relaxed)};
      const auto after = settle_call(now, h.data.view(), onward, true);
      if (after == AnswerSide<SharedAtomics>::After::give_back) {
        h.descriptor.store(now);
        return orphan(h, seen, w.group, std::min(w.deliveries + 1, kMaxDeliveries));
      }
      // The lease says whether the slot still is this message's.
      if (after == AnswerSide<SharedAtomics>::After::release && d.kind == LineKind::slot) {
        Member::release_slot(d, pool_, w.group);
      }
    } else if (d.kind != LineKind::slot || !is_forwarded(d, w.group)) {
      return orphan(h, seen, w.group, std::min(w.deliveries + 1, kMaxDeliveries));
    }
    if (!h.word.cas(seen, 0, std::memory_order_acq_rel)) return false;
    ++report_.finished;
    return true;
  }

  // The bits that published aliases will clear, as (parent and group, lease), sorted. Computed once: the ended endpoint
  // held these messages, and only a holder forwards.
  const std::vector<std::pair<std::uint64_t, std::uint64_t>>& forwarded() {
    if (forwarded_) return *forwarded_;
    auto& all = forwarded_.emplace();
    for (std::uint32_t i = 0; i < pool_.slot_words(); ++i) {
      Pool<SharedAtomics>::ParentBit bit;
      if (pool_.is_alias(i) && pool_.parent_bit(i, bit)) all.emplace_back(bit.where, bit.lease);
    }
    std::sort(all.begin(), all.end());
    return all;
  }

  // Whether a published alias has taken over the group's bit: one refers to it, or has cleared it already.
  bool is_forwarded(const Descriptor& d, unsigned g) {
    const auto [target, lease] = held_by(d);
    if (!pool_.is_payload(target) && !pool_.is_alias(target)) return false;
    const std::pair bit{pack_parent(target, g), lease};
    if (std::binary_search(forwarded().begin(), forwarded().end(), bit)) return true;
    // Loaded after the aliases: the last reader of an alias clears the parent's bit before it frees the alias.
    return !pool_.is_reading(target, lease, g);
  }

  const QueueMap& queue_;
  const PoolMap& map_;
  const Pool<SharedAtomics>& pool_;
  const Ring<SharedAtomics>& ring_;
  const std::uint32_t client_;
  const bool is_producer_;
  const bool discards_;  // what it takes of a group; else it is given to whoever the message is for
  const bool uses_cuda_;
  const bool alive_;
  const bool gpu_may_live_on_;
  const std::uint32_t endpoint_;
  const std::vector<std::uint32_t>* const blocks_;
  const CallHomes* const homes_;
  const HeldEntries<SharedAtomics> own_block_;  // of the ended endpoint
  std::optional<std::vector<std::pair<std::uint64_t, std::uint64_t>>> forwarded_;
  RepairReport report_;
};

}  // namespace

RepairReport repair_endpoint(const QueueMap& queue, const PoolMap& pool, const Ended& ended) {
  RepairReport report = Repair(queue, pool, ended).run();
  // Needed also when nothing was repaired: the client may have died between incrementing a bell and waking its
  // sleepers.
  wake_everybody(queue, pool);
  return report;
}

RepairReport repair_late_writes(const QueueMap& queue, const PoolMap& pool, const Ended& ended) {
  RepairReport report = Repair(queue, pool, ended).run_late();
  wake_everybody(queue, pool);
  return report;
}

std::uint64_t end_quarantine(const PoolMap& pool, std::uint32_t client) {
  std::uint64_t n = 0;
  for (std::uint32_t i = 0; i < pool.pool().payload_slots(); ++i) n += pool.pool().end_quarantine(i, client) ? 1 : 0;
  if (n != 0) ring_always(pool.control().free);
  return n;
}

}  // namespace ipcq::detail
