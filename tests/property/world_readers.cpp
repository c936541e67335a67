// What consumers do, in both worlds, and that they see the same.
#include "world.hpp"

#include <array>
#include <cstring>

namespace ipcq {

void World::expect_same(const MessageView& m, const reference::Held& h) {
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

Status World::receive(Reader& r) {
  reference::Held* held = nullptr;
  const Status expected = queues_[r.q]->receive(r.endpoint, r.group, r.until, held);
  auto m = r.consumer.receive(Duration::zero());
  RC_ASSERT(m.status() == expected);
  if (expected != Status::ok) return expected;
  expect_same(*m, *held);
  r.taken.push_back({std::move(*m), held});
  return Status::ok;
}

void World::receive_many(Reader& r, std::size_t want) {
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

void World::receive_into(Reader& r) {
  reference::Held* held = nullptr;
  const Status expected = queues_[r.q]->receive(r.endpoint, r.group, r.until, held);
  std::array<std::byte, 1024> buffer{};
  const auto m = r.consumer.receive_into(buffer, Duration::zero());
  RC_ASSERT(m.status() == expected);
  if (expected != Status::ok) return;
  expect_same(*m, *held);
  queues_[r.q]->release(r.group, held);
}

void World::consume(Reader& r, std::size_t want) {
  auto& q = *queues_[r.q];
  std::size_t seen = 0;
  const auto see = [&](const MessageView& m) {
    reference::Held* held = nullptr;
    RC_ASSERT(q.receive(r.endpoint, r.group, r.until, held) == Status::ok);
    expect_same(m, *held);
    q.release(r.group, held);
    ++seen;
  };
  const BatchResult got = r.consumer.consume(see, Duration::zero(), want);
  RC_ASSERT(got.count == seen);
  if (seen == want) return;
  reference::Held* none = nullptr;  // there is no further one
  const Status expected = q.receive(r.endpoint, r.group, r.until, none);
  RC_ASSERT(expected != Status::ok);
  RC_ASSERT(got.status == (seen == 0 ? expected : Status::ok));
}

void World::release(Reader& r, std::uint8_t b) {
  with_taken(r, b, [&](Taken& t) {
    expect_same(t.message, *t.held);  // nobody wrote to it meanwhile
    RC_ASSERT(t.message.release() == Status::ok);
    RC_ASSERT(t.message.release() == Status::not_held);
    queues_[r.q]->release(r.group, t.held);
    return true;
  });
}

void World::nack(Reader& r, std::uint8_t b) {
  with_taken(r, b, [&](Taken& t) {
    RC_ASSERT(t.message.nack() == Status::ok);
    reference::Queue::nack(t.held);
    return true;
  });
}

void World::forward(Reader& r, std::uint8_t b) {
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

void World::open_consumer(unsigned q, const std::string& group, bool lossy, Until until) {
  auto& r = *queues_[q];
  if (readers_.size() + writers_.size() >= 8) return;
  ConsumerOptions o;
  o.group = group;
  o.lossy = lossy;
  o.until = until;
  if (lossy && r.refuses_lossy(group)) {
    RC_ASSERT_THROWS_AS((void)session_->consumer(queue_name(q), o), UsageError);
    return;
  }
  const std::uint32_t endpoint = r.choose_endpoint();
  r.used[endpoint] = true;
  const unsigned g = r.join(group, lossy);
  readers_.push_back({q, endpoint, g, until, session_->consumer(queue_name(q), o)});
}

void World::close(Reader& r) {
  r.consumer.close();
  auto& q = *queues_[r.q];
  q.leave(r.group, r.endpoint);
  q.used[r.endpoint] = false;
  for (auto& t : r.taken) RC_ASSERT(t.message.release() == Status::closed);
  RC_ASSERT(r.consumer.receive(Duration::zero()).status() == Status::closed);
  readers_.remove_if([&](const Reader& x) { return &x == &r; });
}

}  // namespace ipcq
