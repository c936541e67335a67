// Descriptors in an event loop of one's own: readable while there may be something, quiet while there is nothing.
#include <sys/epoll.h>

#include <atomic>
#include <cstdlib>
#include <future>
#include <map>
#include <thread>

#include "conformance/calls.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;

// A sleeper looks by itself after five seconds: a wake that is lost comes later than this.
constexpr Duration kBeforeALook = 4s;

// An epoll loop, whose turns are counted.
class Loop {
 public:
  Loop() : epoll_(::epoll_create1(EPOLL_CLOEXEC)) {}
  ~Loop() { ::close(epoll_); }
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  void add(int fd, std::uint64_t what) {
    epoll_event e{};
    e.events = EPOLLIN;
    e.data.u64 = what;
    ASSERT_EQ(::epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &e), 0);
  }
  // What is readable now, or within the time.
  std::vector<std::uint64_t> wait(Duration timeout) {
    epoll_event events[64];
    const int n = ::epoll_wait(
        epoll_, events, 64, static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(timeout).count()));
    std::vector<std::uint64_t> ready;
    for (int i = 0; i < n; ++i) ready.push_back(events[i].data.u64);
    return ready;
  }
  bool is_quiet() { return wait(kMoment).empty(); }

 private:
  int epoll_;
};

class ReadyDescriptor : public CallsTest {
 protected:
  // Whether the loop is quiet, but for a wake that came behind the message that it was for: on a GPU's queue a thread
  // looks after these.
  static bool is_quiet(Loop& loop, Consumer& c) {
    return loop.is_quiet() || (c.receive(Duration::zero()).status() == Status::empty && loop.is_quiet());
  }
};
IPCQ_INSTANTIATE_PER_BACKEND(ReadyDescriptor);

TEST_P(ReadyDescriptor, TellsOfMessagesUntilTheyAreTaken) {
  create("q", {.slots = 4, .size = 200});
  auto p = producer();
  auto c = consumer();
  Loop loop;
  loop.add(c.fd(), 7);
  EXPECT_EQ(c.fd(), c.fd());
  EXPECT_EQ(loop.wait(kBeforeALook).size(), 1u);  // nobody has looked yet
  EXPECT_EQ(c.receive(Duration::zero()).status(), Status::empty);
  EXPECT_TRUE(loop.is_quiet());
  for (std::uint64_t round = 0; round < 20; ++round) {
    ASSERT_EQ(send(p, 1, 2 * round), Status::ok);
    ASSERT_EQ(send(p, 1, 2 * round + 1, 150), Status::ok);
    ASSERT_EQ(loop.wait(kBeforeALook), std::vector<std::uint64_t>{7});
    EXPECT_EQ(next_sequence(c), static_cast<std::int64_t>(2 * round));
    ASSERT_EQ(loop.wait(kBeforeALook).size(), 1u);  // level-triggered: there is one more
    EXPECT_EQ(next_sequence(c), static_cast<std::int64_t>(2 * round + 1));
    EXPECT_EQ(c.receive(Duration::zero()).status(), Status::empty);
    EXPECT_TRUE(round != 0 || is_quiet(loop, c));
  }
  p.close();
  EXPECT_EQ(loop.wait(kBeforeALook).size(), 1u);
  EXPECT_EQ(c.receive(Duration::zero()).status(), Status::end);
  EXPECT_EQ(loop.wait(kBeforeALook).size(), 1u);  // and goes on to
  c.close();
}

