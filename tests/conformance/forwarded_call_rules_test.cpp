// Requests that are passed on: where they cannot go, what a queue's end means for them, and values.
#include "conformance/forwarded_calls.hpp"
#include "typed_values.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;

class ForwardedCallRules : public ForwardedCalls {};
INSTANTIATE_TEST_SUITE_P(, ForwardedCallRules, on_the_host());

TEST_P(ForwardedCallRules, AreRefusedWhereNoServerWouldAnswer) {
  create_queues(false);
  create_as_is("handled", {.handler = "identity", .calls = 4});
  create_as_is("narrow", {.slots = 0, .line = 64, .calls = 4});
  Client caller = client();
  Server first = server();
  Call call = ask(caller, pattern(90, 1));
  Request r = next(first);
  Client handled = client_of("handled"), narrow = client_of("narrow");
  EXPECT_EQ(handled.forward(r, kBound), Status::unreachable);
  EXPECT_EQ(narrow.forward(r, kBound), Status::too_large);
  EXPECT_TRUE(r);
  Client closed = client_of("b");
  closed.close();
  EXPECT_EQ(closed.forward(r, kBound), Status::closed);
  ASSERT_EQ(r.reply("re", kBound), Status::ok);
  expect_reply(call, "re");
}

TEST_P(ForwardedCallRules, AreCountedAndEndedWithAQueue) {
  create_queues(true);
  auto [caller, first, onward] = ends();
  Call call = ask(caller, pattern(500, 1));
  Request r = next(first);
  ASSERT_EQ(onward.forward(r, kBound), Status::ok);
  onward.close();
  first.close();
  EXPECT_THAT(error_of<UsageError>([&] { broker_.remove("b"); }), HasSubstr("not taken yet"));
  EXPECT_EQ(broker_.drain("b", Duration::zero()), 1u);
  broker_.resume("b");
  call.cancel();
  EXPECT_EQ(broker_.drain("b", Duration::zero()), 0u) << "nobody waits for it";
  broker_.resume("b");
  caller.close();
  EXPECT_EQ(used("q"), 1u);
  EXPECT_EQ(broker_.remove("q"), 0u);
  EXPECT_EQ(used("b"), 0u) << "they share the pool";
  Server second = server_of("b");
  EXPECT_EQ(second.receive(Duration::zero()).status(), Status::empty);
}

TEST_P(ForwardedCallRules, ThatWaitEndWithTheQueueInWhichTheyWait) {
  create_queues(false);
  auto [caller, first, onward] = ends();
  Call call = ask(caller, pattern(500, 1)), held = ask(caller, pattern(500, 2));
  Server second = server_of("b");
  Request r = next(first);
  ASSERT_EQ(onward.forward(r, kBound), Status::ok);
  Request in_hand = next(second);
  r = next(first);
  ASSERT_EQ(onward.forward(r, kBound), Status::ok);
  EXPECT_THAT(error_of<UsageError>([&] { broker_.remove("b", Removal::at_once); }), HasSubstr("its servers have 1"));
  first.close();
  ASSERT_EQ(in_hand.reply("re", kBound), Status::ok);
  expect_reply(call, "re");
  broker_.remove("b", Removal::at_once);
  EXPECT_EQ(held.receive(kBound).status(), Status::server_died);
  EXPECT_EQ(used("q"), 0u);
}

TEST_P(ForwardedCallRules, OfAQueueThatIsGoneArePassedOver) {
  create_queues(false);
  auto [caller, first, onward] = ends();
  Call call = ask(caller, pattern(500, 1));
  Request r = next(first);
  ASSERT_EQ(onward.forward(r, kBound), Status::ok);
  broker_.remove("q", Removal::at_once);
  Server second = server_of("b");
  EXPECT_EQ(second.receive(Duration::zero()).status(), Status::empty);
  EXPECT_EQ(call.receive(kBound).status(), Status::server_died);
  EXPECT_EQ(second.cancelled(), 1u);
}

TEST_P(ForwardedCallRules, CarryTypedValues) {
  create_queues(false);
  auto [caller, first, onward, second] = typed_ends<Point, Tick>();
  auto call = caller.request({1, 2}, kBound);
  ASSERT_TRUE(call);
  auto r = first.receive(kBound);
  ASSERT_TRUE(r);
  ASSERT_EQ(onward.forward(*r, kBound), Status::ok);
  EXPECT_FALSE(*r);
  auto passed = second.receive(kBound);
  ASSERT_TRUE(passed);
  EXPECT_EQ(passed->value().y, 2);
  ASSERT_EQ(passed->reply(Tick{.time = 9, .price = {}, .symbol = {}, .side = {}, .last = {}, .levels = {}}, kBound),
            Status::ok);
  auto answer = call->receive(kBound);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->value().time, 9u);
}

TEST_P(ForwardedCallRules, CarryValuesThatLieInMetadata) {
  create_queues(false, {.metadata = sizeof(Track)});
  auto [caller, first, onward, second] = typed_ends<Track, Point>();
  auto question = caller.loan(kBound);
  ASSERT_TRUE(question);
  ASSERT_TRUE(question->put((*question)->name, "beside"));
  auto call = caller.request(*question, kBound);
  ASSERT_TRUE(call);
  auto r = first.receive(kBound);
  ASSERT_TRUE(r);
  ASSERT_EQ(onward.forward(*r, kBound), Status::ok);
  auto passed = second.receive(kBound);
  ASSERT_TRUE(passed) << to_string(passed.status());
  EXPECT_EQ(std::string_view(passed->get((*passed)->name)), "beside");
  ASSERT_EQ(passed->reply({1, 2}, kBound), Status::ok);
  EXPECT_TRUE(call->receive(kBound));
}

TEST_P(ForwardedCallRules, DoNotGoToAnotherBroker) {
  create_queues(false);
  const std::string name = next_name();
  Broker other({.name = name});
  other.create("b", {.calls = 4});
  Session there = connect({.broker = name});
  Client onward = there.client("b");
  Client caller = client();
  Server first = server();
  Call call = ask(caller, "what");
  Request r = next(first);
  EXPECT_EQ(onward.forward(r, kBound), Status::unreachable);
  ASSERT_EQ(r.reply("re", kBound), Status::ok);
  expect_reply(call, "re");
}

}  // namespace
}  // namespace ipcq_test
