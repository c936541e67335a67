// The interface as users write it: what can be sent, what a Result says, time-outs of any duration, consumers as
// ranges, handles as members. With a broker of its own, on the host.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <list>
#include <ranges>
#include <string>
#include <vector>

#include "eventually.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;
using namespace std::chrono_literals;
using namespace std::string_view_literals;

static_assert(std::ranges::input_range<Consumer>);
static_assert(Payload<std::string&> && Payload<std::string_view> && Payload<const std::vector<float>&>);
static_assert(Payload<std::array<int, 3>&> && Payload<char (&)[4]> && Payload<const char (&)[4]>);
static_assert(!Payload<std::list<int>&> && !Payload<std::vector<std::string>&>);
static_assert(!Payload<std::vector<std::string_view>&> && !Payload<std::array<const char*, 2>&>);
static_assert(!Payload<std::vector<std::span<const std::byte>>&> && Payload<std::vector<std::array<int, 2>>&>);

class Interface : public testing::Test {
 protected:
  Interface() {
    broker_ = Broker({.name = "interface-" + std::to_string(getpid())});
    broker_.create("q", {.slots = 4, .size = 1000, .lines = 64, .held = 64});
    session_ = connect({.broker = broker_.stats().name, .wait_for = 2min});
    producer_ = session_.producer("q");
    consumer_ = session_.consumer("q");
  }
  std::string next_text() {
    auto m = consumer_.receive(kBound);
    EXPECT_EQ(m.status(), Status::ok);
    return {reinterpret_cast<const char*>(m->bytes().data()), m->bytes().size()};
  }

  // As a user's class has them: made empty, assigned later.
  Broker broker_{nullptr};
  Session session_;
  Producer producer_;
  Consumer consumer_;
};

TEST_F(Interface, WhatIsContiguousIsSent) {
  const std::string text(200, 'x');
  ASSERT_EQ(producer_.send(text), Status::ok);
  EXPECT_EQ(next_text(), text);
  ASSERT_EQ(producer_.send("view"sv, 1s), Status::ok);
  EXPECT_EQ(next_text(), "view");
  const std::vector<int> numbers{1, 2, 3};
  ASSERT_EQ(producer_.send(numbers, 1.5s), Status::ok);
  const std::string received = next_text();
  ASSERT_EQ(received.size(), 3 * sizeof(int));
  EXPECT_EQ(std::memcmp(received.data(), numbers.data(), received.size()), 0);
  ASSERT_EQ(producer_.send(std::as_bytes(std::span(numbers))), Status::ok);
  EXPECT_EQ(next_text(), received);
}

TEST_F(Interface, ALiteralGoesWithoutItsZeroAndABufferWhole) {
  ASSERT_EQ(producer_.send("tick"), Status::ok);
  EXPECT_EQ(next_text(), "tick");
  ASSERT_EQ(producer_.send(u8"tick"), Status::ok);
  EXPECT_EQ(next_text(), "tick");
  ASSERT_EQ(producer_.send(U"ti"), Status::ok);
  EXPECT_EQ(next_text().size(), 2 * sizeof(char32_t));
  char buffer[8] = "tick";
  ASSERT_EQ(producer_.send(buffer), Status::ok);
  EXPECT_EQ(next_text(), "tick\0\0\0\0"sv);
  ASSERT_EQ(producer_.send("tick", 3), Status::ok);
  EXPECT_EQ(next_text(), "tic");
}

TEST_F(Interface, RangesOfPayloadsAreSentInOrder) {
  std::vector<std::string> lines;
  for (int i = 0; i < 64; ++i) lines.push_back("line " + std::to_string(i));
  const BatchResult sent = producer_.send_many(lines, 1s);
  EXPECT_EQ(sent.status, Status::ok);
  EXPECT_EQ(sent.count, 64u);
  for (const auto& line : lines) EXPECT_EQ(next_text(), line);
  const std::list<std::string_view> views{"a", "bc"};
  EXPECT_EQ(producer_.send_many(views).count, 2u);
  EXPECT_EQ(next_text(), "a");
  EXPECT_EQ(next_text(), "bc");
  lines.insert(lines.end(), 10, "more");
  const BatchResult full = producer_.send_many(lines, 0s);  // 64 lines
  EXPECT_EQ(full.status, Status::full);
  EXPECT_EQ(full.count, 64u);
}