TEST_P(ReadyDescriptor, EachCallThatFindsNothingMakesItQuiet) {
  create("q", {.slots = 4, .size = 200});
  auto p = producer();
  auto c = consumer();
  Loop loop;
  loop.add(c.fd(), 0);
  std::vector<Message> batch(4);
  std::vector<std::byte> buffer(300);
  for (int how = 0; how < 4; ++how) {
    ASSERT_EQ(send(p, 1, 0), Status::ok);
    std::size_t got = 0;
    for (Status s = Status::empty; got == 0 || s == Status::ok;) {
      if (s == Status::empty) {
        ASSERT_EQ(loop.wait(kBeforeALook).size(), 1u) << how;
      }
      if (how == 0) s = c.receive(Duration::zero()).status();
      if (how == 1) s = c.receive_many(batch, Duration::zero()).status;
      if (how == 2) s = c.receive_into(buffer, Duration::zero()).status();
      if (how == 3) s = c.consume([](const MessageView&) {}, Duration::zero()).status;
      got += s == Status::ok ? 1 : 0;
      EXPECT_TRUE(s == Status::ok || s == Status::empty) << how << " " << to_string(s);
    }
    EXPECT_EQ(got, 1u);
    EXPECT_TRUE(is_quiet(loop, c)) << how;
    batch.clear();
    batch.resize(4);
  }
}

TEST_P(ReadyDescriptor, WakesForInterruptionAndRemoval) {
  create("q");
  auto c = consumer("q", "default", Until::forever);
  Loop loop;
  loop.add(c.fd(), 0);
  EXPECT_EQ(c.receive(Duration::zero()).status(), Status::empty);
  EXPECT_TRUE(loop.is_quiet());
  session_.interrupt();
  EXPECT_EQ(loop.wait(kBeforeALook).size(), 1u);
  EXPECT_EQ(c.receive(Duration::zero()).status(), Status::interrupted);
  session_.resume();
  EXPECT_EQ(c.receive(Duration::zero()).status(), Status::empty);
  EXPECT_TRUE(loop.is_quiet());
  broker_.remove("q", Removal::at_once);
  EXPECT_EQ(loop.wait(kBeforeALook).size(), 1u);
  EXPECT_EQ(c.receive(Duration::zero()).status(), Status::closed);
}

TEST_P(ReadyDescriptor, ServersAndClientsHaveOne) {
  create_calls();
  auto s = server();
  auto c = client();
  Loop loop;
  loop.add(s.fd(), 1);
  loop.add(c.fd(), 2);
  EXPECT_EQ(s.receive(Duration::zero()).status(), Status::empty);
  EXPECT_EQ(c.wait_any(Duration::zero()).status(), Status::empty);
  EXPECT_TRUE(loop.is_quiet());
  for (int i = 0; i < 10; ++i) {
    Call call = ask(c, "x");
    ASSERT_EQ(loop.wait(kBeforeALook), std::vector<std::uint64_t>{1});
    Request r = next(s);
    EXPECT_EQ(s.receive(Duration::zero()).status(), Status::empty);
    EXPECT_TRUE(loop.is_quiet());
    EXPECT_EQ(r.stream("1"), Status::ok);
    ASSERT_EQ(loop.wait(kBeforeALook), std::vector<std::uint64_t>{2});
    EXPECT_EQ(c.wait_any(Duration::zero()).status(), Status::ok);
    EXPECT_EQ(text_of(call.poll()->bytes()), "1");
    EXPECT_EQ(call.poll().status(), Status::empty);
    EXPECT_TRUE(loop.is_quiet());
    EXPECT_EQ(r.reply("2"), Status::ok);
    ASSERT_EQ(loop.wait(kBeforeALook), std::vector<std::uint64_t>{2});
    EXPECT_EQ(text_of(call.poll()->bytes()), "2");
    call = Call();
    EXPECT_EQ(c.wait_any(Duration::zero()).status(), Status::empty);
    EXPECT_TRUE(loop.is_quiet());
  }
}

TEST_P(ReadyDescriptor, TellsOfAHandlersAnswers) {
  create_calls({.handler = "upper"});
  auto c = client();
  Loop loop;
  loop.add(c.fd(), 2);
  EXPECT_EQ(c.wait_any(Duration::zero()).status(), Status::empty);
  for (int i = 0; i < 20; ++i) {
    Call call = ask(c, "abc");
    Result<std::uint64_t> ready = Status::empty;
    while (!ready) {
      ASSERT_EQ(loop.wait(kBeforeALook).size(), 1u);
      ready = c.wait_any(Duration::zero());
    }
    EXPECT_EQ(text_of(call.poll()->bytes()), "ABC");
    call = Call();
    EXPECT_EQ(c.wait_any(Duration::zero()).status(), Status::empty);
  }
}

