// What producers do, in both worlds.
#include "world.hpp"

#include <cstring>

namespace ipcq {

void World::send(Writer& w, std::size_t length) {
  const std::uint64_t number = ++number_;
  auto& q = *queues_[w.q];
  const auto bytes = payload(length, number);
  Status expected = Status::ok;
  std::shared_ptr<reference::Node> node;
  if (length > w.producer.inline_bytes()) {
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

void World::send_many(Writer& w, std::size_t count) {
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

void World::loan(Writer& w) {
  auto node = queues_[w.q]->borrow();
  auto loan = w.producer.loan(Duration::zero());
  RC_ASSERT(loan.status() == (node ? Status::ok : Status::full));
  if (!node) return;
  RC_ASSERT(loan->bytes().size() == kSlotBytes);
  std::memset(loan->bytes().data(), 0xee, kSlotBytes);  // AddressSanitizer and other readers notice
  ++pool_.loans;
  w.loans.emplace_back(std::move(*loan), node);
}

void World::publish(Writer& w, std::uint8_t b) {
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

void World::drop_loan(Writer& w) {
  if (w.loans.empty()) return;
  --pool_.loans;
  pool_.give_back(w.loans.front().second);
  w.loans.erase(w.loans.begin());
}

void World::open_producer(unsigned q) {
  auto& r = *queues_[q];
  if (readers_.size() + writers_.size() >= 8) return;
  const std::uint32_t endpoint = r.choose_endpoint();
  r.used[endpoint] = true;
  r.producer_opened();
  writers_.push_back({q, endpoint, session_->producer(queue_name(q))});
}

void World::close(Writer& w) {
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

}  // namespace ipcq
