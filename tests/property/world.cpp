#include "world.hpp"

#include <unistd.h>

#include <cstring>
#include <iterator>

namespace ipcq {
namespace {

std::string broker_name() {
  static int count = 0;
  return "prop-" + std::to_string(getpid()) + "-" + std::to_string(++count);
}

}  // namespace

std::ostream& operator<<(std::ostream& s, const Op& op) {
  static const char* const names[] = {
      "send",           "send_large",    "send_many",      "loan",         "publish", "drop_loan",
      "receive",        "receive_many",  "release",        "nack",         "forward", "open_consumer",
      "close_consumer", "open_producer", "close_producer", "receive_into", "consume"};
  return s << names[op.kind % std::size(names)] << "(" << int{op.a} << "," << int{op.b} << ")";
}

World::World(Backpressure first, Backpressure second, const std::vector<GroupOptions>& groups)
    : broker_({broker_name(), "", {}}) {
  broker_.create_pool("pool", {kSlots, kSlotBytes});
  pool_.free_slots = kSlots;
  pool_.free_aliases = kAliases;
  QueueOptions o;
  o.pool = "pool";
  o.lines = reference::Queue::kLines;
  o.line = groups.size() % 2 == 0 ? 64 : 192;  // the same in both: a forward copies from line to line
  o.endpoints = reference::Queue::kEndpoints;
  o.held = reference::Queue::kHeldPerConsumer;
  o.groups = groups;
  for (const Backpressure b : {first, second}) {
    o.backpressure = b;
    broker_.create(queue_name(queues_.size()), o);
    queues_.push_back(std::make_unique<reference::Queue>(pool_, b, groups));
  }
  session_.emplace(connect({broker_.socket_path(), Duration::zero(), {}}));
  for (unsigned q = 0; q < 2; ++q) {
    open_producer(q);
    if (!groups.empty()) open_consumer(q, groups[0].name, false, Until::end);
  }
}

void World::apply(const Op& op) {
  switch (op.kind % 17) {
    case 0:
      return with_producer(op, [&](Writer& w) { send(w, 8 + op.b % 65); });
    case 1:
      return with_producer(op, [&](Writer& w) { send(w, 73 + op.b % 180); });
    case 2:
      return with_producer(op, [&](Writer& w) { send_many(w, 1 + op.b % 6); });
    case 3:
      return with_producer(op, [&](Writer& w) { loan(w); });
    case 4:
      return with_producer(op, [&](Writer& w) { publish(w, op.b); });
    case 5:
      return with_producer(op, [&](Writer& w) { drop_loan(w); });
    case 6:
      return with_consumer(op, [&](Reader& r) { (void)receive(r); });
    case 7:
      return with_consumer(op, [&](Reader& r) { receive_many(r, 1 + op.b % 4); });
    case 8:
      return with_consumer(op, [&](Reader& r) { release(r, op.b); });
    case 9:
      return with_consumer(op, [&](Reader& r) { nack(r, op.b); });
    case 10:
      return with_consumer(op, [&](Reader& r) { forward(r, op.b); });
    case 11: {
      static const char* const names[] = {"g0", "g1", "e0", "e1"};
      return open_consumer(op.a % 2, names[op.b % 4], (op.b & 4) != 0, (op.b & 8) != 0 ? Until::end : Until::forever);
    }
    case 12:
      return with_consumer(op, [&](Reader& r) { close(r); });
    case 13:
      return open_producer(op.a % 2);
    case 14:
      return with_producer(op, [&](Writer& w) { close(w); });
    case 15:
      return with_consumer(op, [&](Reader& r) { receive_into(r); });
    case 16:
      return with_consumer(op, [&](Reader& r) { consume(r, 1 + op.b % 6); });
  }
}

void World::check() {
  const BrokerStats stats = broker_.stats();
  RC_ASSERT(stats.queues.size() == 2u);
  for (unsigned q = 0; q < 2; ++q) {
    const QueueStats& s = stats.queues[q];
    const reference::Queue& r = *queues_[q];
    RC_ASSERT(s.published == r.next());
    RC_ASSERT(s.tombstones == 0u);
    RC_ASSERT(s.empty == pool_.free_slots);
    RC_ASSERT(s.claimed == pool_.loans);
    RC_ASSERT(s.blocked_by_pid == 0);
    std::size_t at = 0;
    for (const auto& g : r.groups) {
      if (g.name.empty()) continue;
      RC_ASSERT(at < s.groups.size());
      const GroupStats& t = s.groups[at++];
      RC_ASSERT(t.name == g.name);
      RC_ASSERT(t.members == g.members);
      RC_ASSERT(t.joined_at == g.joined_at);
      RC_ASSERT(t.waiting == r.next() - g.next);
      RC_ASSERT(t.held == g.held.size());
      RC_ASSERT(t.dropped == g.dropped);
      RC_ASSERT(t.delivered == g.delivered);
      RC_ASSERT(t.redelivered == g.redelivered);
      RC_ASSERT(t.published ==
                t.waiting + t.held + t.delivered + t.filtered + t.dropped + t.expired + t.dead_lettered + t.lost);
    }
    RC_ASSERT(at == s.groups.size());
  }
}

void World::finish() {
  while (!readers_.empty()) close(readers_.back());
  while (!writers_.empty()) close(writers_.back());
  check();
  for (unsigned q = 0; q < 2; ++q) {
    for (unsigned g = 0; g < reference::Queue::kGroups; ++g) {
      const std::string name = queues_[q]->groups[g].name;
      if (name.empty()) continue;
      open_consumer(q, name, false, Until::forever);
      Reader& r = readers_.back();
      while (receive(r) == Status::ok) release(r, 0);
      close(r);
    }
  }
  check();
  RC_ASSERT(pool_.free_slots == kSlots);  // and, as checked, the broker says so too
  RC_ASSERT(pool_.free_aliases == kAliases);
}

std::vector<std::byte> World::payload(std::size_t length, std::uint64_t number) {
  std::vector<std::byte> bytes(length, static_cast<std::byte>(number * 31));
  std::memcpy(bytes.data(), &number, sizeof number);
  return bytes;
}

reference::Message World::message(Writer& w, std::uint64_t number, std::shared_ptr<reference::Node> node) {
  return {0, number, w.sequence++, w.producer.id(), std::move(node)};
}

}  // namespace ipcq
