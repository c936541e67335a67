// Random sequences of everything that clients can do, on two small queues with one pool and every policy, compared step
// by step with reference_queue.hpp: statuses, order, exactly-once for each group, and the broker's accounting.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>
#include <unistd.h>

#include <cstring>

#include "reference_queue.hpp"

namespace ipcq {
namespace {

constexpr std::uint32_t kSlots = 3;
constexpr std::size_t kSlotBytes = 256;

struct Op {
  std::uint8_t kind = 0;
  std::uint8_t a = 0;
  std::uint8_t b = 0;
};
std::ostream& operator<<(std::ostream& s, const Op& op) {
  static const char* const names[] = {"send",           "send_large",    "send_many",     "loan",
                                      "publish",        "drop_loan",     "receive",       "receive_many",
                                      "release",        "nack",          "forward",       "open_consumer",
                                      "close_consumer", "open_producer", "close_producer"};
  return s << names[op.kind % std::size(names)] << "(" << int{op.a} << "," << int{op.b} << ")";
}

class World {
 public:
  World(Backpressure first, Backpressure second, const std::vector<GroupOptions>& groups) : broker_({name(), "", {}}) {
    broker_.create_pool("pool", {kSlots, kSlotBytes});
    pool_.free_slots = pool_.free_aliases = kSlots;
    QueueOptions o;
    o.pool = "pool";
    o.lines = reference::Queue::kLines;
    o.max_endpoints = reference::Queue::kEndpoints;
    o.held_per_consumer = reference::Queue::kHeldPerConsumer;
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

  void apply(const Op& op) {
    switch (op.kind % 15) {
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
    }
  }

  // The broker's counters and the reference's are the same.
  void check() {
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
        RC_ASSERT(t.published == t.waiting + t.held + t.delivered + t.dropped + t.expired + t.dead_lettered + t.lost);
      }
      RC_ASSERT(at == s.groups.size());
    }
  }

  // Everybody goes; what durable groups have not taken is received; then no slot is in use.
  void finish() {
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
    RC_ASSERT(pool_.free_aliases == kSlots);
  }

 private:
  struct Writer {
    unsigned q;
    std::uint32_t endpoint;
    Producer producer;
    std::uint64_t sequence = 0;
    std::vector<std::pair<Loan, std::shared_ptr<reference::Node>>> loans{};
  };
  struct Taken {
    Message message;
    reference::Held* held;
  };
  struct Reader {
    unsigned q;
    std::uint32_t endpoint;
    unsigned group;
    Until until;
    Consumer consumer;
    std::vector<Taken> taken{};
  };

  static std::string name() {
    static int count = 0;
    return "prop-" + std::to_string(getpid()) + "-" + std::to_string(++count);
  }
  static std::string queue_name(std::size_t i) { return "q" + std::to_string(i); }

  template <class F>
  void with_producer(const Op& op, F f) {
    if (!writers_.empty()) f(*std::next(writers_.begin(), op.a % writers_.size()));
  }
  template <class F>
  void with_consumer(const Op& op, F f) {
    if (!readers_.empty()) f(*std::next(readers_.begin(), op.a % readers_.size()));
  }

  std::vector<std::byte> payload(std::size_t length, std::uint64_t number) {
    std::vector<std::byte> bytes(length, static_cast<std::byte>(number * 31));
    std::memcpy(bytes.data(), &number, sizeof number);
    return bytes;
  }
  reference::Message message(Writer& w, std::uint64_t number, std::shared_ptr<reference::Node> node) {
    return {0, number, w.sequence++, w.producer.id(), std::move(node)};
  }

