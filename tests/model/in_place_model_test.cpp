// Ranges that a member reads in their lines and finishes one by one: a line does not change before its reader is done
// with it, whoever else takes, joins or dies, and a dead reader's range can be found.
#include "model_queue.hpp"

#include <array>
#include <cstring>

#include "protocol/group_set.hpp"

namespace ipcq::detail::model {
namespace {

constexpr unsigned kLines = 8;  // a range is a quarter of them
constexpr unsigned kMessages = 11;

void publish_numbers(const ModelRing& ring, std::uint32_t client, unsigned first, unsigned end) {
  LastClaim last;
  for (std::uint64_t n = first; n < end; ++n) publish_number(ring, client, n, last);
}

struct Counts {
  std::array<unsigned, kMessages> seen{};
  unsigned total = 0;

  void add(const Descriptor& d, const std::byte* data, std::uint64_t ticket) {
    std::uint64_t n = 0;
    std::memcpy(&n, data, sizeof n);
    RL_ASSERT(n == ticket && d.sequence == ticket);  // of this lap, and whole
    ++seen[ticket];
    ++total;
  }
};

// Reads up to `ranges` ranges. Returns the first ticket of one that it leaves unfinished behind its first message
// (`dies`), as a member that is killed there does.
std::uint64_t read_ranges(ModelReader reader, Counts& counts, const unsigned& total, unsigned ranges, bool dies) {
  while (total < kMessages && ranges != 0) {
    Taken taken;
    const std::uint64_t first = reader.claim(4, 0, taken);
    if (taken.outcome != TakeOutcome::taken) {
      yield();
      continue;
    }
    --ranges;
    for (std::uint64_t t = first; t != first + taken.count; ++t) {
      if (dies && ranges == 0 && t + 1 == first + taken.count) return t;
      Descriptor d;
      InlineData data;
      bool damaged = false;
      if (fault == Fault::read_after_finish) reader.finish(t);
      const std::byte* const bytes = reader.read(t, d, data, damaged);
      RL_ASSERT(bytes != nullptr);
      counts.add(d, bytes, t);
      if (fault != Fault::read_after_finish) reader.finish(t);
    }
  }
  return kNoTicket;
}

// One member reads ranges, another takes copies, a third copies one by one; the producer laps the ring.
struct RangesBesideCopies : rl::test_suite<RangesBesideCopies, 4> {
  ModelQueue<1, 3, 4, 0, 0, 1, kLines> q;
  Counts counts;

  void thread(unsigned i) {
    if (i == 0) publish_numbers(q.ring, 2, 0, kMessages);
    if (i == 1) read_ranges(q.reader(0, 0, 3), counts, counts.total, ~0u, false);
    if (i == 2) {
      ModelMember member = q.member(0, 1, 4);
      while (counts.total < kMessages) {
        std::array<std::uint32_t, 2> entries{};
        const Taken t = member.take(entries);
        if (t.count == 0) yield();
        for (std::size_t k = 0; k < t.count; ++k) {
          auto& h = member.held(entries[k]);
          counts.add(h.descriptor.load(), h.data.view(), h.ticket.load(std::memory_order::relaxed));
          bool freed = false;
          RL_ASSERT(member.release(entries[k], 0, q.pool, freed));
        }
      }
    }
    if (i == 3) {
      ModelReader reader = q.reader(0, 2, 5);
      while (counts.total < kMessages) {
        Descriptor d;
        InlineData data;
        const std::uint64_t ticket = copy_one(reader, data.bytes, d);
        if (ticket != kNoTicket) {
          counts.add(d, data.bytes, ticket);
        } else {
          yield();
        }
      }
    }
  }
  void after() {
    for (const unsigned n : counts.seen) RL_ASSERT(n == 1);
    for (auto& h : q.held) RL_ASSERT(h.word.load(std::memory_order::relaxed) == 0);
  }
};

// The ring is full, so that the producer laps the reader wherever it may.
struct ReaderOfAFullRing : rl::test_suite<ReaderOfAFullRing, 2> {
  ModelQueue<1, 1, 4, 0, 0, 1, kLines> q;
  Counts counts;

  void before() { publish_numbers(q.ring, 2, 0, kLines); }
  void thread(unsigned i) {
    if (i == 0) publish_numbers(q.ring, 2, kLines, kMessages);
    if (i == 1) read_ranges(q.reader(0, 0, 3), counts, counts.total, ~0u, false);
  }
  void after() {
    for (const unsigned n : counts.seen) RL_ASSERT(n == 1);
  }
};

// A reader dies within a range while another group joins, others take what follows, and the producer laps the ring.
// Each ticket that it has not finished is its own, marked as being read, by the cursor or by the log, and its line
// still carries the message, for the repair.
struct DeathWithinARange : rl::test_suite<DeathWithinARange, 4> {
  ModelQueue<2, 2, 4, 0, 0, 1, kLines> q;
  Counts dead, others;
  std::uint64_t left = kNoTicket;

  void thread(unsigned i) {
    if (i == 0) {
      LastClaim last;
      for (unsigned n = 0; n < kMessages; ++n) {
        const PublishClaim c = claim_one(q.ring, 2, last);
        if (c.outcome != ClaimOutcome::ok) return;  // full behind the dead reader's line
        write_number(q.ring, c.ticket, c.ticket);
      }
    }
    if (i == 1) left = read_ranges(q.reader(0, 0, 3), dead, dead.total, 2, true);
    if (i == 2) {
      ModelReader reader = q.reader(0, 1, 4);
      for (unsigned n = 0; n < 4; ++n) {
        Descriptor d;
        InlineData data;
        const std::uint64_t ticket = copy_one(reader, data.bytes, d);
        if (ticket != kNoTicket) others.add(d, data.bytes, ticket);
      }
    }
    if (i == 3) (void)join_set(q.ring, 1, [](std::uint64_t) {});
  }
  void after() {
    if (left == kNoTicket) return;
    const Cursor v = q.ring.cursor(1);
    const std::uint64_t e = q.ring.own(1, left).load(std::memory_order::acquire);
    const bool by_cursor = v.client == 3 && v.reading && v.next == left + 1;
    const bool by_log = own_lap(e) == q.ring.lap(left) && own_state(e) == OwnState::reading && own_client(e) == 3;
    RL_ASSERT(by_cursor || by_log);
    Descriptor d;
    InlineData data;
    RL_ASSERT(q.ring.read(left, d, data.bytes) == LineRead::present);
    dead.add(d, data.bytes, left);
    RL_ASSERT(dead.seen[left] + others.seen[left] == 1);
  }
};

TEST(InPlaceModel, EachMessageIsReadOnceWhileItsLineIsWhole) { expect_sound<RangesBesideCopies>(4'000); }
TEST(InPlaceModel, ALineChangesOnlyBehindItsReader) { expect_sound<ReaderOfAFullRing>(20'000); }
TEST(InPlaceModel, ADeadReadersRangeIsFoundAndStillThere) { expect_sound<DeathWithinARange>(20'000); }

TEST(InPlaceModel, FindsALineFinishedBeforeItIsRead) {
  expect_found<ReaderOfAFullRing>(Fault::read_after_finish, 20'000);
}
TEST(InPlaceModel, FindsALineTagStoredWithoutRelease) {
  expect_found<RangesBesideCopies>(Fault::line_tag_relaxed, 8'000);
}

}  // namespace
}  // namespace ipcq::detail::model
