// Order, exactly-once and intact content through the ring: producers, one of them batching, and consumers of one or
// two groups, two laps over two lines.
#include "model_queue.hpp"

#include <array>
#include <cstring>

namespace ipcq::detail::model {
namespace {

struct Content {
  std::uint64_t producer = 0;
  std::uint64_t number = 0;
  std::uint64_t check = 0;
};

// Publishes `count` messages, up to `batch` tickets at a time.
void produce(const ModelRing& ring, std::uint32_t client, unsigned count, unsigned batch) {
  LastClaim last;
  for (unsigned sent = 0; sent < count;) {
    const unsigned want = std::min(batch, count - sent);
    const PublishClaim c = want == 1 ? claim_one(ring, client, last) : ring.claim_publish(client, want, last.limit);
    if (c.outcome == ClaimOutcome::full) {
      yield();
      continue;
    }
    for (std::uint32_t i = 0; i < c.count; ++i, ++sent) {
      const Content content{client, sent, client * 1000 + sent};
      std::byte bytes[sizeof content];
      std::memcpy(bytes, &content, sizeof content);
      Descriptor d;
      d.kind = LineKind::inlined;
      d.length = sizeof content;
      d.producer = client;
      d.sequence = sent;
      ring.write(c.ticket + i, d, bytes);
    }
  }
}

// What one group saw, by ticket. Plain variables: Relacy's threads are fibers of one thread.
template <unsigned kMessages>
struct Seen {
  std::array<Content, kMessages> by_ticket{};
  unsigned count = 0;

  void add(const Descriptor& d, const std::byte* data, std::uint64_t ticket) {
    Content c;
    RL_ASSERT(d.kind == LineKind::inlined && d.length == sizeof c);
    std::memcpy(&c, data, sizeof c);
    RL_ASSERT(c.check == c.producer * 1000 + c.number);  // not torn
    RL_ASSERT(c.producer == d.producer && c.number == d.sequence);
    RL_ASSERT(ticket < kMessages && by_ticket[ticket].producer == 0);  // once
    by_ticket[ticket] = c;
    ++count;
  }
  void check_order() const {
    std::array<std::uint64_t, 8> next{};
    for (const Content& c : by_ticket) RL_ASSERT(c.number == next[c.producer]++);
  }
};

template <unsigned kMessages, class Member>
void consume(Member member, Seen<kMessages>& seen, unsigned want) {
  const ModelPool no_pool;
  while (seen.count < kMessages) {
    std::uint32_t entries[2];
    const Taken t = member.take(std::span(entries, want));
    if (t.outcome != TakeOutcome::taken) yield();
    for (std::size_t i = 0; i < t.count; ++i) {
      auto& h = member.held(entries[i]);
      seen.add(h.descriptor.load(), h.data.view(), h.ticket.load(std::memory_order::relaxed));
      bool freed = false;
      RL_ASSERT(member.release(entries[i], 0, no_pool, freed));
    }
    RL_ASSERT(t.damaged == 0);
  }
}

struct TwoProducersTwoConsumers : rl::test_suite<TwoProducersTwoConsumers, 4> {
  ModelQueue<1, 2, 2> q;
  Seen<4> seen;
  void thread(unsigned i) {
    if (i == 0) produce(q.ring, 2, 2, 2);
    if (i == 1) produce(q.ring, 3, 2, 1);
    if (i == 2) consume<4>(q.member(0, 0, 4), seen, 2);
    if (i == 3) consume<4>(q.member(0, 1, 5), seen, 1);
  }
  void after() {
    RL_ASSERT(seen.count == 4 && q.ring.cursor(1).next == 4);
    seen.check_order();
    for (std::uint64_t t = 4; t < 6; ++t) RL_ASSERT(q.ring.is_free(t, 1));
  }
};

struct TwoGroups : rl::test_suite<TwoGroups, 4> {
  ModelQueue<2, 2, 1> q;
  Seen<4> seen[2];
  void thread(unsigned i) {
    if (i < 2) return produce(q.ring, 2 + i, 2, 1 + i);
    consume<4>(q.member(i - 2, i - 2, 2 + i), seen[i - 2], 1);
  }
  void after() {
    for (auto& s : seen) {
      RL_ASSERT(s.count == 4);
      s.check_order();
    }
    RL_ASSERT(std::memcmp(&seen[0].by_ticket, &seen[1].by_ticket, sizeof seen[0].by_ticket) == 0);
  }
};

// Three laps through the same lines, plain or tagged, one producer and one consumer.
template <bool kPlain>
struct OneOnOne : rl::test_suite<OneOnOne<kPlain>, 2> {
  ModelQueue<1, 1, 1, 0, 0, 1, 2, kPlain> q;
  Seen<5> seen;
  void thread(unsigned i) {
    if (i == 0) produce(q.ring, 2, 5, 2);
    if (i == 1) consume<5>(q.member(0, 0, 3), seen, 1);
  }
  void after() { seen.check_order(); }
};

// A consumer, and a producer that discards the group's oldest message on its behalf.
struct DropRacesConsumer : rl::test_suite<DropRacesConsumer, 3> {
  ModelQueue<1, 1, 1, 2> q;
  RelacyAtomics::Plain<int> payload[2];
  unsigned taken = 0;
  unsigned dropped = 0;
  std::uint64_t last = 0;
  static constexpr unsigned kMessages = 3;

