#include "repair/call_homes.hpp"

#include <cstring>

#include "protocol/calls.hpp"
#include "repair/held_blocks.hpp"

namespace ipcq::detail {

bool read_forwarded(const PoolMap& pool, const Descriptor& d, const std::byte* data, ForwardedCall& call) noexcept {
  if (d.length < sizeof call) return false;
  if (d.kind == LineKind::slot) {
    if (!is_sound_in_slot(d.slot, d.alias, d.length, pool) || !pool.has_host_payloads()) return false;
    data = pool.payload(d.slot);
  }
  std::memcpy(&call, data, sizeof call);
  return true;
}

bool settle_forwarded(const CallHomes& homes, const ForwardedCall& call, std::uint64_t id, std::uint32_t who,
                      bool may_give_back) noexcept {
  using Side = AnswerSide<SharedAtomics>;
  const auto home = homes.find(call.home);
  if (!home || !home->queue->has_call(id)) return false;
  const SlotLoan own{call.slot, call.lease};
  const Side side(home->queue->call(id), call_number(id), who);
  const auto after = side.finish(Side::kDied, may_give_back && home->queue->redelivers_calls(), own);
  wake_caller(*home->queue, id);
  if (after == Side::After::release && home->pool->pool().is_payload(own.slot) &&
      home->pool->pool().release(own.slot, own.lease, kServers)) {
    ring_always(home->pool->control().free);
  }
  return after == Side::After::give_back;
}

namespace {

// Of a call that its holder, `who`, may have given its next number, and whose request has not gone on.
std::uint64_t id_now(const QueueMap& home, std::uint64_t id, std::uint32_t who) noexcept {
  if (!home.has_call(id)) return id;
  const std::uint64_t next = id_passed_on(id);
  const CallWord w = CallerSide<SharedAtomics>(home.call(id)).look();
  return w.state == CallState::open && w.number == call_number(next) && w.client == who ? next : id;
}

}  // namespace

AnswerSide<SharedAtomics>::After settle_request(const HeldBy& by, Descriptor& d, const std::byte* data,
                                                const Onward& onward, bool may_give_back) noexcept {
  using After = AnswerSide<SharedAtomics>::After;
  const bool was_passing_on = (d.schema & kPassedOn) != 0;
  const bool has_gone_on =
      was_passing_on && by.homes != nullptr && by.homes->was_published(onward.queue, onward.ticket);
  d.schema &= ~std::uint32_t{kPassedOn};
  if ((d.schema & kForwardedCall) != 0) {
    ForwardedCall call;
    if (has_gone_on || by.homes == nullptr || !read_forwarded(by.pool, d, data, call)) return After::release;
    const auto home = by.homes->find(call.home);
    if (was_passing_on && home) d.sequence = id_now(*home->queue, d.sequence, by.client);
    return settle_forwarded(*by.homes, call, d.sequence, by.client, may_give_back) ? After::give_back : After::release;
  }
  if (has_gone_on) return After::handed_over;
  if (!by.queue.has_call(d.sequence)) return After::release;  // damaged
  if (was_passing_on) d.sequence = id_now(by.queue, d.sequence, by.client);
  const AnswerSide<SharedAtomics> call(by.queue.call(d.sequence), call_number(d.sequence), by.client);
  const bool redelivers = may_give_back && (by.queue.redelivers_calls() || by.queue.handler_answers());
  return call.finish(call.kDied, redelivers, slot_of(d));
}

namespace {

// Calls visit(call, id, is_held) for each request of another queue; of `home` alone, if that is not 0. A message that
// members take meanwhile may be visited twice.
template <class Visit>
void for_each_forwarded(const QueueMap& queue, const PoolMap& pool, std::uint64_t home, Visit visit) {
  if (!queue.takes_calls()) return;
  const auto look = [&](const Descriptor& d, const std::byte* data, bool is_held) {
    ForwardedCall call;
    if ((d.schema & kForwardedCall) == 0 || !read_forwarded(pool, d, data, call)) return;
    if (call.home != 0 && (home == 0 || call.home == home)) visit(call, d.sequence, is_held);
  };
  const auto& ring = queue.ring();
  const std::uint64_t end = ring.cursor(kProducers).next;
  for (std::uint64_t t = ring.cursor(1 + kServers).next; t < end; ++t) {
    Descriptor d;
    InlineData data;
    if (ring.read(t, d, data.bytes) == LineRead::present) look(d, data.bytes, false);
  }
  (void)for_each_held(queue, nullptr, [&](Held& h) {
    const HeldWord w = unpack_held(h.word.load(std::memory_order_acquire));
    const bool is_held = w.state == HeldState::held;
    if (is_held || w.state == HeldState::orphan) look(h.descriptor.load(), h.data.view(), is_held);
    return true;
  });
}

}  // namespace

ForwardedCounts count_forwarded(const QueueMap& queue, const PoolMap& pool, const CallHomes& homes,
                                std::uint64_t home) noexcept {
  ForwardedCounts counts;
  for_each_forwarded(queue, pool, home, [&](const ForwardedCall& call, std::uint64_t id, bool is_held) {
    if (is_held) {
      ++counts.held;
      return;
    }
    const auto there = homes.find(call.home);
    if (!there || !there->queue->has_call(id)) return;
    const AnswerSide<SharedAtomics> side(there->queue->call(id), call_number(id), 0);
    counts.waiting += side.is_awaited() ? 1 : 0;
  });
  return counts;
}

void end_waiting_forwarded(const QueueMap& queue, const PoolMap& pool, const CallHomes& homes,
                           std::uint64_t home) noexcept {
  for_each_forwarded(queue, pool, home, [&](const ForwardedCall& call, std::uint64_t id, bool is_held) {
    if (!is_held) (void)settle_forwarded(homes, call, id, 0, false);
  });
}

}  // namespace ipcq::detail
