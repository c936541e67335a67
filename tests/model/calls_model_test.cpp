// Call entries: each call comes to one answer at its caller, whoever of the two ends in between; the entry returns to
// its block, and nobody writes to one that has another call.
#include "model_queue.hpp"

#include "protocol/calls.hpp"

namespace ipcq::detail::model {
namespace {

using Entry = CallOf<RelacyAtomics>;
using Caller = CallerSide<RelacyAtomics>;
using Server = AnswerSide<RelacyAtomics>;

constexpr std::uint32_t kFirst = 11;  // client ids of servers
constexpr SlotLoan kNoSlot{};

void write(const Server& server, std::uint64_t number) {
  std::memcpy(server.data(), &number, sizeof number);
  server.place(sizeof number, kNone, 0);
}
std::uint64_t read(const Entry& e) {
  std::uint64_t number = 0;
  std::memcpy(&number, e.data.view(), sizeof number);
  return number;
}

// The caller makes three calls, and waits for no answer of the second. Two servers answer every call that they see,
// each with a number of its own, as if both had its request.
struct OneAnswerForEachCall : rl::test_suite<OneAnswerForEachCall, 3> {
  static constexpr unsigned kCalls = 3;
  Entry entry;
  rl::atomic<std::uint32_t> asked;
  unsigned answered[kCalls + 1] = {};
  unsigned taken[kCalls + 1] = {};

  void before() { asked.store(0, rl::mo_relaxed, RL_INFO); }
  void thread(unsigned i) {
    if (i == 0) return call();
    for (std::uint32_t last = 0; last < kCalls;) {
      const std::uint32_t n = asked.load(rl::mo_acquire, RL_INFO);
      if (n == last) {
        yield();
        continue;
      }
      last = n;
      const Server server(entry, n, kFirst + i);
      if (server.begin(false) != Server::Begun::yes) continue;
      write(server, 100 * n + i);
      if (server.publish(Answer::reply, false, false)) ++answered[n];
    }
  }
  void call() {
    const Caller caller(entry);
    for (unsigned n = 1; n <= kCalls; ++n) {
      while (caller.look().state != CallState::free) yield();  // a server frees one that was cancelled as it wrote
      RL_ASSERT(caller.open(kNoTicket) == n);
      asked.store(n, rl::mo_release, RL_INFO);
      if (n != 2) {
        while (caller.look().state != CallState::answered) yield();
        const std::uint64_t got = read(entry);
        RL_ASSERT(got / 100 == n && caller.look().number == n);
        ++taken[n];
      }
      (void)caller.close([](const SlotLoan&) { RL_ASSERT(false); });
    }
  }
  void after() {
    RL_ASSERT(unpack_call(entry.word.load(std::memory_order::relaxed)).state == CallState::free);
    for (unsigned n = 1; n <= kCalls; ++n)
      RL_ASSERT(answered[n] <= 1 && (n == 2 || (answered[n] == 1 && taken[n] == 1)));
  }
};

// A server streams three replies and ends, one at a time, each of which the caller reads once and in order.
struct RepliesOneAtATime : rl::test_suite<RepliesOneAtATime, 2> {
  static constexpr unsigned kReplies = 3;
  Entry entry;

