// Slots: never owned twice, payload visible to whoever owns the slot next, none lost; aliases (forward) and their
// release by whoever comes last.
#include "model_queue.hpp"

namespace ipcq::detail::model {
namespace {

// Two producers and one reader of each of two groups share one slot.
struct LoanPublishRelease : rl::test_suite<LoanPublishRelease, 4> {
  ModelQueue<2, 2, 1, 1> q;
  RelacyAtomics::Plain<std::uint64_t> payload;
  std::uint32_t owner = 0;
  unsigned received[2] = {};
  static constexpr unsigned kEach = 2;

  void thread(unsigned i) {
    if (i < 2) {
      produce(2 + i);
    } else {
      consume(i - 2);
    }
  }
  void produce(std::uint32_t client) {
    LastClaim last;
    std::uint32_t hint = 0;
    for (unsigned n = 0; n < kEach; ++n) {
      SlotLoan loan;
      while ((loan = q.pool.borrow(client, hint)).slot == kNone) yield();
      RL_ASSERT(owner == 0);  // no other has it
      owner = client;
      payload.edit() = client * 100 + n;
      if (n == 0) {  // one loan is given back unused
        owner = 0;
        RL_ASSERT(q.pool.give_back(loan, client));
        RL_ASSERT(!q.pool.give_back(loan, client));
        while ((loan = q.pool.borrow(client, hint)).slot == kNone) yield();
        owner = client;
        payload.edit() = client * 100 + n;
      }
      PublishClaim c;
      while ((c = claim_one(q.ring, client, last)).outcome == ClaimOutcome::full) yield();
      owner = 0;
      q.pool.mark_message(loan, client, c.groups, c.ticket);
      Descriptor d;
      d.kind = LineKind::slot;
      d.slot = loan.slot;
      d.lease = loan.lease;
      d.sequence = client * 100 + n;
      q.ring.write(c.ticket, d, nullptr);
    }
  }
  void consume(unsigned group) {
    ModelMember member = q.member(group, group, 4 + group);
    while (received[group] < 2 * kEach) {
      std::uint32_t entry = 0;
      if (!take_one(member, q.ring, entry)) {
        yield();
        continue;
      }
      ++received[group];
      const Descriptor d = member.held(entry).descriptor.load();
      RL_ASSERT(payload.view() == d.sequence);
      bool freed = false;
      RL_ASSERT(member.release(entry, 0, q.pool, freed));
      (void)freed;
    }
  }
  void after() { RL_ASSERT(q.nothing_leaked()); }
};

// Slot 0 is a message of groups 0 and 1 (first queue). The holder of group 0's bit forwards it to groups 0 and 1 of a
// second queue through an alias, whose readers race with the forwarder's hand-over and the other reader of the slot.
struct ForwardThroughAlias : rl::test_suite<ForwardThroughAlias, 4> {
  ModelQueue<2, 1, 1, 1, 1> q;
  RelacyAtomics::Plain<int> payload;
  RelacyAtomics::Word published;  // the second queue's line
  SlotLoan slot;
  SlotLoan alias;
  unsigned freed = 0;

