// Typed calls: questions and answers of a type, by servers and by handlers.
#include "conformance/calls.hpp"
#include "typed_values.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;

class TypedCalls : public CallsTest {
 protected:
  template <class Q, class A>
  TypedClient<Q, A> typed_client(ClientOptions options = {}) {
    options.wait = consumer_wait();
    return session_.client<Q, A>("q", options);
  }
  template <class Q, class A>
  TypedServer<Q, A> typed_server() {
    return session_.server<Q, A>("q", {.wait = producer_wait()});
  }
};
IPCQ_INSTANTIATE_PER_BACKEND(TypedCalls);

TEST_P(TypedCalls, QuestionsAreAnsweredByValues) {
  create_calls();
  auto c = typed_client<std::uint64_t, Point>();
  auto s = typed_server<std::uint64_t, Point>();
  auto call = c.request(7);
  ASSERT_TRUE(call);
  auto r = s.receive(kBound);
  ASSERT_TRUE(r);
  EXPECT_EQ(r->value(), 7u);
  ASSERT_EQ(r->reply({1, 2}, kBound), Status::ok);
  EXPECT_FALSE(*r);
  auto answer = call->receive(kBound);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->value().y, 2);
  EXPECT_EQ(call->receive(kBound).status(), Status::end);
}

TEST_P(TypedCalls, ListsGoBothWays) {
  create_calls({.slots = 4, .size = 1024});
  auto c = typed_client<Track, Track>({.reply_bytes = 512});
  auto s = typed_server<Track, Track>();
  auto question = c.loan(kBound);
  ASSERT_TRUE(question);
  ASSERT_TRUE(question->put((*question)->name, "question"));
  auto call = c.request(*question, kBound);
  ASSERT_TRUE(call);
  auto r = s.receive(kBound);
  ASSERT_TRUE(r);
  EXPECT_EQ(std::string_view(r->get(r->value().name)), "question");
  FlatWriter<Track> in_place(r->raw().room());
  ASSERT_TRUE(in_place.put(in_place->name, "answer"));
  ASSERT_EQ(in_place.make(in_place->points, 10).size(), 10u);
  ASSERT_EQ(r->reply(in_place, kBound), Status::ok);
  auto answer = call->receive(kBound);
  ASSERT_TRUE(answer);
  EXPECT_EQ(std::string_view(answer->get(answer->value().name)), "answer");
  EXPECT_EQ(answer->get(answer->value().points).size(), 10u);
}

TEST_P(TypedCalls, WhatIsNoValueIsToldToBothSides) {
  create_calls();
  Client raw_client = client();
  auto c = typed_client<Point, Point>();
  auto s = typed_server<Point, Point>();
  Call junk = ask(raw_client, "junk");
  EXPECT_EQ(s.receive(kBound).status(), Status::malformed);
  EXPECT_EQ(junk.receive(kBound).status(), Status::failed);
  EXPECT_EQ(junk.failure_code(), (TypedRequest<Point, Point>::kMalformed));
  EXPECT_THAT(std::string(junk.failure_text()), HasSubstr("no value"));
  auto call = c.request({1, 2});
  ASSERT_TRUE(call);
  ASSERT_EQ(s.receive(kBound)->raw().reply(std::string("junk"), kBound), Status::ok);
  EXPECT_EQ(call->receive(kBound).status(), Status::malformed);
}

TEST_P(TypedCalls, AHandlerAnswersOnesOfItsType) {
  create_calls({.handler = "identity"});
  auto c = typed_client<Tick, Tick>();
  auto call = c.request(Tick{.time = 5}, kBound);
  ASSERT_TRUE(call);
  auto answer = call->receive(kBound);
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->value().time, 5u);
  EXPECT_THAT(error_of<UsageError>([&] { (void)typed_client<Tick, Point>(); }), HasSubstr("its replies are"));
}

}  // namespace
}  // namespace ipcq_test
