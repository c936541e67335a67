// Held entries: a message given back is taken over by exactly one member, with its content, and is never forgotten.
#include "model_queue.hpp"

#include <cstring>

namespace ipcq::detail::model {
namespace {

std::uint64_t number_in(const HeldOf<RelacyAtomics>& h) {
  std::uint64_t n = 0;
  std::memcpy(&n, h.data.view(), sizeof n);
  return n;
}

// Two members; each message is given back once by whoever gets it first.
struct GivenBackOnce : rl::test_suite<GivenBackOnce, 3> {
  static constexpr unsigned kMessages = 3;
  ModelQueue<1, 2, 1> q;
  unsigned handed_out[kMessages] = {};
  unsigned released = 0;

  void thread(unsigned i) {
    if (i == 0) {
      LastClaim last;
      for (unsigned n = 0; n < kMessages; ++n) publish_number(q.ring, 2, n, last);
      return;
    }
    ModelMember member = q.member(0, i - 1, 2 + i);
    while (released < kMessages) {
      std::uint32_t entry = 0;
      if (!take_one(member, q.ring, entry)) {
        yield();
        continue;
      }
      auto& h = member.held(entry);
      const auto word = unpack_held(h.word.load(std::memory_order::relaxed));
      const std::uint64_t n = number_in(h);
      RL_ASSERT(n < kMessages && n == h.descriptor.load().sequence);
      RL_ASSERT(word.deliveries == handed_out[n]);
      ++handed_out[n];
      bool freed = false;
      if (handed_out[n] == 1) {
        RL_ASSERT(member.give_back(entry, 0));
      } else {
        ++released;
        RL_ASSERT(member.release(entry, 1, q.pool, freed));
      }
    }
  }
  void after() {
    for (const unsigned n : handed_out) RL_ASSERT(n == 2);
    for (auto& h : q.held) RL_ASSERT(h.word.load(std::memory_order::relaxed) == 0);
  }
};

// A message lies given back. Two members take it over and give it back again a few times. Whatever they do, a message
// that lies given back at the end can be found.
struct OrphanIsNeverForgotten : rl::test_suite<OrphanIsNeverForgotten, 2> {
  ModelQueue<1, 2, 1> q;

  void before() {
    q.held[0].word.store(pack(HeldWord{HeldState::orphan, 0, 0, 1}), std::memory_order::relaxed);
    q.orphans[0].store(1, std::memory_order::relaxed);
  }
  void thread(unsigned i) {
    ModelMember member = q.member(0, i, 3 + i);
    for (unsigned n = 0; n < 3; ++n) {
      std::uint32_t entry = 0;
      if (!member.has_work() || !take_one(member, q.ring, entry)) continue;
      const auto word = unpack_held(q.held[entry].word.load(std::memory_order::relaxed));
      RL_ASSERT(word.state == HeldState::held && word.client == 3 + i);
      if (n != 0) yield();
      if (n == 0) {
        std::uint32_t other = 0;
        (void)member.take_one(other);  // finds none: this member holds the only one
      }
      RL_ASSERT(member.give_back(entry, word.deliveries));
    }
  }
  void after() {
    RL_ASSERT(unpack_held(q.held[0].word.load(std::memory_order::relaxed)).state == HeldState::orphan);
    RL_ASSERT(q.member(0, 1, 9).has_work());
    std::uint32_t entry = 7;
    ModelMember last = q.member(0, 1, 9);
    RL_ASSERT(last.take_one(entry).outcome == TakeOutcome::taken && entry == 0);
  }
};

// A taker-over releases an entry of another member's block, who uses it for the next message at once.
struct EntryReturnsToItsBlock : rl::test_suite<EntryReturnsToItsBlock, 2> {
  ModelQueue<1, 2, 1> q;
  unsigned taken = 0;

  void before() {
    LastClaim last;
    for (unsigned n = 0; n < 2; ++n) publish_number(q.ring, 2, n, last);
    ModelMember first = q.member(0, 0, 3);
    std::uint32_t entry = 0;
    RL_ASSERT(first.take_one(entry).outcome == TakeOutcome::taken);
    RL_ASSERT(first.give_back(entry, 0));
  }
  void thread(unsigned i) {
    ModelMember member = q.member(0, i, 3 + i);
    while (taken < 2) {
      std::uint32_t entry = 0;
      if (!take_one(member, q.ring, entry)) {
        yield();
        continue;
      }
      ++taken;
      auto& h = member.held(entry);
      RL_ASSERT(number_in(h) == h.descriptor.load().sequence);
      bool freed = false;
      RL_ASSERT(member.release(entry, unpack_held(h.word.load(std::memory_order::relaxed)).deliveries, q.pool, freed));
    }
  }
};

TEST(GroupModel, RedeliversEachMessageGivenBackToOneMember) { expect_sound<GivenBackOnce>(10'000); }
TEST(GroupModel, NeverForgetsAMessageGivenBack) { expect_sound<OrphanIsNeverForgotten>(100'000); }
TEST(GroupModel, NeverForgetsOneWhereverTwoPreemptionsFall) { expect_sound_in_all<OrphanIsNeverForgotten>(); }
TEST(GroupModel, ReusesAnEntryOnlyAfterWhoeverTookItOver) { expect_sound<EntryReturnsToItsBlock>(30'000); }

TEST(GroupModel, FindsAHeldEntryThatChangesHandsBeforeItsContent) {
  expect_found<EntryReturnsToItsBlock>(Fault::held_word_relaxed, 30'000);
}

}  // namespace
}  // namespace ipcq::detail::model