  void before() {
    std::uint32_t hint = 0;
    slot = q.pool.borrow(2, hint);
    payload.edit() = 7;
    q.pool.mark_message(slot, 2, 3, 0);
    HeldOf<RelacyAtomics>& h = q.held[0];
    Descriptor d;
    d.kind = LineKind::slot;
    d.slot = slot.slot;
    d.lease = slot.lease;
    h.descriptor.store(d);
    h.word.store(pack(HeldWord{HeldState::held, 3, 0, 0}), std::memory_order::relaxed);
  }
  void thread(unsigned i) {
    if (i == 0) {
      std::uint32_t hint = 0;
      alias = q.pool.borrow_alias(3, hint, slot, 0);
      RL_ASSERT(alias.slot == q.kAliasBase);
      q.pool.mark_message(alias, 3, 3, 5);
      published.store(1, std::memory_order::release);
      RL_ASSERT(q.member(0, 0, 3).hand_over(0, 0));
    } else if (i == 1) {
      RL_ASSERT(payload.view() == 7);
      freed += q.pool.release(slot.slot, slot.lease, 1) ? 1 : 0;
    } else {
      while (published.load(std::memory_order::acquire) == 0) yield();
      RL_ASSERT(payload.view() == 7);
      freed += q.pool.release(alias.slot, alias.lease, i - 2) ? 1 : 0;
      RL_ASSERT(!q.pool.release(alias.slot, alias.lease, i - 2));  // idempotent
    }
  }
  void after() {
    RL_ASSERT(freed == 1 && q.nothing_leaked());
    std::uint32_t hint = 0;
    const SlotLoan next = q.pool.borrow(9, hint);
    RL_ASSERT(next.lease == slot.lease + 1);
    payload.edit() = 8;
  }
};

// The last reader of an alias is slow; the repair finishes the alias meanwhile, and a forwarder borrows it at once for
// another parent, whose lease happens to be the same number.
struct AliasFinishedTwice : rl::test_suite<AliasFinishedTwice, 3> {
  ModelQueue<1, 1, 1, 2, 1> q;
  SlotLoan slots[2];
  SlotLoan alias;

  void before() {
    std::uint32_t hint = 0;
    for (auto& s : slots) {
      s = q.pool.borrow(2, hint);
      q.pool.mark_message(s, 2, 3, 0);  // groups 0 and 1; only group 0's bit is forwarded
    }
    alias = q.pool.borrow_alias(3, hint, slots[0], 0);
    q.pool.mark_message(alias, 3, 1, 0);
  }
  void thread(unsigned i) {
    if (i == 0) (void)q.pool.release(alias.slot, alias.lease, 0);
    if (i == 1) (void)q.pool.finish_alias(alias.slot);
    if (i == 2) {
      std::uint32_t hint = 0;
      for (unsigned tries = 0; tries < 3; ++tries) {
        const SlotLoan next = q.pool.borrow_alias(4, hint, slots[1], 1);
        if (next.slot == kNone) {
          yield();
          continue;
        }
        q.pool.mark_message(next, 4, 1, 1);
        return;
      }
    }
  }
  void after() {
    RL_ASSERT(q.pool.slot(slots[0].slot).groups == 2);  // group 0's bit was passed on, group 1 still reads
    RL_ASSERT(q.pool.slot(slots[1].slot).groups == 3);  // its alias still holds it
  }
};

// Borrowers race for two slots, each owned by one at a time.
struct ThreeBorrowers : rl::test_suite<ThreeBorrowers, 3> {
  ModelQueue<1, 1, 1, 2> q;
  RelacyAtomics::Plain<unsigned> payload[2];

  void thread(unsigned i) {
    std::uint32_t hint = 0;
    for (unsigned n = 0; n < 2; ++n) {
      SlotLoan loan;
      while ((loan = q.pool.borrow(2 + i, hint)).slot == kNone) yield();
      payload[loan.slot].edit() = i;
      RL_ASSERT(payload[loan.slot].view() == i);
      RL_ASSERT(q.pool.give_back(loan, 2 + i));
    }
  }
  void after() { RL_ASSERT(q.nothing_leaked()); }
};

// Somebody looks at a slot that goes from lease to lease: what it sees is one lease's.
struct LooksAtASlotInUse : rl::test_suite<LooksAtASlotInUse, 2> {
  ModelQueue<1, 1, 1, 1> q;
  void thread(unsigned i) {
    if (i == 0) {
      std::uint32_t hint = 0;
      for (unsigned n = 0; n < 3; ++n) {
        const SlotLoan loan = q.pool.borrow(2, hint);
        RL_ASSERT(loan.slot == 0);
        q.pool.mark_message(loan, 2, 1, loan.lease);
        RL_ASSERT(q.pool.release(0, loan.lease, 0));
      }
    } else {
      const Slot s = q.pool.slot(0);
      RL_ASSERT(s.state != SlotState::message || s.ticket == s.lease);
    }
  }
};

// A forwarder died behind its publish: slot 0's bit belongs to the alias, whose reader clears it meanwhile; then the
// slot is lent again and published for the same group. The repair must not take that for the dead one's message.
struct RepairMeetsTheNextLease : rl::test_suite<RepairMeetsTheNextLease, 3> {
  ModelQueue<1, 1, 1, 1, 1> q;
  SlotLoan slot;
  SlotLoan alias;

