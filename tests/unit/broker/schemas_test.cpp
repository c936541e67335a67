// Which types a queue takes: the first that opens it settles that, until nobody has it and nothing is left.
#include "broker/schemas.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <unistd.h>

#include "errors.hpp"
#include "ipcq/error.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::error_of;
using testing::AllOf;
using testing::HasSubstr;

constexpr const char* kOne = "One{x u64 @0; y f64 @8}16";
constexpr const char* kTwo = "One{x u64 @0; y f32 @8}16";

class Schemas : public testing::Test {
 protected:
  Producer producer(const std::string& schema, const std::string& queue = "q") {
    return session_.producer(queue, {.schema = schema});
  }
  Consumer consumer(const std::string& schema, const std::string& queue = "q") {
    return session_.consumer(queue, {.schema = schema});
  }
  std::string refusal(const std::string& schema, const std::string& queue = "q") {
    return error_of<UsageError>([&] { (void)producer(schema, queue); });
  }
  std::string creation_refusal(QueueOptions options) {
    return error_of<UsageError>([&] { broker_.create("bad", options); });
  }

  const std::string name_ = "schemas-" + std::to_string(getpid());
  Broker broker_{{.name = name_}};
  Session session_ = connect({.broker = name_});
};

TEST_F(Schemas, TheFirstTypedEndpointSettlesTheType) {
  broker_.create("q", {});
  Producer raw = producer("");
  EXPECT_EQ(raw.schema(), "");
  Consumer c = consumer(kOne);
  EXPECT_EQ(c.schema(), kOne);
  EXPECT_EQ(raw.schema(), kOne);
  EXPECT_EQ(broker_.stats().queues[0].schema, kOne);
  EXPECT_THAT(refusal(kTwo),
              AllOf(HasSubstr("queue 'q'"), HasSubstr(kOne), HasSubstr(kTwo), HasSubstr("this producer"),
                    HasSubstr("part at 'y f64 @8' and 'y f32 @8'"), HasSubstr(std::to_string(getpid()))));
  (void)producer(kOne);
  (void)producer("");
}

TEST_F(Schemas, AnotherTypeMayComeOnceNobodyHasItAndNothingIsLeft) {
  broker_.create("q", {});
  Producer p = producer(kOne);
  ASSERT_EQ(p.send(std::string(16, 'x')), Status::ok);
  p.close();
  EXPECT_THAT(refusal(kTwo), AllOf(HasSubstr("and 1 is left"), HasSubstr("ipcq-consumer q")));
  Consumer raw = consumer("");
  auto held = raw.receive(std::chrono::seconds(5));
  ASSERT_TRUE(held);
  EXPECT_THAT(refusal(kTwo), HasSubstr("and 1 is left")) << "it may be given back";
  ASSERT_EQ(held->release(), Status::ok);
  (void)producer(kTwo);
  EXPECT_EQ(raw.schema(), kTwo);
}

TEST_F(Schemas, AnOpeningThatIsRefusedBindsNothing) {
  broker_.create("q", {.slots = 2, .size = 100});
  Producer raw = producer("");
  ASSERT_EQ(raw.send(std::string(24, 'x')), Status::ok);
  EXPECT_THAT(refusal("char[1000]"), HasSubstr("100 bytes at most"));
  EXPECT_EQ(raw.schema(), "");
  (void)producer(kOne);
  EXPECT_EQ(raw.schema(), kOne);
}

TEST_F(Schemas, RequestsForWhichNobodyWaitsKeepTheirType) {
  broker_.create("q", {.calls = 4});
  {
    Client client = session_.client("q", {.schema = kOne});
    ASSERT_TRUE(client.request(std::string(16, 'x')));
  }
  EXPECT_THAT(error_of<UsageError>([&] { (void)session_.server("q", {.schema = kTwo}); }),
              AllOf(HasSubstr("and 1 is left"), HasSubstr("(a server without a schema)")));
}