  void send(Writer& w, std::size_t length) {
    const std::uint64_t number = ++number_;
    auto& q = *queues_[w.q];
    const auto bytes = payload(length, number);
    Status expected = Status::ok;
    std::shared_ptr<reference::Node> node;
    if (length > Producer::inline_bytes()) {
      node = q.borrow();
      if (!node) expected = Status::full;
    }
    if (expected == Status::ok && !q.reserve_line()) {
      expected = Status::full;
      if (node) pool_.give_back(node);
    }
    if (expected == Status::ok) q.publish(message(w, number, node));
    const Status got = w.producer.send(bytes, Duration::zero());
    RC_ASSERT(got == expected);
  }
  void send_many(Writer& w, std::size_t count) {
    auto& q = *queues_[w.q];
    std::vector<std::vector<std::byte>> all;
    std::vector<std::span<const std::byte>> spans;
    const std::uint64_t first = number_ + 1;
    for (std::size_t i = 0; i < count; ++i) all.push_back(payload(8 + i, ++number_));
    for (const auto& b : all) spans.emplace_back(b);
    std::size_t expected = 0;
    for (; expected < count && q.reserve_line(); ++expected) q.publish(message(w, first + expected, nullptr));
    const BatchResult r = w.producer.send_many(spans, Duration::zero());
    RC_ASSERT(r.count == expected);
    RC_ASSERT(r.status == (expected == count ? Status::ok : Status::full));
  }
  void loan(Writer& w) {
    auto node = queues_[w.q]->borrow();
    auto loan = w.producer.loan(Duration::zero());
    RC_ASSERT(loan.status() == (node ? Status::ok : Status::full));
    if (!node) return;
    RC_ASSERT(loan->bytes().size() == kSlotBytes);
    std::memset(loan->bytes().data(), 0xee, kSlotBytes);  // AddressSanitizer and other readers notice
    ++pool_.loans;
    w.loans.emplace_back(std::move(*loan), node);
  }
  void publish(Writer& w, std::uint8_t b) {
    if (w.loans.empty()) return;
    auto& [loan, node] = w.loans.front();
    const std::size_t length = 8 + b % (kSlotBytes - 7);
    const std::uint64_t number = ++number_;
    const auto bytes = payload(length, number);
    std::memcpy(loan.bytes().data(), bytes.data(), length);
    auto& q = *queues_[w.q];
    const bool line = q.reserve_line();
    RC_ASSERT(loan.publish(kSlotBytes + 1, Duration::zero()) == Status::too_large);
    const Status got = loan.publish(length, Duration::zero());
    RC_ASSERT(got == (line ? Status::ok : Status::full));
    if (!line) return;
    RC_ASSERT(loan.publish(length, Duration::zero()) == Status::not_held);
    --pool_.loans;
    q.publish(message(w, number, node));
    w.loans.erase(w.loans.begin());
  }
  void drop_loan(Writer& w) {
    if (w.loans.empty()) return;
    --pool_.loans;
    pool_.give_back(w.loans.front().second);
    w.loans.erase(w.loans.begin());
  }