TEST_F(Interface, AnEmptyResultHoldsNothing) {
  auto none = consumer_.receive(0s);
  EXPECT_EQ(none.status(), Status::empty);
  EXPECT_EQ(none.error(), Status::empty);
  EXPECT_FALSE(none.has_value());
  EXPECT_TRUE(none->bytes().empty());
  EXPECT_EQ((*none).release(), Status::not_held);
  try {
    (void)none.value();
    ADD_FAILURE() << "value() gave what is not there";
  } catch (const StatusError& e) {
    EXPECT_EQ(e.status(), Status::empty);
    EXPECT_THAT(e.what(), testing::HasSubstr("empty"));
  }
  ASSERT_EQ(producer_.send("x"), Status::ok);
  const auto some = consumer_.receive(kBound);
  EXPECT_EQ(some.value().bytes().size(), 1u);
  EXPECT_EQ(some->length(), 1u);
  EXPECT_TRUE(*some);
}

TEST_F(Interface, BytesAreGoneWithTheMessage) {
  broker_.create("other", {.slots = 4, .size = 1000});
  auto other = session_.producer("other");
  ASSERT_EQ(producer_.send(std::string(500, 'x')), Status::ok);
  auto m = consumer_.receive(kBound);
  ASSERT_TRUE(m);
  EXPECT_EQ(m->bytes().size(), 500u);
  ASSERT_EQ(other.forward(*m), Status::ok);  // a copy: the pools are two
  EXPECT_TRUE(m->bytes().empty());
  ASSERT_EQ(producer_.send(std::string(500, 'y')), Status::ok);
  auto released = consumer_.receive(kBound);
  ASSERT_TRUE(released);
  released->release();  // for its effect: no warning
  EXPECT_TRUE(released->bytes().empty());
  ASSERT_EQ(producer_.send(std::string(500, 'z')), Status::ok);
  auto returned = consumer_.receive(kBound);
  ASSERT_TRUE(returned);
  returned->nack();
  EXPECT_TRUE(returned->bytes().empty());
  EXPECT_EQ(next_text(), std::string(500, 'z'));
}

TEST_F(Interface, AConsumerIsAnInputRange) {
  for (int i = 0; i < 5; ++i) ASSERT_EQ(producer_.send(std::string(static_cast<std::size_t>(i), '.')), Status::ok);
  producer_.close();
  std::vector<std::size_t> sizes;
  std::ranges::copy(consumer_ | std::views::transform([](const Message& m) { return m.bytes().size(); }) |
                        std::views::filter([](std::size_t n) { return n != 2; }),
                    std::back_inserter(sizes));
  EXPECT_THAT(sizes, testing::ElementsAre(0, 1, 3, 4));
}

TEST_F(Interface, ARangeThatFindsNoRoomSaysSo) {
  broker_.create("narrow", {.slots = 4, .size = 1000, .held = 2});
  auto producer = session_.producer("narrow");
  auto consumer = session_.consumer("narrow");
  for (int i = 0; i < 3; ++i) ASSERT_EQ(producer.send("x"), Status::ok);
  const auto first = consumer.receive(kBound);
  const auto second = consumer.receive(kBound);
  try {
    for ([[maybe_unused]] const Message& m : consumer) ADD_FAILURE() << "received more than it may hold";
    ADD_FAILURE() << "came to an end";
  } catch (const ClosedError& e) {
    EXPECT_EQ(e.status(), Status::full);
    EXPECT_THAT(e.what(), testing::HasSubstr("held=N"));
  }
}

TEST_F(Interface, AViewOfTheFirstMessagesReceivesNoMore) {
  for (const char* text : {"0", "1", "2"}) ASSERT_EQ(producer_.send(std::string(text)), Status::ok);
  int seen = 0;
  for (const Message& m : consumer_ | std::views::take(2)) {
    EXPECT_EQ(m.sequence(), static_cast<std::uint64_t>(seen++));
  }
  EXPECT_EQ(seen, 2);
  EXPECT_EQ(next_text(), "2");
  ASSERT_EQ(producer_.send("3"), Status::ok);
  ASSERT_EQ(producer_.send("4"), Status::ok);
  for (const Message& m : consumer_ | std::views::drop(1) | std::views::take(1)) {  // steps over one unseen
    EXPECT_EQ(m.sequence(), 4u);
  }
  EXPECT_EQ(consumer_.receive(0s).status(), Status::empty);
}

