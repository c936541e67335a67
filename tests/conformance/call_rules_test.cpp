// What becomes of calls that are cancelled, late, refused, or left by their server or client.
#include <future>
#include <set>
#include <thread>

#include "conformance/calls.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;

class CallRules : public CallsTest {};
IPCQ_INSTANTIATE_PER_BACKEND(CallRules);

TEST_P(CallRules, AReplyLongerThanItsRoomIsRefusedAndMayFail) {
  create_calls({.slots = 4, .size = 4096});
  auto s = server();
  auto c = client();
  Call call = ask(c, "short");
  Request r = next(s);
  EXPECT_TRUE(r.room().empty());
  EXPECT_EQ(r.reply(pattern(c.inline_reply_bytes() + 1, 1)), Status::too_large);
  ASSERT_TRUE(r);
  EXPECT_EQ(r.fail(77, "too long for its room"), Status::ok);
  EXPECT_EQ(call.receive(kBound).status(), Status::failed);
  EXPECT_EQ(call.failure_code(), 77u);
  EXPECT_EQ(call.failure_text(), "too long for its room");
  EXPECT_EQ(call.receive(kBound).status(), Status::failed);  // says so again
  call.cancel();
  EXPECT_EQ(call.failure_text(), "");
  EXPECT_EQ(c.request(pattern(4097, 1)).status(), Status::too_large);
  EXPECT_EQ(c.calls_under_way(), 0u);
}

TEST_P(CallRules, AStreamWaitsForItsReader) {
  create_calls({.slots = 4, .size = 4096});
  auto s = server();
  auto c = client();
  Call call = ask(c, "count");
  Request r = next(s);
  EXPECT_EQ(r.stream("1", Duration::zero()), Status::ok);
  EXPECT_EQ(r.stream("2", Duration::zero()), Status::full);
  EXPECT_EQ(r.stream("2", kMoment), Status::timeout);
  EXPECT_EQ(text_of(call.receive(kBound)->bytes()), "1");
  EXPECT_EQ(r.stream("2", Duration::zero()), Status::full);  // it may still look at the bytes
  EXPECT_EQ(call.poll().status(), Status::empty);
  EXPECT_EQ(r.stream("2", Duration::zero()), Status::ok);
  call.cancel();
  EXPECT_TRUE(r.is_cancelled());
  EXPECT_EQ(r.stream("3", Duration::zero()), Status::cancelled);
  EXPECT_FALSE(r);
  EXPECT_EQ(s.cancelled(), 1u);
}

TEST_P(CallRules, ACancelledCallIsSeenByItsServer) {
  create_calls({.slots = 4, .size = 4096});
  auto s = server();
  auto c = client();
  Call never = ask(c, "never seen");
  never.cancel();
  EXPECT_EQ(never.receive().status(), Status::cancelled);
  Call seen = ask(c, pattern(500, 3));
  Request r = next(s);
  EXPECT_EQ(r.bytes().size(), 500u);
  EXPECT_FALSE(r.is_cancelled());
  seen = Call();
  EXPECT_TRUE(r.is_cancelled());
  EXPECT_EQ(r.reply("too late"), Status::cancelled);
  EXPECT_EQ(s.cancelled(), 2u);
  EXPECT_EQ(stats().calls_cancelled, 2u);
  EXPECT_EQ(s.receive(kMoment).status(), Status::timeout);
  EXPECT_EQ(slots_in_use(), 0u);
  EXPECT_EQ(c.calls_under_way(), 0u);
}

TEST_P(CallRules, ACallExpiresAtItsDeadline) {
  create_calls({.slots = 4});
  auto s = server();
  auto c = client();
  Call call = ask(c, "slow", kMoment);
  EXPECT_EQ(call.poll().status(), Status::empty);
  Request r = next(s);
  EXPECT_NE(r.deadline_ns(), ~std::uint64_t{0});
  EXPECT_EQ(call.receive().status(), Status::expired);
  EXPECT_EQ(r.reply("late"), Status::cancelled);
  Call other = ask(c, "slower", kMoment);
  const auto id = c.wait_any();
  ASSERT_EQ(id.status(), Status::ok);
  EXPECT_EQ(*id, other.id());
  EXPECT_EQ(other.poll().status(), Status::expired);
  EXPECT_EQ(s.receive(kMoment).status(), Status::timeout);  // passed over
  EXPECT_EQ(c.request("no time", Duration::zero()).status(), Status::expired);
}

TEST_P(CallRules, ACallThatWasReadBoundsNoWait) {
  create_calls({.slots = 4});
  auto s = server();
  auto c = client();
  Call read = ask(c, "read", kMoment), open = ask(c, "open");
  EXPECT_EQ(next(s).reply("x"), Status::ok);
  Request later = next(s);
  EXPECT_EQ(read.receive(kBound).status(), Status::ok);
  std::this_thread::sleep_for(2 * kMoment);
  auto waiting = std::async(std::launch::async, [&] { return c.wait_any(kBound).status(); });
  EXPECT_EQ(waiting.wait_for(kMoment), std::future_status::timeout);
  EXPECT_EQ(later.reply("y"), Status::ok);
  EXPECT_EQ(waiting.get(), Status::ok);
}

