// Calls that a queue's handler answers: the processed message is the reply, and comes to who asked.
#include <algorithm>
#include <cctype>
#include <future>
#include <map>

#include "conformance/calls.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;

class HandlerCalls : public CallsTest {
 protected:
  void create_answering(const std::string& handler, QueueOptions options = {}) {
    options.handler = handler;
    create_calls(options);
  }
  static std::string upper(std::string text) {
    for (char& c : text) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return text;
  }
  // Letters, of which a number is the beginning.
  static std::string letters(std::size_t length, unsigned number) {
    std::string text = std::to_string(number) + ":";
    while (text.size() < length) text += static_cast<char>('a' + (text.size() + number) % 26);
    return text.substr(0, std::max<std::size_t>(length, 6));
  }
};
IPCQ_INSTANTIATE_WITH_ALL_WAITS(HandlerCalls);

class HandlerCallRules : public HandlerCalls {};
IPCQ_INSTANTIATE_PER_BACKEND(HandlerCallRules);

TEST_P(HandlerCalls, EachCallGetsItsOwnResult) {
  create_answering("upper", {.slots = 6, .size = 1000, .lines = 8, .calls = 4});
  std::vector<std::future<void>> callers;
  for (unsigned id = 0; id < 3; ++id) {
    callers.push_back(std::async(std::launch::async, [this, id, c = client()]() mutable {
      std::map<std::uint64_t, std::pair<Call, std::string>> calls;
      for (unsigned n = 0; n < 40 || !calls.empty();) {
        while (n < 40 && calls.size() < 4) {
          const std::string text = letters(n % 3 == 0 ? 900 : n % 3 == 1 ? 120 : 20, 100 * id + n);
          auto call = c.request(text, kBound);
          if (call.status() == Status::full && !calls.empty()) break;
          ASSERT_EQ(call.status(), Status::ok);
          const std::uint64_t key = call->id();
          calls.emplace(key, std::pair(std::move(*call), upper(text)));
          ++n;
        }
        const auto ready = c.wait_any(kBound);
        ASSERT_EQ(ready.status(), Status::ok);
        auto& [call, expected] = calls.at(*ready);
        expect_reply(call, expected);
        calls.erase(*ready);
      }
    }));
  }
  for (auto& c : callers) c.get();
  EXPECT_TRUE(eventually([&] { return stats().processed == 120; }));
  EXPECT_EQ(slots_in_use(), 0u);
}

// Each collects what lies in its way, for whomever it is.
TEST_P(HandlerCalls, ResultsThatNobodyFetchesHoldNobodyUp) {
  create_answering("upper", {.slots = 4, .size = 1000, .lines = 4, .calls = 64});
  auto lazy = client(), busy = client();
  std::vector<Call> calls;
  for (unsigned i = 0; i < 30; ++i) {
    calls.push_back(ask(lazy, letters(20, i), kBound));
    Call call = ask(busy, letters(100, i), kBound);
    expect_reply(call, upper(letters(100, i)));
  }
  EXPECT_EQ(stats().calls_open + stats().calls_answered, 30u);
  for (unsigned i = 30; i-- > 0;) expect_reply(calls[i], upper(letters(20, i)));
}

TEST_P(HandlerCallRules, AResultInItsSlotIsItsCallersUntilRead) {
  create_answering("invert", {.slots = 2, .size = 4096});
  auto c = client();
  const std::string text = pattern(4096, 3);
  Call call = ask(c, text);
  auto r = call.receive(kBound);
  ASSERT_EQ(r.status(), Status::ok);
  ASSERT_EQ(r->length(), 4096u);
  for (std::size_t i = 0; i < 4096; ++i) {
    ASSERT_EQ(r->bytes()[i], static_cast<std::byte>(~static_cast<unsigned char>(text[i]))) << i;
  }
  EXPECT_EQ(slots_in_use(), 1u);
  EXPECT_EQ(call.receive().status(), Status::end);
  EXPECT_EQ(slots_in_use(), 0u);
}

TEST_P(HandlerCallRules, WhatTheHandlerRefusesFails) {
  create_answering("vector_add", {.slots = 2, .size = 4096});
  auto c = client();
  for (const std::size_t length : {std::size_t{7}, std::size_t{1001}}) {
    Call call = ask(c, pattern(length, 1));
    EXPECT_EQ(call.receive(kBound).status(), Status::failed);
    EXPECT_EQ(call.failure_code(), 0u);
    EXPECT_THAT(std::string(call.failure_text()), HasSubstr("of this length"));
  }
  EXPECT_EQ(slots_in_use(), 0u);
  EXPECT_TRUE(eventually([&] { return stats().handler_errors == 2; }));
}

// Its text is longer than the entry of a short line.
TEST_P(HandlerCallRules, AFailuresTextIsCutOff) {
  broker_.create("q", {.slots = 0, .line = 64, .handler = "vector_add", .backend = "host", .calls = 8});
  auto c = client();
  std::vector<Call> calls;
  for (int i = 0; i < 4; ++i) calls.push_back(ask(c, pattern(7, 1)));
  for (Call& call : calls) {
    EXPECT_EQ(call.receive(kBound).status(), Status::failed);
    EXPECT_EQ(call.failure_text().size(), c.inline_reply_bytes());
  }
}

