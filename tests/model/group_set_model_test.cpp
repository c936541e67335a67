// Queues that have no group for a while: groups join and leave, tickets wrap, and a producer may stand between claim
// and publish through all of it. Join, leave and the discard of what is left are the broker's own templates.
#include "model_queue.hpp"

#include <cstring>

namespace ipcq::detail::model {
namespace {

struct Content {
  std::uint64_t producer = 0;
  std::uint64_t number = 0;
  std::uint64_t check = 0;
};

void publish_claimed(const ModelRing& ring, const PublishClaim& c, std::uint32_t client, std::uint64_t number) {
  const Content content{client, number, client * 1000 + number};
  std::byte bytes[sizeof content];
  std::memcpy(bytes, &content, sizeof content);
  Descriptor d;
  d.kind = c.groups == 0 ? LineKind::tombstone : LineKind::inlined;
  d.length = c.groups == 0 ? 0 : sizeof content;
  d.producer = client;
  d.sequence = number;
  ring.write(c.ticket, d, bytes);
}

void publish(const ModelRing& ring, std::uint32_t client, unsigned count) {
  LastClaim last;
  for (unsigned n = 0; n < count; ++n) {
    PublishClaim c;
    while ((c = claim_one(ring, client, last)).outcome == ClaimOutcome::full) yield();
    publish_claimed(ring, c, client, n);
  }
}

// Every ticket of the last lap carries its own tag: nobody wrote an older message over it.
void expect_last_lap_intact(const ModelRing& ring) {
  const std::uint64_t next = ring.cursor(kProducers).next;
  for (std::uint64_t t = next > ring.lines() ? next - ring.lines() : 0; t < next; ++t) {
    RL_ASSERT(is_tagged(ring.in(t), ring.lap(t)));
  }
}

// Two producers, no group at first. A consumer joins, takes a message if it gets one, leaves, and joins again.
struct ComesAndGoes : rl::test_suite<ComesAndGoes, 3> {
  static constexpr unsigned kFirst = 2;
  static constexpr unsigned kSecond = 3;
  ModelQueue<1, 1, 1, 0, 0, 0> q;
  std::uint64_t expected = 0;  // first ticket that the group may see

  void thread(unsigned i) {
    if (i == 0) return publish(q.ring, 2, kFirst);
    if (i == 1) return publish(q.ring, 3, kSecond);
    for (unsigned round = 0; round < 2; ++round) {
      const std::uint64_t at = join_set(q.ring, 0, [](std::uint64_t) {});
      RL_ASSERT(at >= expected);
      expected = at;
      take_some();
      const std::uint64_t end = leave_set(q.ring, 0);
      while (!discard_untaken(q.ring, q.pool, 0, end, [](std::uint64_t) { return true; })) yield();
      q.ring.clear_live(0);
      RL_ASSERT(end >= expected);
      expected = end;
    }
  }
  void take_some() {
    ModelMember member = q.member(0, 0, 4);
    for (unsigned tries = 0; tries < 3; ++tries) {
      std::uint32_t entry = 0;
      if (!take_one(member, q.ring, entry)) {
        yield();
        continue;
      }
      auto& h = member.held(entry);
      Content c;
      std::memcpy(&c, h.data.view(), sizeof c);
      RL_ASSERT(c.check == c.producer * 1000 + c.number && c.number == h.descriptor.load().sequence);
      const std::uint64_t ticket = h.ticket.load(std::memory_order::relaxed);
      RL_ASSERT(ticket >= expected);
      expected = ticket + 1;
      bool freed = false;
      RL_ASSERT(member.release(entry, 0, q.pool, freed));
    }
  }
  void after() {
    RL_ASSERT(q.ring.cursor(kProducers).next == kFirst + kSecond);
    expect_last_lap_intact(q.ring);
  }
};

// Three producers, never a group: each line is written again as soon as its message is there, and no sooner.
struct NobodyReads : rl::test_suite<NobodyReads, 3> {
  ModelQueue<1, 1, 1, 0, 0, 0> q;
  void thread(unsigned i) { publish(q.ring, 2 + i, 2); }
  void after() {
    RL_ASSERT(q.ring.cursor(kProducers).next == 6);
    expect_last_lap_intact(q.ring);
  }
};

// A group that is paused twice while two members take, and a producer discards for it in between. While it is paused no
// member takes; each message is taken once or discarded, in the order of the cursor.
struct PausesAndGoesOn : rl::test_suite<PausesAndGoesOn, 4> {
  static constexpr unsigned kMessages = 4;
  ModelQueue<1, 2, 1, 0, 0, 1, 4> q;
  unsigned seen[kMessages] = {};
  unsigned gone = 0;
  bool paused = false;

  void take(unsigned block) {
    ModelMember member = q.member(0, block, 3 + block);
    while (gone < kMessages) {
      std::uint32_t entry = 0;
      if (!member.has_work() || !take_one(member, q.ring, entry)) {
        yield();
        continue;
      }
      std::uint64_t n = 0;
      std::memcpy(&n, member.held(entry).data.view(), sizeof n);
      RL_ASSERT(n < kMessages);
      ++seen[n];
      ++gone;
      bool freed = false;
      RL_ASSERT(member.release(entry, 0, q.pool, freed));
    }
  }
  void discard() {
    const Cursor v = q.ring.cursor(1);
    bool dropped = false;
    bool freed = false;
    if (drop_one(q.ring, q.pool, 0, v.next, 2, dropped, freed) && dropped) ++seen[v.next], ++gone;
  }
  void thread(unsigned i) {
    if (i == 1 || i == 2) return take(i - 1);
    if (i == 0) {
      LastClaim last;
      for (unsigned n = 0; n < kMessages; ++n) publish_number(q.ring, 2, n, last);
      return discard();
    }
    for (unsigned round = 0; round < 2; ++round) {
      const std::uint64_t at = pause_in_set(q.ring, 0, true);
      for (unsigned look = 0; look < 2; ++look) {
        const Cursor v = q.ring.stable_cursor(1);
        RL_ASSERT(v.paused && v.next >= at);
        RL_ASSERT(v.next == at || v.client == 2);  // the producer, who discards
        yield();
      }
      (void)pause_in_set(q.ring, 0, false);
      yield();
    }
  }
  void after() {
    for (const unsigned n : seen) RL_ASSERT(n == 1);
    RL_ASSERT(!q.ring.cursor(1).paused);
  }
};

TEST(GroupSetModel, KeepsTheOrderWhileGroupsJoinAndLeave) { expect_sound<ComesAndGoes>(40'000); }
TEST(GroupSetModel, KeepsTheOrderWithoutGroups) { expect_sound<NobodyReads>(40'000); }
TEST(GroupSetModel, GivesNothingToMembersWhileItIsPaused) { expect_sound<PausesAndGoesOn>(40'000); }

}  // namespace
}  // namespace ipcq::detail::model