TEST_F(Interface, ARangeThatStopsEarlySaysWhy) {
  session_.interrupt();
  try {
    for (auto& m : consumer_) (void)m;
    ADD_FAILURE() << "ended as if whole";
  } catch (const ClosedError& e) {
    EXPECT_EQ(e.status(), Status::interrupted);
  }
}

// What can be done at once is done, with time given or without.
TEST_F(Interface, AnInterruptEndsWaitsAndNothingElse) {
  session_.interrupt();
  EXPECT_EQ(producer_.send("1", 1s), Status::ok);
  EXPECT_EQ(producer_.send("2", 0s), Status::ok);
  EXPECT_EQ(consumer_.receive(1s).status(), Status::ok);
  EXPECT_EQ(consumer_.receive(0s).status(), Status::ok);
  EXPECT_EQ(consumer_.receive(1s).status(), Status::interrupted);
  EXPECT_EQ(consumer_.receive(0s).status(), Status::interrupted);
  Message batch[2];
  EXPECT_EQ(consumer_.receive_many(batch, 1s).status, Status::interrupted);
  while (producer_.send("more", 0s) == Status::ok) {
  }
  EXPECT_EQ(producer_.send("more", 0s), Status::interrupted);
  EXPECT_EQ(producer_.send("more", 1s), Status::interrupted);
  session_.resume();
  EXPECT_EQ(producer_.send("more", 0s), Status::full);
}

TEST(Timeout, IsAnyDurationAndNeverNegative) {
  const auto of = [](Timeout t) { return Duration(t); };
  EXPECT_EQ(of(5ms), 5'000'000ns);
  EXPECT_EQ(of(0.5s), 500ms);
  EXPECT_EQ(of(-1h), 0ns);
  EXPECT_EQ(of(Duration::min()), 0ns);
  EXPECT_EQ(of(kForever), kForever);
  EXPECT_EQ(of(std::chrono::hours::max()), kForever);
  EXPECT_EQ(of(std::chrono::milliseconds::max()), kForever);
  EXPECT_EQ(of(std::chrono::microseconds::max()), kForever);
  EXPECT_EQ(of(std::chrono::duration<std::uint64_t, std::nano>::max()), kForever);
  EXPECT_EQ(of(std::chrono::duration<std::uint8_t>(200)), 200s);
  EXPECT_EQ(of(std::chrono::years(1000)), kForever);
  EXPECT_EQ(of(std::chrono::duration<double>(1e300)), kForever);
  EXPECT_EQ(of(std::chrono::duration<double>(std::numeric_limits<double>::infinity())), kForever);
  EXPECT_EQ(of(std::chrono::duration<double>(std::numeric_limits<double>::quiet_NaN())), 0ns);
  EXPECT_EQ(of(std::chrono::duration<double>(1e-15)), 1ns);  // not nothing
  EXPECT_EQ(of(std::chrono::duration<std::int64_t, std::pico>(1)), 1ns);
}

TEST(EmptyHandles, AnswerWithoutABroker) {
  Producer producer;
  Consumer consumer;
  Session session;
  Broker broker(nullptr);
  Message message;
  EXPECT_EQ(producer.send("x"), Status::closed);
  EXPECT_EQ(producer.loan().status(), Status::closed);
  EXPECT_EQ(producer.forward(message), Status::closed);
  EXPECT_EQ(consumer.receive().status(), Status::closed);
  producer.close();
  consumer.close();
  session.interrupt();
  EXPECT_FALSE(session.connected());
  EXPECT_THROW((void)session.producer("q"), UsageError);
  EXPECT_THROW((void)session.consumer("q"), UsageError);
  EXPECT_THROW(broker.create("q"), UsageError);
  EXPECT_THROW((void)broker.stats(), UsageError);
  EXPECT_THROW((void)broker.socket_path(), UsageError);
  EXPECT_EQ(broker.stop(), 0u);
}

}  // namespace
}  // namespace ipcq_test