TEST_P(CallRules, ACallMayNeedAServer) {
  create_calls({.slots = 4});
  auto c = client({.needs_server = true}), patient = client();
  EXPECT_EQ(c.request("anybody?").status(), Status::no_server);
  Call waits = ask(patient, "later");
  EXPECT_EQ(waits.receive(kMoment).status(), Status::timeout);
  {
    auto s = server();
    Call call = ask(c, "you?");
    Request r = next(s), second = next(s);
    EXPECT_EQ(r.reply("served"), Status::ok);
    EXPECT_EQ(second.reply("me"), Status::ok);
    expect_reply(waits, "served");
    expect_reply(call, "me");
    waits = ask(patient, "and then?");
    call = ask(c, "and you?");
    s.close();
    EXPECT_EQ(call.receive(kBound).status(), Status::no_server);
  }
  EXPECT_EQ(waits.receive(kMoment).status(), Status::timeout);
  auto s = server();
  EXPECT_EQ(next(s).reply("now"), Status::ok);
  expect_reply(waits, "now");
}

TEST_P(CallRules, WhatAServerLetsGoComesToItsCaller) {
  create_calls({.slots = 4, .size = 4096});
  auto c = client({.reply_bytes = 4096});
  auto s = server();
  Call call = ask(c, "x");
  (void)next(s);  // destroyed
  EXPECT_EQ(call.receive(kBound).status(), Status::server_died);
  call = ask(c, "y");
  {
    Request r = next(s);
    EXPECT_EQ(r.stream(pattern(2000, 1)), Status::ok);
  }
  EXPECT_EQ(text_of(call.receive(kBound)->bytes()), pattern(2000, 1));  // what it had sent is there
  EXPECT_EQ(call.receive(kBound).status(), Status::server_died);
  call = ask(c, "z");
  Request held = next(s);
  s.close();
  EXPECT_EQ(call.receive(kBound).status(), Status::server_died);
  EXPECT_EQ(held.reply("x"), Status::closed);
  EXPECT_EQ(slots_in_use(), 0u);
}

TEST_P(CallRules, ARequestMayBeGivenToAnotherServer) {
  create_calls({.slots = 4, .size = 4096, .on_server_death = OnServerDeath::redeliver});
  auto c = client();
  auto first = server(), second = server();
  Call call = ask(c, pattern(300, 1));
  Request r = next(first);
  EXPECT_EQ(r.nack(), Status::ok);
  Request again = next(second);
  EXPECT_EQ(again.redeliveries(), 1u);
  EXPECT_EQ(text_of(again.bytes()), pattern(300, 1));
  second.close();
  Request third = next(first);
  EXPECT_EQ(third.redeliveries(), 2u);
  EXPECT_EQ(third.reply("at last"), Status::ok);
  expect_reply(call, "at last");
  // Not once the caller has had a reply.
  call = ask(c, "count");
  Request stream = next(first);
  EXPECT_EQ(stream.stream("1"), Status::ok);
  EXPECT_EQ(text_of(call.receive(kBound)->bytes()), "1");
  EXPECT_EQ(call.poll().status(), Status::empty);
  EXPECT_EQ(stream.nack(), Status::cancelled);
  EXPECT_EQ(call.receive(kBound).status(), Status::server_died);
}

// Who has all slots in replies that it has not read would wait for itself.
TEST_P(CallRules, AClientThatKeepsTheRoomIsToldSo) {
  create_calls({.slots = 2, .size = 1000});
  auto s = server();
  auto c = client({.reply_bytes = 1000}), other = client({.reply_bytes = 1000});
  Call first = ask(c, "1"), second = ask(c, "2");
  for (int i = 0; i < 2; ++i) EXPECT_EQ(next(s).reply(pattern(1000, 1)), Status::ok);
  EXPECT_EQ(c.request("3").status(), Status::full);
  EXPECT_EQ(other.request("3", kMoment).status(), Status::timeout);  // it waits for the others
  expect_reply(first, pattern(1000, 1));
  Call third = ask(c, "3");
  EXPECT_EQ(next(s).reply("3"), Status::ok);
  expect_reply(third, "3");
}