  void before() {
    std::uint32_t hint = 0;
    slot = q.pool.borrow(2, hint);
    q.pool.mark_message(slot, 2, 1, 0);
    alias = q.pool.borrow_alias(3, hint, slot, 0);
    q.pool.mark_message(alias, 3, 1, 0);
  }
  void thread(unsigned i) {
    if (i == 0) RL_ASSERT(q.pool.release(alias.slot, alias.lease, 0));
    if (i == 1) {
      std::uint32_t hint = 0;
      const SlotLoan next = q.pool.borrow(4, hint);
      if (next.slot != kNone) q.pool.mark_message(next, 4, 1, 1);
    }
    if (i == 2) {
      ModelPool::ParentBit bit;
      const bool by_alias = q.pool.parent_bit(alias.slot, bit);
      RL_ASSERT(!by_alias || (bit.where == slot.slot && bit.lease == slot.lease));
      RL_ASSERT(by_alias || !q.pool.is_reading(slot.slot, slot.lease, 0));
    }
  }
};

// The repair looks for aliases without a reader while one is lent, published and released.
struct AliasLentWhileTheRepairLooks : rl::test_suite<AliasLentWhileTheRepairLooks, 2> {
  ModelQueue<1, 1, 1, 2, 1> q;
  SlotLoan slots[2];

  void before() {
    std::uint32_t hint = 0;
    for (auto& s : slots) {
      s = q.pool.borrow(2, hint);
      q.pool.mark_message(s, 2, 1, 0);
    }
  }
  void thread(unsigned i) {
    if (i == 1) {
      for (unsigned looks = 0; looks < 2; ++looks) (void)q.pool.finish_alias(q.kAliasBase);
      return;
    }
    std::uint32_t hint = 0;
    for (const SlotLoan& s : slots) {
      SlotLoan alias;
      while ((alias = q.pool.borrow_alias(3, hint, s, 0)).slot == kNone) yield();
      q.pool.mark_message(alias, 3, 1, 0);
      (void)q.pool.release(alias.slot, alias.lease, 0);
    }
  }
  void after() { RL_ASSERT(q.nothing_leaked()); }
};

TEST(PoolModel, GivesASlotToOneOwnerAtATimeAndLosesNone) { expect_sound<LoanPublishRelease>(8'000); }
TEST(PoolModel, LetsBorrowersRaceWithoutSharingASlot) { expect_sound<ThreeBorrowers>(30'000); }
TEST(PoolModel, FreesAForwardedSlotOnceWhenItsLastReaderIsDone) { expect_sound<ForwardThroughAlias>(40'000); }
TEST(PoolModel, FinishesAnAliasOnceWhenReaderAndRepairRace) { expect_sound<AliasFinishedTwice>(100'000); }

TEST(PoolModel, ShowsOneLeaseOfASlotInUse) { expect_sound_in_all<LooksAtASlotInUse>(); }
TEST(PoolModel, TellsADeadForwardersBitFromTheNextLeases) { expect_sound<RepairMeetsTheNextLease>(100'000); }
TEST(PoolModel, TellsItWhereverTwoPreemptionsFall) { expect_sound_in_all<RepairMeetsTheNextLease>(); }
TEST(PoolModel, LeavesAnAliasOnLoanToItsReaders) { expect_sound<AliasLentWhileTheRepairLooks>(100'000); }

TEST(PoolModel, FindsASlotSeenInHalves) { expect_found<LooksAtASlotInUse>(Fault::wide_load_torn, 20'000); }
TEST(PoolModel, FindsAForwardersBitSeenInHalves) {
  expect_found<RepairMeetsTheNextLease>(Fault::wide_load_torn, 200'000);
}
TEST(PoolModel, FindsASlotBorrowedBeforeItsReadersFinished) {
  expect_found<LoanPublishRelease>(Fault::slot_word_relaxed, 8'000);
}

}  // namespace
}  // namespace ipcq::detail::model
