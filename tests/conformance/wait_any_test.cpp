// Client::wait_any(): which call has news.
#include <algorithm>
#include <future>
#include <map>
#include <random>
#include <vector>

#include "conformance/calls.hpp"

namespace ipcq_test {
namespace {

class WaitAny : public CallsTest {};
IPCQ_INSTANTIATE_PER_BACKEND(WaitAny);

TEST_P(WaitAny, AnswersMayBeTakenInAnyOrder) {
  create_calls({.slots = 4, .calls = 64});
  auto s = server();
  auto c = client();
  std::map<std::uint64_t, std::pair<Call, std::string>> calls;
  EXPECT_EQ(c.wait_any(Duration::zero()).status(), Status::empty);
  for (int i = 0; i < 64; ++i) {
    Call call = ask(c, std::to_string(i));
    const std::uint64_t id = call.id();
    calls.emplace(id, std::pair(std::move(call), std::to_string(i)));
  }
  EXPECT_EQ(calls.size(), 64u);
  EXPECT_EQ(c.request("one more").status(), Status::full);
  EXPECT_EQ(c.wait_any(kMoment).status(), Status::timeout);
  std::vector<Request> requests;
  for (int i = 0; i < 64; ++i) requests.push_back(next(s));
  std::shuffle(requests.begin(), requests.end(), std::mt19937(5));
  auto serving = std::async(std::launch::async, [&] {
    for (auto& r : requests) EXPECT_EQ(r.reply("re: " + text_of(r.bytes())), Status::ok);
  });
  while (!calls.empty()) {
    const auto id = c.wait_any(kBound);
    ASSERT_EQ(id.status(), Status::ok);
    auto& [call, asked] = calls.at(*id);
    expect_reply(call, "re: " + asked);
    calls.erase(*id);
  }
  serving.get();
  EXPECT_EQ(c.calls_under_way(), 0u);
}

// Also when calls in between end and others begin.
TEST_P(WaitAny, AnswersThatAreThereComeInTheOrderOfTheRequests) {
  create_calls({.slots = 4, .calls = 64});
  auto s = server();
  auto c = client();
  std::map<std::uint64_t, Call> calls;
  std::vector<std::uint64_t> order;
  const auto ask_and_answer = [&](int count) {
    for (int i = 0; i < count; ++i) {
      Call call = ask(c, "x");
      order.push_back(call.id());
      calls.emplace(call.id(), std::move(call));
    }
    std::vector<Request> requests;
    for (int i = 0; i < count; ++i) requests.push_back(next(s));
    for (auto r = requests.rbegin(); r != requests.rend(); ++r) EXPECT_EQ(r->reply("y"), Status::ok);
  };
  std::size_t at = 0;
  const auto take = [&](int count) {
    for (int i = 0; i < count; ++i, ++at) {
      const auto id = c.wait_any(kBound);
      ASSERT_EQ(id.status(), Status::ok);
      ASSERT_EQ(*id, order.at(at)) << at;
      expect_reply(calls.at(*id), "y");
      calls.erase(*id);
    }
  };
  ask_and_answer(40);
  take(15);
  ask_and_answer(39);
  take(30);
  calls.erase(order.at(at));  // gives one up
  ++at;
  take(33);
  EXPECT_EQ(at, order.size());
  EXPECT_EQ(c.calls_under_way(), 0u);
}

// Nothing can come of what was read, or has failed, and is kept.
TEST_P(WaitAny, ItKnowsWhatIsOver) {
  create_calls({.slots = 4});
  auto s = server();
  auto c = client(), needy = client({.needs_server = true});
  Call read = ask(c, "read"), failed = ask(c, "failed");
  EXPECT_EQ(next(s).reply("x"), Status::ok);
  EXPECT_EQ(next(s).fail(1, "y"), Status::ok);
  EXPECT_EQ(read.receive(kBound).status(), Status::ok);
  EXPECT_EQ(failed.receive(kBound).status(), Status::failed);
  EXPECT_EQ(c.wait_any().status(), Status::empty);
  EXPECT_EQ(c.calls_under_way(), 2u);
  Call over = ask(needy, "over"), open = ask(needy, "open");
  EXPECT_EQ(next(s).fail(1, "z"), Status::ok);
  EXPECT_EQ(over.receive(kBound).status(), Status::failed);
  s.close();
  const auto id = needy.wait_any(kBound);
  ASSERT_EQ(id.status(), Status::ok);
  EXPECT_EQ(*id, open.id());
  EXPECT_EQ(open.poll().status(), Status::no_server);
}

}  // namespace
}  // namespace ipcq_test