  void thread(unsigned i) {
    if (i == 0) publish();
    if (i == 1) drop();
    if (i == 2) take();
  }
  void publish() {
    LastClaim claims;
    std::uint32_t hint = 0;
    for (unsigned n = 0; n < kMessages; ++n) {
      SlotLoan loan;
      while ((loan = q.pool.borrow(2, hint)).slot == kNone) yield();
      payload[loan.slot].edit() = static_cast<int>(n);
      PublishClaim c;
      while ((c = claim_one(q.ring, 2, claims)).outcome == ClaimOutcome::full) yield();
      q.pool.mark_message(loan, 2, c.groups, c.ticket);
      Descriptor d;
      d.kind = LineKind::slot;
      d.slot = loan.slot;
      d.lease = loan.lease;
      d.sequence = n;
      q.ring.write(c.ticket, d, nullptr);
    }
  }
  void drop() {
    for (unsigned tries = 0; tries < 3; ++tries) {
      bool was_message = false;
      bool freed = false;
      (void)drop_one(q.ring, q.pool, 0, q.ring.cursor(1).next, 3, was_message, freed);
      if (was_message) {
        ++dropped;
        RL_ASSERT(freed);
      }
    }
  }
  void take() {
    ModelMember member = q.member(0, 0, 4);
    while (taken + dropped < kMessages) {
      std::uint32_t entry = 0;
      if (!take_one(member, q.ring, entry)) {
        yield();
        continue;
      }
      const Descriptor d = member.held(entry).descriptor.load();
      RL_ASSERT(payload[d.slot].view() == static_cast<int>(d.sequence));
      RL_ASSERT(d.sequence + 1 > last);
      last = d.sequence + 1;
      ++taken;
      bool freed = false;
      RL_ASSERT(member.release(entry, 0, q.pool, freed) && freed);
    }
  }
  void after() { RL_ASSERT(taken + dropped == kMessages && q.nothing_leaked()); }
};

// One producer dies right after its claim, one reader right after its own. Whatever the others do, both claims can be
// attributed: by the cursor, or by the owner log.
struct DeadClaimsAreAttributed : rl::test_suite<DeadClaimsAreAttributed, 4> {
  ModelQueue<1, 2, 1> q;
  std::uint64_t lost_ticket = kNoTicket;
  std::uint64_t lost_read = kNoTicket;