TEST_P(CallRules, AClientMayGoWithCallsUnderWay) {
  create_calls({.slots = 4, .size = 4096});
  auto s = server();
  auto c = client({.reply_bytes = 4096});
  Call open = ask(c, "open"), taken = ask(c, "taken"), answered = ask(c, "answered");
  (void)next(s).nack();
  Request first = next(s), second = next(s), third = next(s);
  for (Request* r : {&first, &second, &third}) {
    if (text_of(r->bytes()) != "answered") continue;
    EXPECT_EQ(r->reply(pattern(3000, 1)), Status::ok);
  }
  EXPECT_EQ(stats().calls_open, 2u);
  EXPECT_EQ(stats().calls_answered, 1u);
  c.close();
  EXPECT_EQ(answered.receive(kBound).status(), Status::closed);
  for (Request* r : {&first, &second, &third}) {
    if (!*r) continue;
    EXPECT_EQ(r->reply("nobody"), Status::cancelled);
  }
  EXPECT_EQ(slots_in_use(), 0u);
  EXPECT_EQ(stats().calls_open + stats().calls_answered, 0u);
  // Its entries are the next client's.
  auto next_client = client();
  std::vector<Call> calls;
  for (int i = 0; i < 8; ++i) calls.push_back(ask(next_client, std::to_string(i)));
  for (int i = 0; i < 8; ++i) EXPECT_EQ(next(s).reply("ok"), Status::ok);
  for (auto& call : calls) expect_reply(call, "ok");
}

TEST_P(CallRules, AQueueOfCallsIsForClientsAndServers) {
  create_calls();
  create_as_is("messages", {});
  EXPECT_THAT(error_of<UsageError>([&] { (void)producer(); }), HasSubstr("queue 'q': takes calls"));
  EXPECT_THAT(error_of<UsageError>([&] { (void)consumer(); }), HasSubstr("open a server"));
  EXPECT_THAT(error_of<UsageError>([&] { (void)session_.client("messages"); }), HasSubstr("takes messages"));
  EXPECT_THAT(error_of<UsageError>([&] { end_of_stream("q", name_); }), HasSubstr("has no stream that could end"));
  EXPECT_THAT(error_of<UsageError>([&] { (void)session_.server("messages"); }), HasSubstr("open a consumer"));
  EXPECT_THAT(error_of<UsageError>([&] { (void)session_.client("q", {.reply_bytes = 1 << 20}); }),
              HasSubstr("reply_bytes"));
  auto c = client();
  auto s = server();
  const QueueStats q = stats();
  EXPECT_EQ(q.calls, 8u);
  EXPECT_EQ(q.on_server_death, "fail");
  EXPECT_EQ(q.groups.at(0).name, "servers");
  std::set<std::string> roles;
  for (const auto& e : q.endpoints) roles.insert(e.role);
  EXPECT_EQ(roles, (std::set<std::string>{"client", "server"}));
  EXPECT_EQ(Client().request("x").status(), Status::closed);
  EXPECT_EQ(Server().receive().status(), Status::closed);
  EXPECT_EQ(Call().receive().status(), Status::not_held);
  EXPECT_EQ(Request().reply("x"), Status::not_held);
}

TEST_P(CallRules, OptionsThatContradictCallsAreRefused) {
  const auto refused = [&](QueueOptions o) { return error_of<UsageError>([&] { create_as_is("no", o); }); };
  EXPECT_THAT(refused({.batch = Batch::records, .calls = 4}), HasSubstr("batch"));
  EXPECT_THAT(refused({.backpressure = Backpressure::drop_oldest, .calls = 4}), HasSubstr("drop-oldest"));
  EXPECT_THAT(refused({.groups = {{"a"}, {"b"}}, .calls = 4}), HasSubstr("groups"));
  EXPECT_THAT(refused({.calls = 100'000}), HasSubstr("calls is 100000"));
  EXPECT_THAT(refused({.on_server_death = OnServerDeath::redeliver}), HasSubstr("on_server_death"));
  EXPECT_THAT(refused({.handler = "identity", .calls = 4, .on_server_death = OnServerDeath::redeliver}),
              HasSubstr("its handler answers"));
}

TEST_P(CallRules, WaitsEndWithTheQueueAndWithInterruption) {
  create_calls();
  auto s = server();
  auto c = client();
  Call call = ask(c, "x");
  session_.interrupt();
  EXPECT_EQ(call.receive().status(), Status::interrupted);
  EXPECT_EQ(c.wait_any().status(), Status::interrupted);
  session_.resume();
  auto waiting = std::async(std::launch::async, [&] { return call.receive().status(); });
  EXPECT_EQ(waiting.wait_for(kMoment), std::future_status::timeout);
  broker_.remove("q", Removal::at_once);
  EXPECT_EQ(waiting.get(), Status::closed);
  EXPECT_EQ(s.receive().status(), Status::closed);
}

TEST_P(CallRules, APausedQueueHoldsRequestsBack) {
  create_calls();
  auto s = server();
  auto c = client();
  broker_.pause("q");
  Call call = ask(c, "x");
  EXPECT_EQ(s.receive(kMoment).status(), Status::timeout);
  broker_.resume("q");
  EXPECT_EQ(next(s).reply("y"), Status::ok);
  expect_reply(call, "y");
}

}  // namespace
}  // namespace ipcq_test