TEST_F(Schemas, ADeclaredTypeStays) {
  broker_.create("q", {.schema = kOne});
  EXPECT_THAT(refusal(kTwo), AllOf(HasSubstr("by its creation"), HasSubstr("create it with the other text (schema)")));
  (void)producer(kOne);
  EXPECT_THAT(refusal(kTwo), HasSubstr("by its creation"));
}

TEST_F(Schemas, WhatAHandlerMakesHasATypeOfItsOwn) {
  broker_.create("q", {.handler = "identity", .backend = "host", .result_schema = kTwo});
  Producer p = producer(kOne);
  Consumer c = consumer(kTwo);
  EXPECT_EQ(p.schema(), kOne);
  EXPECT_EQ(c.schema(), kTwo);
  EXPECT_THAT(error_of<UsageError>([&] { (void)consumer(kOne); }), HasSubstr("its results are"));
}

TEST_F(Schemas, CallsHaveOneForRequestsAndOneForReplies) {
  broker_.create("q", {.calls = 4});
  Client client = session_.client("q", {.schema = kOne, .result_schema = kTwo});
  EXPECT_EQ(client.schema(), kOne);
  EXPECT_EQ(client.result_schema(), kTwo);
  EXPECT_THAT(error_of<UsageError>([&] { (void)session_.server("q", {.schema = kTwo}); }),
              AllOf(HasSubstr("its requests are"), HasSubstr("this server")));
  EXPECT_THAT(error_of<UsageError>([&] { (void)session_.server("q", {.result_schema = kOne}); }),
              HasSubstr("its replies are"));
  Server server = session_.server("q", {.schema = kOne, .result_schema = kTwo});
  EXPECT_EQ(server.result_schema(), kTwo);
}

TEST_F(Schemas, ARefusedEndpointSettlesNothing) {
  broker_.create("q", {.endpoints = 1, .calls = 4});
  Client client = session_.client("q", {.schema = kOne});
  EXPECT_THROW((void)session_.client("q", {.schema = kOne, .result_schema = kTwo}), UsageError);
  EXPECT_EQ(client.result_schema(), "");
}

// Both texts are named whole, though a reply has no room for them.
TEST_F(Schemas, ALongTextIsNamedWhole) {
  std::string longest = "Long{";
  std::string other = longest;
  for (int i = 0; i < 180; ++i) {
    const std::string place = std::to_string(i * 4) + "; ";
    longest += "field" + std::to_string(i) + " f32 @" + place;
    other += "field" + std::to_string(i) + (i == 150 ? " u32 @" : " f32 @") + place;
  }
  for (std::string* text : {&longest, &other}) text->replace(text->size() - 2, 2, "}720");
  ASSERT_GT(longest.size(), 3000u);
  broker_.create("q", {});
  Producer p = producer(longest);
  EXPECT_EQ(p.schema(), longest);
  EXPECT_THAT(refusal(other), AllOf(HasSubstr(longest), HasSubstr(other), HasSubstr("'field150 f32 @600'")));
}

TEST_F(Schemas, WhatIsNoTextIsRefusedWithItsPlace) {
  broker_.create("q", {});
  EXPECT_THAT(refusal("Tick{x u65 @0}8"), HasSubstr("should be a type"));
  EXPECT_THAT(refusal(std::string(100'000, 'x')), HasSubstr("100000 bytes"));
  EXPECT_THAT(creation_refusal({.schema = "u65"}), AllOf(HasSubstr("queue 'bad': schema: "), HasSubstr("a type")));
  EXPECT_THAT(creation_refusal({.handler = "identity", .result_schema = "u65"}), HasSubstr("result_schema: "));
  EXPECT_THAT(creation_refusal({.slots = 0, .metadata = 8}), HasSubstr("metadata says nothing here"));
  EXPECT_THAT(creation_refusal({.result_schema = "u64"}), HasSubstr("result_schema says nothing here"));
}

}  // namespace
}  // namespace ipcq::detail