// Somebody else's results fill the ring, and its client does not look.
TEST_P(HandlerCallRules, ARejectingQueueCollectsBeforeItRejects) {
  create_answering("identity", {.slots = 0, .lines = 4, .backpressure = Backpressure::reject});
  auto lazy = client(), busy = client();
  std::vector<Call> calls;
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(all_processed());
    calls.push_back(ask(lazy, std::to_string(i)));
  }
  for (int i = 0; i < 8; ++i) {
    ASSERT_TRUE(all_processed());
    Call call = ask(busy, "x");
    expect_reply(call, "x");
  }
}

// What nobody waits for is left by nobody.
TEST_P(HandlerCallRules, AnswersOfTheGoneHoldNeitherSlotsNorADrainUp) {
  create_pool("pool", {.slots = 4, .size = 1000});
  create_as_is("q", {.pool = "pool", .handler = "identity", .calls = 8});
  create_as_is("other", {.pool = "pool"});
  auto c = client();
  std::vector<Call> calls;
  for (int i = 0; i < 4; ++i) calls.push_back(ask(c, pattern(900, 1)));
  ASSERT_TRUE(all_processed());
  c.close();
  calls.clear();
  auto p = producer("other");
  EXPECT_EQ(p.send(pattern(900, 1), kBound), Status::ok);
  EXPECT_EQ(group_stats("callers").waiting, 0u);
  p.break_off();
  auto idle = client();
  Call cancelled = ask(idle, "x"), open = ask(idle, "y");
  cancelled.cancel();
  ASSERT_TRUE(all_processed());
  EXPECT_EQ(broker_.drain("q", kMoment), 1u);
  expect_reply(open, "y");
  EXPECT_EQ(broker_.drain("q", kBound), 0u);
  idle.close();
  broker_.remove("q");
  auto reader = consumer("other");
  EXPECT_EQ(reader.receive(kBound).status(), Status::ok);
}

TEST_P(HandlerCallRules, GoingOnWakesItsClients) {
  create_answering("identity");
  auto c = session_.client("q", {.wait = Wait::sleep()});
  for (int i = 0; i < 3; ++i) {
    broker_.pause("q", "callers");
    Call call = ask(c, "x");
    ASSERT_TRUE(all_processed());
    EXPECT_EQ(call.receive(kMoment).status(), Status::timeout);
    auto waiting = std::async(std::launch::async, [&] { return call.receive().status(); });
    EXPECT_EQ(waiting.wait_for(kMoment), std::future_status::timeout);
    broker_.resume("q", "callers");
    EXPECT_EQ(waiting.wait_for(2s), std::future_status::ready);  // a sleeper looks by itself after five
    EXPECT_EQ(waiting.get(), Status::ok);
  }
}

TEST_P(HandlerCallRules, WhatIsCancelledIsDiscarded) {
  create_answering("identity", {.slots = 2, .size = 4096});
  auto c = client(), other = client();
  for (int i = 0; i < 5; ++i) {
    Call gone = ask(c, pattern(2000, 1), kBound);
    gone.cancel();
    Call call = ask(other, "x", kBound);
    expect_reply(call, "x");
  }
  Call late = ask(c, "y", kMoment);
  std::this_thread::sleep_for(2 * kMoment);
  const Status s = late.poll().status();
  EXPECT_TRUE(s == Status::ok || s == Status::expired) << to_string(s);
  EXPECT_EQ(stats().calls_cancelled, 5u);
  EXPECT_EQ(slots_in_use(), 0u);
}

TEST_P(HandlerCallRules, ItHasNoServers) {
  create_answering("identity");
  EXPECT_THAT(error_of<UsageError>([&] { (void)server(); }), HasSubstr("its handler 'identity' answers its calls"));
  auto c = client({.needs_server = true});
  Call call = ask(c, "x");  // the handler is there
  expect_reply(call, "x");
  const QueueStats q = stats();
  EXPECT_EQ(q.groups.at(0).name, "callers");
  EXPECT_EQ(q.groups.at(0).members, 1u);
  EXPECT_EQ(q.groups.at(0).delivered, 1u);
}

TEST_P(HandlerCallRules, AClientMayGoBeforeItsResults) {
  create_answering("identity", {.slots = 4, .size = 2000, .lines = 8});
  auto c = client();
  std::vector<Call> calls;
  for (int i = 0; i < 4; ++i) calls.push_back(ask(c, pattern(1500, 1), kBound));
  c.close();
  auto other = client();
  for (int i = 0; i < 10; ++i) {
    Call call = ask(other, pattern(1500, 2), kBound);
    expect_reply(call, pattern(1500, 2));
  }
  EXPECT_EQ(slots_in_use(), 0u);
}

TEST_P(HandlerCallRules, WaitsEndWithTheQueueAndWithInterruption) {
  create_answering("identity");
  auto c = client();
  broker_.pause("q");
  Call call = ask(c, "x");
  EXPECT_EQ(call.receive(kMoment).status(), Status::timeout);
  session_.interrupt();
  EXPECT_EQ(call.receive().status(), Status::interrupted);
  EXPECT_EQ(c.wait_any().status(), Status::interrupted);
  session_.resume();
  broker_.resume("q");
  expect_reply(call, "x");
  broker_.pause("q");
  call = ask(c, "y");
  auto waiting = std::async(std::launch::async, [&] { return call.receive().status(); });
  EXPECT_EQ(waiting.wait_for(kMoment), std::future_status::timeout);
  broker_.remove("q", Removal::at_once);
  EXPECT_EQ(waiting.get(), Status::closed);
}

}  // namespace
}  // namespace ipcq_test
