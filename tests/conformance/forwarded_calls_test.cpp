// Requests that a server passes on to another queue of calls: whoever takes one there answers in its place.
#include <vector>

#include "conformance/forwarded_calls.hpp"

namespace ipcq_test {
namespace {

INSTANTIATE_TEST_SUITE_P(, ForwardedCalls, on_the_host());

TEST_P(ForwardedCalls, AreAnsweredByWhoeverTakesThem) {
  for (const bool share : {false, true}) {
    create_queues(share);
    auto [caller, first, onward] = ends();
    Server second = server_of("b");
    for (const std::size_t length : {0, 5, 40, 90, 500, 1000}) {
      const std::string what = pattern(length, 3);
      Call call = ask(caller, what);
      Request r = next(first);
      ASSERT_EQ(onward.forward(r, kBound), Status::ok) << length;
      EXPECT_FALSE(r);
      EXPECT_TRUE(r.bytes().empty());
      EXPECT_EQ(r.reply(what), Status::not_held);
      EXPECT_EQ(onward.forward(r), Status::not_held);
      EXPECT_EQ(call.poll().status(), Status::empty);
      Request passed = next(second);
      EXPECT_EQ(text_of(passed.bytes()), what);
      EXPECT_FALSE(passed.is_cancelled());
      EXPECT_EQ(passed.room().size(), length > 96 ? 1000u : 0u);
      ASSERT_EQ(passed.reply("re: " + what.substr(0, 40), kBound), Status::ok);
      EXPECT_FALSE(passed);
      expect_reply(call, "re: " + what.substr(0, 40));
      EXPECT_EQ(used("q") + used("b"), 0u);
    }
    EXPECT_EQ(stats("q").calls_open + stats("b").calls_open, 0u);
    caller.close(), first.close(), onward.close(), second.close();
    for (const char* queue : {"q", "b", "c"}) EXPECT_EQ(broker_.remove(queue), 0u);
    if (share) broker_.remove_pool("pool");
  }
}

TEST_P(ForwardedCalls, HaveTheRoomOfTheirRequest) {
  create_queues(false);
  auto [caller, first, onward] = ends();
  Server second = server_of("b");
  Call call = ask(caller, pattern(500, 1));
  Request r = next(first);
  ASSERT_EQ(onward.forward(r, kBound), Status::ok);
  Request passed = next(second);
  EXPECT_EQ(passed.reply(pattern(1001, 2), kBound), Status::too_large);
  ASSERT_EQ(passed.reply(pattern(1000, 2), kBound), Status::ok);
  EXPECT_EQ(used("q"), 1u) << "the reply lies there";
  expect_reply(call, pattern(1000, 2));
  EXPECT_EQ(used("q"), 0u);
}

TEST_P(ForwardedCalls, GoOnFromQueueToQueueAndBack) {
  create_queues(false);
  Client caller = client();
  Server a = server(), b = server_of("b"), c = server_of("c");
  Client to_b = client_of("b"), to_c = client_of("c"), to_q = client();
  for (const std::size_t length : {10, 90, 700}) {
    Call call = ask(caller, pattern(length, 1));
    Request r = next(a);
    ASSERT_EQ(to_b.forward(r, kBound), Status::ok);
    r = next(b);
    ASSERT_EQ(to_c.forward(r, kBound), Status::ok);
    r = next(c);
    ASSERT_EQ(to_q.forward(r, kBound), Status::ok);
    r = next(a);
    EXPECT_EQ(text_of(r.bytes()), pattern(length, 1));
    ASSERT_EQ(r.stream("one", kBound), Status::ok);
    auto one = call.receive(kBound);
    ASSERT_TRUE(one);
    EXPECT_TRUE(one->has_more());
    EXPECT_EQ(to_b.forward(r, Duration::zero()), Status::full) << "the caller has not read on";
    EXPECT_EQ(call.poll().status(), Status::empty);
    ASSERT_EQ(to_b.forward(r, kBound), Status::ok);
    r = next(b);
    ASSERT_EQ(r.reply("two", kBound), Status::ok);
    expect_reply(call, "two");
    EXPECT_EQ(used("q") + used("b") + used("c"), 0u);
  }
}

TEST_P(ForwardedCalls, OfOneThatDoesNotWaitArePassedOver) {
  create_queues(true);
  auto [caller, first, onward] = ends();
  Server second = server_of("b");
  Call before = ask(caller, pattern(500, 1)), after = ask(caller, pattern(500, 2));
  Request r1 = next(first), r2 = next(first);
  ASSERT_EQ(onward.forward(r1, kBound), Status::ok);
  before.cancel();
  after.cancel();
  EXPECT_EQ(onward.forward(r2, kBound), Status::cancelled);
  EXPECT_FALSE(r2);
  EXPECT_EQ(used("q"), 1u);
  EXPECT_EQ(second.receive(Duration::zero()).status(), Status::empty);
  EXPECT_EQ(second.cancelled(), 1u);
  EXPECT_EQ(used("q"), 0u);
  // The entry's next call is another, whatever its number.
  Call next_call = ask(caller, "next");
  Request r = next(first);
  ASSERT_EQ(onward.forward(r, kBound), Status::ok);
  next_call.cancel();
  Call last = ask(caller, "last");
  EXPECT_EQ(second.receive(Duration::zero()).status(), Status::empty);
  r = next(first);
  ASSERT_EQ(r.reply("re", kBound), Status::ok);
  expect_reply(last, "re");
}

TEST_P(ForwardedCalls, AreCancelledAndFailAndEndAsAny) {
  create_queues(false);
  Client caller = client();
  Server first = server(), second = server_of("b");
  Client onward = client_of("b");
  const auto pass_on = [&](Call& call, const std::string& what) {
    call = ask(caller, what, kBound);
    Request r = next(first);
    EXPECT_EQ(onward.forward(r, kBound), Status::ok);
    return next(second);
  };
  Call call;
  Request r = pass_on(call, "cancel");
  call.cancel();
  EXPECT_TRUE(r.is_cancelled());
  EXPECT_EQ(r.reply("late", kBound), Status::cancelled);
  r = pass_on(call, "fail");
  EXPECT_LT(r.deadline_ns(), ~std::uint64_t{0});
  ASSERT_EQ(r.fail(7, "why", kBound), Status::ok);
  EXPECT_EQ(call.receive(kBound).status(), Status::failed);
  EXPECT_EQ(call.failure_text(), "why");
  call.cancel();
  r = pass_on(call, pattern(300, 1));
  r = Request();
  EXPECT_EQ(call.receive(kBound).status(), Status::server_died);
  r = pass_on(call, pattern(300, 1));
  ASSERT_EQ(r.nack(), Status::ok);
  r = next(second);
  second.close();
  EXPECT_EQ(call.receive(kBound).status(), Status::server_died);
  EXPECT_EQ(used("q"), 0u);
}

TEST_P(ForwardedCalls, AreRedeliveredWhereTheyWere) {
  create_queues(true, {.on_server_death = OnServerDeath::redeliver});
  auto [caller, first, onward] = ends();
  for (const std::size_t length : {10, 500}) {
    Call call = ask(caller, pattern(length, 1));
    Request r = next(first);
    ASSERT_EQ(onward.forward(r, kBound), Status::ok);
    {
      Server dies = server_of("b");
      Request held = next(dies);
      EXPECT_EQ(held.nack(), Status::ok);
      held = next(dies);
      EXPECT_EQ(held.redeliveries(), 1u);
      dies.close();  // it holds the request
    }
    Server second = server_of("b");
    Request again = next(second);
    EXPECT_EQ(text_of(again.bytes()), pattern(length, 1));
    ASSERT_EQ(again.reply("re", kBound), Status::ok);
    expect_reply(call, "re");
  }
  EXPECT_EQ(used("q"), 0u);
}

TEST_P(ForwardedCalls, EndWithTheServerThatHasThem) {
  create_queues(false);
  auto [caller, first, onward] = ends();
  Call call = ask(caller, pattern(500, 1));
  Request r = next(first);
  ASSERT_EQ(onward.forward(r, kBound), Status::ok);
  first.close();  // it has nothing to do with the request any more
  Server second = server_of("b");
  Request passed = next(second);
  EXPECT_EQ(call.poll().status(), Status::empty);
  second.close();
  EXPECT_EQ(call.receive(kBound).status(), Status::server_died);
  EXPECT_EQ(used("q"), 0u);
}

TEST_P(ForwardedCalls, AreKnownByTheirCallsId) {
  create_queues(false);
  auto [caller, first, onward] = ends();
  Server second = server_of("b");
  Call call = ask(caller, "what");
  Request r = next(first);
  EXPECT_EQ(r.id(), call.id());
  ASSERT_EQ(onward.forward(r, kBound), Status::ok);
  r = next(second);
  EXPECT_NE(r.id(), call.id());
  ASSERT_EQ(r.reply("re", kBound), Status::ok);
  const auto ready = caller.wait_any(kBound);
  ASSERT_TRUE(ready);
  EXPECT_EQ(*ready, call.id());
}

TEST_P(ForwardedCalls, GoWhereThereIsRoom) {
  create_queues(false, {}, {.lines = 2});
  auto [caller, first, onward] = ends();
  Server second = server_of("b");
  std::vector<Call> calls;
  calls.reserve(3);
  for (int i = 0; i < 3; ++i) calls.push_back(ask(caller, pattern(300, 1)));
  Request r;
  for (int i = 0; i < 2; ++i) {
    r = next(first);
    ASSERT_EQ(onward.forward(r, kBound), Status::ok);
  }
  r = next(first);
  EXPECT_EQ(onward.forward(r, Duration::zero()), Status::full);
  EXPECT_EQ(onward.forward(r, kMoment), Status::timeout);
  EXPECT_TRUE(r);
  EXPECT_EQ(text_of(r.bytes()), pattern(300, 1));
  ASSERT_EQ(r.reply("by itself", kBound), Status::ok);
  expect_reply(calls[2], "by itself");
  for (int i = 0; i < 2; ++i) {
    Request passed = next(second);
    ASSERT_EQ(passed.reply("re", kBound), Status::ok);
    expect_reply(calls[static_cast<std::size_t>(i)], "re");
  }
}

}  // namespace
}  // namespace ipcq_test