// IPCQ_FD_MESSAGES=1000000 for more. The producers pause now and then, so that the loop comes to rest.
TEST_P(ReadyDescriptor, LosesNoWake) {
  const char* const text = std::getenv("IPCQ_FD_MESSAGES");
  const std::uint64_t messages = text != nullptr ? std::strtoull(text, nullptr, 10) : 20'000;
  create("q", {.slots = 0, .lines = 64, .held = 8});
  auto c = consumer();
  std::thread sender([&, p = producer()]() mutable {
    for (std::uint64_t i = 0; i < messages; ++i) {
      ASSERT_EQ(send(p, 1, i), Status::ok);
      for (std::uint64_t n = i % 7 == 0 ? 2000 * (i % 5) : 0; n != 0; --n) asm volatile("");
    }
  });
  Loop loop;
  loop.add(c.fd(), 0);
  std::uint64_t got = 0;
  for (Status s = Status::ok; s != Status::end;) {
    ASSERT_FALSE(loop.wait(kBeforeALook).empty()) << "no wake after " << got << "\n" << broker_.dump("q");
    for (s = Status::ok; s == Status::ok;) {
      auto m = c.receive(Duration::zero());
      s = m.status();
      if (!m) break;
      ASSERT_EQ(read_stamp(m->bytes())->sequence, got++);
    }
    ASSERT_TRUE(s == Status::empty || s == Status::end) << to_string(s);
  }
  sender.join();
  EXPECT_EQ(got, messages);
}

// More than one thread's wait of the kernel takes.
TEST_P(ReadyDescriptor, AThousandShareALoop) {
  constexpr std::uint64_t kConsumers = 1000;
  for (int q = 0; q < 10; ++q) {
    create("q" + std::to_string(q), {.slots = 0, .lines = 16, .endpoints = 128, .held = 1});
  }
  std::vector<Consumer> consumers;
  std::vector<Producer> producers;
  Loop loop;
  for (int q = 0; q < 10; ++q) producers.push_back(producer("q" + std::to_string(q)));
  for (std::uint64_t i = 0; i < kConsumers; ++i) {
    consumers.push_back(consumer("q" + std::to_string(i % 10)));
    loop.add(consumers.back().fd(), i);
  }
  const auto run_until_quiet = [&](Duration rest) {
    std::uint64_t got = 0;
    for (auto ready = loop.wait(rest); !ready.empty(); ready = loop.wait(rest)) {
      for (const std::uint64_t i : ready) {
        for (auto m = consumers[i].receive(Duration::zero()); m; m = consumers[i].receive(Duration::zero())) ++got;
      }
    }
    return got;
  };
  EXPECT_EQ(run_until_quiet(kMoment), 0u);
  for (int round = 0; round < 5; ++round) {
    for (auto& p : producers) ASSERT_EQ(send(p, 1, 0), Status::ok);
    std::uint64_t got = 0;
    const bool all = eventually([&] { return (got += run_until_quiet(5ms)) == 10; });
    EXPECT_TRUE(all) << got;
  }
  EXPECT_TRUE(loop.is_quiet());
  for (auto& p : producers) p.close();
  consumers.clear();
}

TEST_P(ReadyDescriptor, WhoIsNotOpenHasNone) {
  create("q");
  Consumer none;
  EXPECT_THAT(error_of<UsageError>([&] { (void)none.fd(); }), HasSubstr("not open"));
  EXPECT_THAT(error_of<UsageError>([] { (void)Client().fd(); }), HasSubstr("not open"));
  EXPECT_THAT(error_of<UsageError>([] { (void)Server().fd(); }), HasSubstr("not open"));
}

}  // namespace
}  // namespace ipcq_test