  void expect_same(const Message& m, const reference::Held& h) {
    std::uint64_t number = 0;
    RC_ASSERT(m.bytes().size() >= sizeof number);
    std::memcpy(&number, m.bytes().data(), sizeof number);
    RC_ASSERT(number == h.message.number);
    RC_ASSERT(m.ticket() == h.message.ticket);
    RC_ASSERT(m.sequence() == h.message.sequence);
    RC_ASSERT(m.producer() == h.message.producer);
    RC_ASSERT(m.redeliveries() == h.deliveries);
    for (std::size_t i = sizeof number; i < m.bytes().size(); ++i) {
      RC_ASSERT(m.bytes()[i] == static_cast<std::byte>(number * 31));
    }
  }
  Status receive(Reader& r) {
    reference::Held* held = nullptr;
    const Status expected = queues_[r.q]->receive(r.endpoint, r.group, r.until, held);
    auto m = r.consumer.receive(Duration::zero());
    RC_ASSERT(m.status() == expected);
    if (expected != Status::ok) return expected;
    expect_same(*m, *held);
    r.taken.push_back({std::move(*m), held});
    return Status::ok;
  }
  void receive_many(Reader& r, std::size_t want) {
    auto& q = *queues_[r.q];
    std::vector<reference::Held*> held(1);
    const bool given_back = std::any_of(q.groups[r.group].held.begin(), q.groups[r.group].held.end(),
                                        [](const auto& h) { return h.holder == 0; });
    const Status expected = q.receive(r.endpoint, r.group, r.until, held[0]);
    if (expected != Status::ok) held.clear();
    while (expected == Status::ok && !given_back && held.size() < want) {
      reference::Held* h = nullptr;
      if (q.receive(r.endpoint, r.group, r.until, h) != Status::ok) break;
      held.push_back(h);
    }
    std::vector<Message> batch(want);
    const BatchResult got = r.consumer.receive_many(batch, Duration::zero());
    RC_ASSERT(got.status == expected);
    RC_ASSERT(got.count == held.size());
    for (std::size_t i = 0; i < got.count; ++i) {
      expect_same(batch[i], *held[i]);
      r.taken.push_back({std::move(batch[i]), held[i]});
    }
  }
  template <class F>
  void with_taken(Reader& r, std::uint8_t b, F f) {
    if (r.taken.empty()) return;
    const auto it = r.taken.begin() + b % static_cast<std::ptrdiff_t>(r.taken.size());
    if (f(*it)) r.taken.erase(it);
  }
  void release(Reader& r, std::uint8_t b) {
    with_taken(r, b, [&](Taken& t) {
      expect_same(t.message, *t.held);  // nobody wrote to it meanwhile
      RC_ASSERT(t.message.release() == Status::ok);
      RC_ASSERT(t.message.release() == Status::not_held);
      queues_[r.q]->release(r.group, t.held);
      return true;
    });
  }
  void nack(Reader& r, std::uint8_t b) {
    with_taken(r, b, [&](Taken& t) {
      RC_ASSERT(t.message.nack() == Status::ok);
      reference::Queue::nack(t.held);
      return true;
    });
  }
  void forward(Reader& r, std::uint8_t b) {
    if (writers_.empty()) return;
    Writer& w = *std::next(writers_.begin(), b % writers_.size());
    with_taken(r, static_cast<std::uint8_t>(b / 4), [&](Taken& t) {
      auto& from = *queues_[r.q];
      auto& to = *queues_[w.q];
      const auto parent = t.held->message.node;
      Status expected = Status::ok;
      std::shared_ptr<reference::Node> alias;
      if (parent) {
        if (pool_.free_aliases == 0) {
          expected = Status::full;
        } else {
          --pool_.free_aliases;
          alias = std::make_shared<reference::Node>();
          alias->is_alias = true;
          alias->parent = parent;
          alias->parent_group = r.group;
        }
      }
      if (expected == Status::ok && !to.reserve_line()) {
        expected = Status::full;
        if (alias) ++pool_.free_aliases;
      }
      const std::uint64_t number = t.held->message.number;
      const Status got = w.producer.forward(t.message, Duration::zero());
      RC_ASSERT(got == expected);
      if (expected != Status::ok) return false;
      const bool read_by_none = to.mask() == 0;
      to.publish(message(w, number, alias));
      from.release(r.group, t.held, !alias || read_by_none);
      return true;
    });
  }

