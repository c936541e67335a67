#include "broker/queue_dump.hpp"

#include <algorithm>
#include <iterator>
#include <ostream>
#include <sstream>

#include "broker/stats_view.hpp"

namespace ipcq::detail {
namespace {

void dump_cursors(std::ostream& out, const QueueDump& q) {
  const auto& ring = q.map->ring();
  const Cursor p = ring.cursor(kProducers);
  out << "queue " << q.name << ": " << ring.lines() << " lines, pool " << q.pool_name << " of "
      << q.pool->config().slots << " slots\n"
      << "producers' cursor: next " << p.next << ", last " << p.count << " taken by client " << p.client
      << ", groups 0x" << std::hex << unsigned{p.groups} << ", live 0x" << ring.live_groups() << std::dec
      << (p.closed ? ", closed" : "") << "; " << q.producers << " open, " << q.producers_lost << " lost, end ticket "
      << static_cast<std::int64_t>(q.map->control().end_ticket.load(std::memory_order_relaxed)) << "\n";
  for (unsigned g = 0; g < kMaxGroups; ++g) {
    if (q.groups[g].name.empty()) continue;
    const Cursor c = ring.cursor(1 + g);
    out << "group " << g << " " << q.groups[g].name << ": next " << c.next << ", last " << c.count
        << " taken by client " << c.client << ", " << q.groups[g].members << " members, orphan hint "
        << q.map->control().group[g].orphans.load(std::memory_order_relaxed) << "\n";
  }
}

const char* name_of(OwnState s) {
  constexpr const char* kNames[] = {"none", "taken", "done", "reading"};
  return kNames[static_cast<unsigned>(s)];
}

void dump_lines(std::ostream& out, const QueueDump& q) {
  const auto& ring = q.map->ring();
  const std::uint64_t next = ring.cursor(kProducers).next;
  const std::uint64_t first = minus(next, std::min<std::uint64_t>(ring.lines(), 32));
  for (std::uint64_t t = first; t < next; ++t) {
    out << "ticket " << t << ": lap " << ring.lap(t) << ", in "
        << (is_tagged(ring.in(t), ring.lap(t)) ? "published" : "absent")
        << (ring.readable(t) ? ", readable" : ", not readable") << ", own";
    for (unsigned c = 0; c < kCursors; ++c) {
      const std::uint64_t e = ring.own(c, t).load(std::memory_order_relaxed);
      if (e != 0) {
        out << " [" << c << "] lap " << own_lap(e) << " " << name_of(own_state(e)) << " by " << own_client(e);
      }
    }
    out << "\n";
  }
}

void dump_held(std::ostream& out, const QueueDump& q) {
  const std::uint32_t block = q.map->config().held_per_endpoint;
  for (const std::uint32_t b : q.blocks) {
    for (std::uint32_t i = b * block; i < (b + 1) * block; ++i) {
      const HeldWord w = unpack_held(q.map->held()[i].word.load(std::memory_order_relaxed));
      if (w.state == HeldState::free) continue;
      out << "held entry " << i << ": state " << static_cast<int>(w.state) << ", client " << w.client << ", group "
          << w.group << ", deliveries " << w.deliveries << ", ticket "
          << q.map->held()[i].ticket.load(std::memory_order_relaxed) << "\n";
    }
  }
}

void dump_slots(std::ostream& out, const QueueDump& q) {
  const auto& pool = q.pool->pool();
  unsigned shown = 0;
  for (std::uint32_t i = 0; i < pool.slot_words() && shown < 64; ++i) {
    const Slot s = pool.slot(i);
    if (s.state == SlotState::free) continue;
    ++shown;
    out << (pool.is_alias(i) ? "alias " : "slot ") << i << ": state " << static_cast<int>(s.state) << ", lease "
        << s.lease << ", client " << s.client << ", groups 0x" << std::hex << unsigned{s.groups} << std::dec
        << ", ticket " << s.ticket << "\n";
  }
}

void dump_endpoints(std::ostream& out, const QueueDump& q) {
  for (const auto& e : q.endpoints) {
    if (e.client == 0) continue;
    out << role_of(*q.map, e.kind) << " " << e.client << ": pid " << e.pid << (is_stopped(e.pid) ? " (stopped)" : "")
        << ", group " << e.group << "\n";
  }
}

void dump_calls(std::ostream& out, const QueueMap& map) {
  for (std::uint32_t i = 0; i < map.calls().size(); ++i) {
    const CallWord w = unpack_call(map.calls()[i].word.load(std::memory_order_relaxed));
    if (w.state == CallState::free) continue;
    const std::uint64_t of = map.endpoint(i / map.config().calls_per_endpoint).client.load(std::memory_order_relaxed);
    constexpr const char* kStates[] = {"free", "open", "being answered", "answered", "cancelled"};
    const auto state = static_cast<std::size_t>(w.state);
    out << "call entry " << i << ": " << (state < std::size(kStates) ? kStates[state] : "damaged") << ", of client "
        << of << ", number " << w.number << ", by " << w.client << ", answer " << static_cast<unsigned>(w.answer)
        << (w.in_slot ? ", in slot" : "") << (w.more ? ", more" : "") << (w.begun ? ", begun" : "") << "\n";
  }
}

}  // namespace

QueueDump dump_of(const QueueEntry& q) {
  QueueDump d;
  d.name = q.name;
  d.pool_name = q.pool->name;
  d.map = q.map;
  d.pool = q.pool->map;
  std::copy(std::begin(q.groups), std::end(q.groups), d.groups);
  d.endpoints = q.endpoints;
  d.blocks = held_blocks(q);
  d.producers = q.producers;
  d.producers_lost = q.producers_lost;
  return d;
}

std::string to_text(const QueueDump& q) {
  std::ostringstream out;
  dump_cursors(out, q);
  dump_lines(out, q);
  dump_held(out, q);
  dump_slots(out, q);
  dump_calls(out, *q.map);
  dump_endpoints(out, q);
  return out.str();
}

}  // namespace ipcq::detail
