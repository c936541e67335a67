// Calls: what a client asks comes to one server, and what that says comes to this client's call and to no other.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <future>
#include <thread>

#include "conformance/calls.hpp"

namespace ipcq_test {
namespace {

class Calls : public CallsTest {};
IPCQ_INSTANTIATE_WITH_ALL_WAITS(Calls);

TEST_P(Calls, AnAnswerComesToItsCall) {
  create_calls({.slots = 4, .size = 4096});
  auto s = server();
  auto c = client(), other = client();
  auto serving = std::async(std::launch::async, [&] {
    for (int i = 0; i < 40; ++i) {
      Request r = next(s);
      EXPECT_EQ(r.reply("re: " + text_of(r.bytes())), Status::ok);
      EXPECT_FALSE(r);
    }
  });
  for (int i = 0; i < 20; ++i) {
    Call a = ask(c, "a" + std::to_string(i)), b = ask(other, "b" + std::to_string(i));
    expect_reply(b, "re: b" + std::to_string(i));
    expect_reply(a, "re: a" + std::to_string(i));
  }
  serving.get();
}

TEST_P(Calls, LongRequestsAndRepliesTravelInTheRequestsSlot) {
  create_calls({.slots = 4, .size = 4096});
  auto s = server();
  auto c = client({.reply_bytes = 4096});
  for (const std::size_t asked : {std::size_t{1}, c.inline_bytes(), c.inline_bytes() + 1, std::size_t{4096}}) {
    for (const std::size_t answered :
         {std::size_t{0}, c.inline_reply_bytes(), c.inline_reply_bytes() + 1, std::size_t{4096}}) {
      Call call = ask(c, pattern(asked, 1));
      Request r = next(s);
      EXPECT_EQ(text_of(r.bytes()), pattern(asked, 1));
      EXPECT_EQ(r.room().size(), 4096u);
      EXPECT_EQ(r.reply(pattern(answered, 2)), Status::ok);
      expect_reply(call, pattern(answered, 2));
    }
  }
  // Made in place, over the request's own bytes.
  auto loan = c.loan(kBound);
  ASSERT_EQ(loan.status(), Status::ok);
  std::memcpy(loan->bytes().data(), "question", 8);
  auto call = c.request(*loan, 8, kBound);
  ASSERT_EQ(call.status(), Status::ok);
  EXPECT_EQ(c.request(*loan, 8, kBound).status(), Status::not_held);
  Request r = next(s);
  EXPECT_EQ(text_of(r.bytes()), "question");
  std::fill(r.room().begin(), r.room().end(), std::byte{'x'});
  EXPECT_EQ(r.reply(r.room().first(3000)), Status::ok);
  expect_reply(*call, std::string(3000, 'x'));
  EXPECT_EQ(slots_in_use(), 0u);
}

TEST_P(Calls, RepliesMayBeStreamed) {
  create_calls({.slots = 4, .size = 4096});
  auto s = server();
  auto c = client({.reply_bytes = 4096});
  for (const bool ends : {false, true}) {
    Call call = ask(c, "count");
    auto serving = std::async(std::launch::async, [&] {
      Request r = next(s);
      for (unsigned i = 0; i < 10; ++i) EXPECT_EQ(r.stream(pattern(i % 2 == 0 ? 10 : 2000, i), kBound), Status::ok);
      EXPECT_EQ(ends ? r.end() : r.reply("last", kBound), Status::ok);
    });
    for (unsigned i = 0; i < 10; ++i) {
      auto r = call.receive(kBound);
      ASSERT_EQ(r.status(), Status::ok);
      EXPECT_EQ(text_of(r->bytes()), pattern(i % 2 == 0 ? 10 : 2000, i));
    }
    if (!ends) {
      expect_reply(call, "last");
    } else {
      EXPECT_EQ(call.receive(kBound).status(), Status::end);
    }
    serving.get();
  }
  EXPECT_EQ(slots_in_use(), 0u);
}

// With every slot a request's, each server can answer, since the room for its answer is there.
TEST_P(Calls, FullPoolsHoldNoAnswerUp) {
  create_calls({.slots = 4, .size = 1000, .lines = 4, .calls = 16});
  std::vector<std::future<void>> parties;
  std::atomic<bool> stop{false};
  for (int i = 0; i < 2; ++i) {
    parties.push_back(std::async(std::launch::async, [&, s = server()]() mutable {
      std::vector<Request> held;
      while (!stop) {
        auto r = s.receive(kMoment);
        if (r) held.push_back(std::move(*r));
        if (held.size() == 2 || !r) {
          for (auto& h : held) EXPECT_EQ(h.reply(pattern(1000, static_cast<unsigned char>(h.bytes()[0]))), Status::ok);
          held.clear();
        }
      }
    }));
  }
  std::vector<std::future<void>> callers;
  for (unsigned i = 0; i < 3; ++i) {
    callers.push_back(std::async(std::launch::async, [&, i, c = client({.reply_bytes = 1000})]() mutable {
      for (unsigned n = 0; n < 30; ++n) {
        Call a = ask(c, std::string(1, static_cast<char>(i * 30 + n)), kBound);
        auto r = a.receive(kBound);
        ASSERT_EQ(r.status(), Status::ok);
        EXPECT_EQ(text_of(r->bytes()), pattern(1000, i * 30 + n));
      }
    }));
  }
  for (auto& c : callers) c.get();
  stop = true;
  for (auto& p : parties) p.get();
  EXPECT_EQ(slots_in_use(), 0u);
}

TEST_P(Calls, ACallMayWaitLessForRoomThanForItsReply) {
  create_calls({.slots = 1, .size = 4096});
  auto s = server();
  auto c = client();
  auto loan = c.loan(kBound);  // the only slot
  ASSERT_EQ(loan.status(), Status::ok);
  const std::string long_request = pattern(3000, 1);
  EXPECT_EQ(c.request(long_request, kBound, Duration::zero()).status(), Status::full);
  EXPECT_EQ(c.request(long_request, kBound, 20ms).status(), Status::timeout);
  EXPECT_EQ(c.request(long_request, 20ms, kBound).status(), Status::timeout);
  EXPECT_EQ(c.request(long_request, Duration::zero(), kBound).status(), Status::expired);
  EXPECT_EQ(c.calls_under_way(), 0u);
  *loan = Loan();
  auto call = c.request(long_request, kBound, Duration::zero());  // and now there is room at once
  ASSERT_EQ(call.status(), Status::ok);
  Request r = next(s);
  EXPECT_GT(r.deadline_ns(), 0u);
  std::this_thread::sleep_for(30ms);  // longer than it was to wait for room
  EXPECT_EQ(r.reply("late"), Status::ok);
  expect_reply(*call, "late");
}

TEST_P(Calls, WhatAPauseHasHeldUpIsLookedAt) {
  create_calls();
  auto s = server();
  auto c = client();
  broker_.pause("q");
  Call gone = ask(c, "gone"), call = ask(c, "x");
  gone.cancel();
  auto waiting = std::async(std::launch::async, [&] { return next(s); });
  std::this_thread::sleep_for(kMoment);
  broker_.resume("q");
  Request r = waiting.get();
  EXPECT_EQ(text_of(r.bytes()), "x");
  EXPECT_EQ(r.reply("y"), Status::ok);
  expect_reply(call, "y");
}

}  // namespace
}  // namespace ipcq_test
