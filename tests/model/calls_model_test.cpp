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

// A server passes its request on, and dies at one of its steps or not at all. Whoever gets the request answers under
// the call's next number; meanwhile the caller reads what comes, or cancels. The slot is freed by one party, once.
template <bool kCancels>
struct RequestGoesOn : rl::test_suite<RequestGoesOn<kCancels>, 3> {
  static constexpr SlotLoan kOwn{0, 7};
  enum : std::uint32_t { kPending, kPublished, kNever };
  Entry entry;
  rl::atomic<std::uint32_t> message;  // of the second queue
  rl::atomic<unsigned> freed;         // how often the request's slot was
  unsigned seen = 0;
  std::uint32_t again = 0;  // number of the entry's next call

  void before() {
    message.store(kPending, rl::mo_relaxed, RL_INFO);
    freed.store(0, rl::mo_relaxed, RL_INFO);
    RL_ASSERT(Caller(entry).open(kNoTicket) == 1);
  }
  void free_slot() { freed.fetch_add(1, rl::mo_relaxed, RL_INFO); }
  void thread(unsigned i) { i == 0 ? call() : i == 1 ? pass_on() : serve(); }
  void call() {
    const Caller caller(entry);
    const auto free_own = [this](const SlotLoan& s) {
      RL_ASSERT(s == kOwn);
      free_slot();
    };
    if (!kCancels) {
      while (caller.look().state != CallState::answered) yield();
      ++seen;
    }
    (void)caller.close(free_own);
    if (kCancels && caller.look().state == CallState::free) {
      // Another call of the entry, which nobody of these has a request of.
      const std::uint32_t number = caller.open(kNoTicket);
      again = number;
    }
  }
  // As the repair finds it: by the number and the party that the word has.
  std::uint32_t number_now() {
    const CallWord w = Caller(entry).look();
    return w.state == CallState::open && w.number == 2 && w.client == kFirst ? 2 : 1;
  }
  // What the repair does for one that has died: whether the message was published it knows from the second queue.
  void repair(const Server& as) {
    if (as.finish(Server::kDied, false, kOwn) == Server::After::release) free_slot();
  }
  void pass_on() {
    const unsigned step = rl::rand(4);
    const Server first(entry, 1, kFirst);
    if (step == 0) {
      repair(first);
      message.store(kNever, rl::mo_release, RL_INFO);
      return;
    }
    if (first.pass_on() != Server::Begun::yes) {
      repair(Server(entry, number_now(), kFirst));  // as if it had died before it knew
      message.store(kNever, rl::mo_release, RL_INFO);
      return;
    }
    if (step == 1) {
      repair(Server(entry, number_now(), kFirst));
      message.store(kNever, rl::mo_release, RL_INFO);
      return;
    }
    message.store(kPublished, rl::mo_release, RL_INFO);
  }
  void serve() {
    std::uint32_t m = kPending;
    while ((m = message.load(rl::mo_acquire, RL_INFO)) == kPending) yield();
    if (m == kNever) return;
    const Server second(entry, 2, kFirst + 1);
    if (rl::rand(2) == 0) {  // it dies with the request
      if (second.finish(Server::kDied, false, kOwn) == Server::After::release) free_slot();
      return;
    }
    const bool in_slot = rl::rand(2) == 0;
    bool handed_over = false;
    if (second.begin(in_slot) == Server::Begun::yes) {
      write(second, 9);
      if (in_slot) second.place(8, kOwn.slot, kOwn.lease);
      handed_over = second.publish(Answer::reply, in_slot, false) && in_slot;
    }
    if (!handed_over) free_slot();
  }
  void after() {
    const CallWord w = unpack_call(entry.word.load(std::memory_order::relaxed));
    RL_ASSERT(again != 0 ? w.state == CallState::open && w.number == again : w.state == CallState::free);
    RL_ASSERT(freed.load(rl::mo_relaxed, RL_INFO) == 1);
    RL_ASSERT(kCancels || seen == 1);
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

TEST(CallsModel, PassesARequestOnToOneThatAnswers) {
  expect_sound<RequestGoesOn<false>>(30'000);
  expect_sound<RequestGoesOn<true>>(30'000);
}

TEST(CallsModel, FindsAnAnswerThatIsSeenBeforeItsBytes) {
  expect_found<OneAnswerForEachCall>(Fault::held_word_relaxed, 30'000);
}

}  // namespace
}  // namespace ipcq::detail::model