  void open_consumer(unsigned q, const std::string& group, bool lossy, Until until) {
    auto& r = *queues_[q];
    if (readers_.size() + writers_.size() >= 8) return;
    ConsumerOptions o;
    o.group = group;
    o.lossy = lossy;
    o.until = until;
    const std::uint32_t endpoint = r.choose_endpoint();
    r.used[endpoint] = true;
    const unsigned g = r.join(group, lossy);
    readers_.push_back({q, endpoint, g, until, session_->consumer(queue_name(q), o)});
  }
  void close(Reader& r) {
    r.consumer.close();
    auto& q = *queues_[r.q];
    q.leave(r.group, r.endpoint);
    q.used[r.endpoint] = false;
    for (auto& t : r.taken) RC_ASSERT(t.message.release() == Status::closed);
    RC_ASSERT(r.consumer.receive(Duration::zero()).status() == Status::closed);
    readers_.remove_if([&](const Reader& x) { return &x == &r; });
  }
  void open_producer(unsigned q) {
    auto& r = *queues_[q];
    if (readers_.size() + writers_.size() >= 8) return;
    const std::uint32_t endpoint = r.choose_endpoint();
    r.used[endpoint] = true;
    r.producer_opened();
    writers_.push_back({q, endpoint, session_->producer(queue_name(q))});
  }
  void close(Writer& w) {
    w.producer.close();
    auto& q = *queues_[w.q];
    for (auto& [loan, node] : w.loans) {
      --pool_.loans;
      pool_.give_back(node);
      RC_ASSERT(loan.publish(8, Duration::zero()) == Status::closed);
    }
    q.used[w.endpoint] = false;
    q.producer_closed();
    writers_.remove_if([&](const Writer& x) { return &x == &w; });
  }

  Broker broker_;
  reference::Pool pool_;
  std::vector<std::unique_ptr<reference::Queue>> queues_;
  std::optional<Session> session_;
  std::list<Writer> writers_;
  std::list<Reader> readers_;
  std::uint64_t number_ = 0;
};

rc::Gen<Op> any_op() {
  // Sends and receives more often than the rest.
  const auto kind = rc::gen::weightedElement<std::uint8_t>({{8, 0},
                                                            {4, 1},
                                                            {3, 2},
                                                            {5, 3},
                                                            {5, 4},
                                                            {1, 5},
                                                            {10, 6},
                                                            {4, 7},
                                                            {9, 8},
                                                            {3, 9},
                                                            {5, 10},
                                                            {2, 11},
                                                            {1, 12},
                                                            {1, 13},
                                                            {1, 14}});
  return rc::gen::apply(
      [](std::uint8_t k, std::uint8_t a, std::uint8_t b) {
        return Op{k, a, b};
      },
      kind, rc::gen::arbitrary<std::uint8_t>(), rc::gen::arbitrary<std::uint8_t>());
}

void behaves_like_the_reference(const std::vector<GroupOptions>& groups) {
  const auto policy = rc::gen::element(Backpressure::block, Backpressure::reject, Backpressure::drop_oldest);
  const auto first = *policy;
  const auto second = *policy;
  const auto ops = *rc::gen::scale(2.0, rc::gen::container<std::vector<Op>>(any_op()));
  World world(first, second, groups);
  for (const Op& op : ops) {
    world.apply(op);
    world.check();
  }
  world.finish();
}

RC_GTEST_PROP(QueueProperty, BehavesLikeTheReferenceWithOneGroup, ()) {
  behaves_like_the_reference({{"g0", GroupPolicy::must}});
}
RC_GTEST_PROP(QueueProperty, BehavesLikeTheReferenceWithTwoGroups, ()) {
  behaves_like_the_reference({{"g0", GroupPolicy::must}, {"g1", GroupPolicy::must}});
}
RC_GTEST_PROP(QueueProperty, BehavesLikeTheReferenceWithALossyGroup, ()) {
  behaves_like_the_reference({{"g0", GroupPolicy::must}, {"g1", GroupPolicy::lossy}});
}
RC_GTEST_PROP(QueueProperty, BehavesLikeTheReferenceWithOnlyALossyGroup, ()) {
  behaves_like_the_reference({{"g0", GroupPolicy::lossy}});
}
RC_GTEST_PROP(QueueProperty, BehavesLikeTheReferenceWithoutDeclaredGroups, ()) { behaves_like_the_reference({}); }

}  // namespace
}  // namespace ipcq