  void before() { RL_ASSERT(Caller(entry).open(kNoTicket) == 1); }
  void thread(unsigned i) {
    if (i == 0) {
      const Caller caller(entry);
      for (unsigned n = 0; n < kReplies; ++n) {
        CallWord w;
        while ((w = caller.look()).state != CallState::answered) yield();
        RL_ASSERT(w.answer == Answer::reply && read(entry) == n);
        if (w.more && caller.go_on()) continue;
        w = caller.look();  // ended since
        RL_ASSERT(n == kReplies - 1 && w.answer == Answer::reply && !w.more && read(entry) == n);
        RL_ASSERT(caller.close([](const SlotLoan&) { RL_ASSERT(false); }));
        return;
      }
      while (caller.look().state != CallState::answered) yield();
      RL_ASSERT(caller.look().answer == Answer::end);
      RL_ASSERT(caller.close([](const SlotLoan&) { RL_ASSERT(false); }));
      return;
    }
    const Server server(entry, 1, kFirst);
    for (unsigned n = 0; n < kReplies;) {
      const auto begun = server.begin(false);
      RL_ASSERT(begun != Server::Begun::cancelled);
      if (begun == Server::Begun::unread) {
        yield();
        continue;
      }
      write(server, n++);
      RL_ASSERT(server.publish(Answer::reply, false, true));
    }
    RL_ASSERT(server.finish(Server::kEnded, false, kNoSlot) == Server::After::release);
  }
  void after() { RL_ASSERT(unpack_call(entry.word.load(std::memory_order::relaxed)).state == CallState::free); }
};

// A server dies at one of its steps, with its request in a slot. Its repair answers, or gives the request to another
// server; meanwhile the caller reads what comes, or cancels. The slot is freed by one party, once.
template <bool kRedelivers, bool kCancels>
struct ServerDies : rl::test_suite<ServerDies<kRedelivers, kCancels>, 2> {
  static constexpr SlotLoan kOwn{0, 7};
  Entry entry;
  unsigned freed = 0;  // the request's slot
  unsigned given_back = 0;
  unsigned seen = 0;

  void before() { RL_ASSERT(Caller(entry).open(kNoTicket) == 1); }
  void thread(unsigned i) { i == 0 ? call() : serve(); }
  void call() {
    const Caller caller(entry);
    const auto free_slot = [this](const SlotLoan& s) {
      RL_ASSERT(s == kOwn);
      ++freed;
    };
    if (kCancels) {
      (void)caller.close(free_slot);
      return;
    }
    for (;;) {
      CallWord w;
      while ((w = caller.look()).state != CallState::answered) yield();
      ++seen;
      if (w.more && caller.go_on()) continue;
      w = caller.look();
      RL_ASSERT(!w.more);
      RL_ASSERT(caller.close(free_slot));
      return;
    }
  }
  void serve() {
    const Server server(entry, 1, kFirst);
    const unsigned step = rl::rand(5);  // after so many steps it is dead
    bool handed_over = false;
    if (step > 0 && server.begin(false) == Server::Begun::yes && step > 1) {
      write(server, 5);
      server.place(8, kOwn.slot, kOwn.lease);
      if (step > 2) {
        const bool more = step == 3;
        const bool published = server.publish(Answer::reply, true, more);
        handed_over = published && !more;
      }
    }
    const auto after = server.finish(Server::kDied, kRedelivers, kOwn);
    if (after == Server::After::release && !handed_over) ++freed;  // by the lease, once
    if (after == Server::After::give_back) {
      ++given_back;
      const Server other(entry, 1, kFirst + 1);
      if (other.begin(false) == Server::Begun::yes) {
        write(other, 6);
        (void)other.publish(Answer::reply, false, false);
      }
      ++freed;  // it releases its request
    }
  }
  void after() {
    RL_ASSERT(unpack_call(entry.word.load(std::memory_order::relaxed)).state == CallState::free);
    RL_ASSERT(freed == 1);
    RL_ASSERT(kRedelivers || given_back == 0);
    RL_ASSERT(kCancels || seen >= 1);
  }
};

TEST(CallsModel, GivesEachCallOneAnswerOfItsOwn) { expect_sound<OneAnswerForEachCall>(30'000); }
TEST(CallsModel, StreamsOneReplyAtATime) { expect_sound<RepliesOneAtATime>(20'000); }
TEST(CallsModel, AnswersForADeadServer) { expect_sound<ServerDies<false, false>>(20'000); }
TEST(CallsModel, GivesTheRequestOfADeadServerToAnother) { expect_sound<ServerDies<true, false>>(20'000); }
TEST(CallsModel, FreesTheSlotOnceWhereTheCallerCancels) {
  expect_sound<ServerDies<false, true>>(20'000);
  expect_sound<ServerDies<true, true>>(20'000);
}

TEST(CallsModel, FindsAnAnswerThatIsSeenBeforeItsBytes) {
  expect_found<OneAnswerForEachCall>(Fault::held_word_relaxed, 30'000);
}

}  // namespace
}  // namespace ipcq::detail::model