  void thread(unsigned i) {
    LastClaim claims;
    if (i == 0) {
      const PublishClaim c = claim_one(q.ring, 2, claims);
      if (c.outcome == ClaimOutcome::ok) lost_ticket = c.ticket;
    } else if (i == 1) {
      for (unsigned n = 0; n < 3; ++n) {
        const PublishClaim c = claim_one(q.ring, 3, claims);
        if (c.outcome != ClaimOutcome::ok) continue;
        Descriptor d;
        d.kind = LineKind::inlined;
        q.ring.write(c.ticket, d, nullptr);
      }
    } else if (i == 2) {
      for (unsigned n = 0; n < 3; ++n) {
        const Cursor v = q.ring.cursor(1);
        if (!q.ring.readable(v.next)) continue;
        q.ring.help(1, v);
        if (!q.ring.swap_cursor(1, v, {v.next + 1, 4, 1, 0, false})) continue;
        lost_read = v.next;
        return;
      }
    } else {
      ModelMember member = q.member(0, 1, 5);
      std::uint32_t entry = 0;
      for (unsigned n = 0; n < 3; ++n) {
        bool freed = false;
        if (take_one(member, q.ring, entry)) (void)member.release(entry, 0, q.pool, freed);
      }
    }
  }
  void after() {
    check(kProducers, 2, lost_ticket);
    check(1, 4, lost_read);
  }
  void check(unsigned c, std::uint32_t client, std::uint64_t ticket) {
    if (ticket == kNoTicket) return;
    const Cursor v = q.ring.cursor(c);
    const std::uint64_t e = q.ring.own(c, ticket).load(std::memory_order::acquire);
    const bool by_cursor = v.client == client && v.next == ticket + 1 && v.count == 1;
    const bool by_log = own_lap(e) == q.ring.lap(ticket) && own_state(e) == OwnState::taken && own_client(e) == client;
    RL_ASSERT(by_cursor || by_log);
  }
};

// A ticket that was published never looks unpublished, whoever takes its line meanwhile: the repair would write a
// tombstone over the message of another lap.
struct LapWhileTheRepairLooks : rl::test_suite<LapWhileTheRepairLooks, 2> {
  ModelQueue<1, 1, 1, 0, 0, 0> q;
  void before() { produce(q.ring, 2, 1, 1); }
  void thread(unsigned i) {
    if (i == 0) produce(q.ring, 3, 3, 1);
    if (i == 1) RL_ASSERT(q.ring.was_published(0));
  }
};

TEST(RingModel, NeverTakesAPublishedTicketForUnpublished) { expect_sound_in_all<LapWhileTheRepairLooks>(); }
TEST(RingModel, CanAttributeEveryClaimOfTheDead) { expect_sound<DeadClaimsAreAttributed>(30'000); }
TEST(RingModel, DeliversEveryMessageOnceInOrderToTwoConsumersOfOneGroup) {
  expect_sound<TwoProducersTwoConsumers>(8'000);
}
TEST(RingModel, DeliversEveryMessageInTheSameOrderToTwoGroups) { expect_sound<TwoGroups>(8'000); }
TEST(RingModel, KeepsContentIntactOverThreeLaps) {
  expect_sound<OneOnOne<true>>(20'000);
  expect_sound<OneOnOne<false>>(20'000);
}
TEST(RingModel, DropsOrDeliversEachMessageWhenADropRacesAConsumer) { expect_sound<DropRacesConsumer>(15'000); }

TEST(RingModel, FindsALineTagStoredWithoutRelease) {
  expect_found<OneOnOne<true>>(Fault::line_tag_relaxed, 20'000);
  expect_found<OneOnOne<false>>(Fault::line_tag_relaxed, 20'000);
}
TEST(RingModel, FindsALineThatIsSaidToBeFreeTooEarly) {
  expect_found<TwoProducersTwoConsumers>(Fault::said_free_too_early, 8'000);
}
TEST(RingModel, FindsALineReusedBeforeEveryGroupTookIt) { expect_found<TwoGroups>(Fault::groups_ignored, 8'000); }

}  // namespace
}  // namespace ipcq::detail::model
