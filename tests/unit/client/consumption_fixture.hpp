// The fixture of consumption_test: a queue whose words the test writes by hand, and a consumer of it. The consumer's
// session is a real one, whose broker knows neither the queue nor the endpoint.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "client/consumption.hpp"
#include "ipcq/broker.hpp"
#include "unit/segments.hpp"

namespace ipcq::detail {

class ConsumptionTest : public testing::Test {
 protected:
  static constexpr std::uint32_t kSender = 5;
  static constexpr std::uint32_t kShown = 7;
  using Seen = std::vector<std::pair<std::uint64_t, std::uint32_t>>;  // sequence, redeliveries

  explicit ConsumptionTest(const QueueOptions& options = sixteen()) : s_(options, 8) {
    Attachment a;
    a.queue = std::shared_ptr<QueueMap>(std::shared_ptr<void>(), &s_.queue());
    a.pool = std::shared_ptr<PoolMap>(std::shared_ptr<void>(), &s_.pool_map());
    a.client = kShown;
    core_ = std::make_unique<ConsumerCore>(session_, a, ConsumerOptions{});
  }
  static QueueOptions sixteen() {
    QueueOptions o = Segments::small();
    o.lines = 16;
    o.held = 16;
    return o;
  }
  static std::string own_name() { return "consumption-" + std::to_string(::getpid()); }

  // One call without time that shows messages to `look`, which says whether it wants more.
  BatchResult consume(std::size_t limit, std::function<bool(const MessageView&)> look,
                      Duration time = Duration::zero()) {
    const MessageCallback callback{&look,
                                   [](void* f, const MessageView& m) { return (*static_cast<decltype(look)*>(f))(m); }};
    Deadline deadline(time);
    return Consumption(*core_, callback).run(limit, deadline);
  }
  // The sequence numbers of all that one call shows.
  std::vector<std::uint64_t> shown(std::size_t limit = 256) {
    std::vector<std::uint64_t> all;
    const BatchResult r = consume(limit, [&](const MessageView& m) {
      all.push_back(m.sequence());
      return true;
    });
    EXPECT_EQ(r.count, all.size());
    EXPECT_EQ(r.status, all.empty() ? Status::empty : Status::ok);
    return all;
  }
  // What another member gets, in order.
  Seen others_get() {
    Seen all;
    for (std::uint32_t e = s_.take(0, 1, 6); e != kNone; e = s_.take(0, 1, 6)) {
      const std::uint32_t deliveries = s_.held_word(e).deliveries;
      all.emplace_back(s_.held(e).descriptor.load().sequence, deliveries);
      EXPECT_TRUE(s_.release(0, 1, 6, e, deliveries));
    }
    return all;
  }
  void send(std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t n = from; n < to; ++n) ASSERT_NE(s_.send(kSender, n), kNoTicket);
  }
  void send_slots(std::uint64_t from, std::uint64_t to) {
    for (std::uint64_t n = from; n < to; ++n) ASSERT_NE(s_.send_slot(kSender, n).slot, kNone);
  }
  // A line that says that it holds more bytes than it can.
  void send_damaged() {
    const PublishClaim c = s_.claim(kSender);
    ASSERT_EQ(c.outcome, ClaimOutcome::ok);
    s_.ring().write(c.ticket, Segments::inline_message(99), nullptr);
    auto& head = *s_.ring().in(c.ticket);
    auto word = head.load(std::memory_order_relaxed);
    word.lo = pack_kind(Segments::inline_message(99, s_.ring().inline_bytes() + 1));
    head.store(word, std::memory_order_release);
  }
  void send_tombstone() {
    const PublishClaim c = s_.claim(kSender);
    ASSERT_EQ(c.outcome, ClaimOutcome::ok);
    Descriptor tombstone;
    tombstone.kind = LineKind::tombstone;
    s_.ring().write(c.ticket, tombstone, nullptr);
  }
  std::uint64_t taken() { return s_.ring().cursor(1).next; }
  std::uint64_t damaged() { return s_.queue().endpoint(0).damaged.load(std::memory_order_relaxed); }
  std::uint64_t counted() { return s_.queue().endpoint(0).messages.load(std::memory_order_relaxed); }
  bool all_finished(std::uint64_t end) {
    for (std::uint64_t t = 0; t < end; ++t) {
      if (!s_.ring().has_finished(0, t)) return false;
    }
    return true;
  }

  Broker broker_{BrokerOptions{.name = own_name()}};
  std::shared_ptr<SessionCore> session_ = std::make_shared<SessionCore>(ConnectOptions{.broker = own_name()});
  Segments s_;
  std::unique_ptr<ConsumerCore> core_;
};

}  // namespace ipcq::detail
