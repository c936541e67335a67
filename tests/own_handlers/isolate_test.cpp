// Queues with a runner of their own beside queues that share one, on the backend that the build names: what the death
// of each costs.
#include <algorithm>
#include <chrono>
#include <string>
#include <vector>

#include "own_handlers/on_backend.hpp"

namespace ipcq_test {
namespace {

using testing::IsSupersetOf;
using testing::Not;

class IsolateTest : public OnBackend {
 protected:
  static QueueOptions own(const std::string& file) {
    QueueOptions o = options(file);
    o.isolate = true;
    return o;
  }
  static std::vector<pid_t> all_runners() { return kOnGpu ? runners() : host_runners(); }
  // Creates a queue, and returns the runner that was started for it; 0 if none was.
  pid_t create(const std::string& name, const QueueOptions& o) {
    const std::vector<pid_t> before = all_runners();
    broker().create(name, o);
    return other_than(before);
  }
  static pid_t other_than(const std::vector<pid_t>& known) {
    for (const pid_t pid : all_runners()) {
      if (std::find(known.begin(), known.end(), pid) == known.end()) return pid;
    }
    return 0;
  }
  // A queue `r` that shares its runner, and `q`, which has one for itself.
  void create_both(const std::string& file_of_q) {
    broker().create("r", options(next_byte("r.cu")));
    ASSERT_EQ(all_runners().size(), 1u);
    shared_ = all_runners().front();
    own_ = create("q", own(file_of_q));
    ASSERT_NE(own_, 0);
  }
  // Under MPS the contexts of all runners may fail with one. Then all that is promised is that the queues come back.
  bool may_fail_together() {
    return kOnGpu && comes_to_say("for queue 'q' alone (") && log().find(", under MPS") != std::string::npos;
  }
  void kill_and_wait(pid_t runner) {
    ASSERT_GT(runner, 0) << "it would be this test's own group";
    const std::uint64_t before = broker().stats().runner_deaths;
    ::kill(runner, SIGKILL);
    ASSERT_TRUE(eventually([&] { return broker().stats().runner_deaths > before; }));
  }
  void expect_works(const std::string& queue) {
    auto c = session().consumer(queue, {.wait_for = kBound});
    auto p = session().producer(queue, {.wait_for = kBound});
    for (const std::size_t length : {1, 72, 8000}) {
      const auto m = exchange(p, c, std::string(length, 'a'));
      ASSERT_TRUE(m);
      EXPECT_EQ(text_of(*m), std::string(length, 'b')) << queue << " " << length;
    }
  }

  pid_t shared_ = 0;
  pid_t own_ = 0;
};

TEST_F(IsolateTest, EachRunnerIsStartedForItsQueues) {
  create_both(next_byte("q.cu"));
  EXPECT_EQ(create("also_r", options(next_byte("r.cu"))), 0) << "it shares the first one's";
  const pid_t third = create("s", own(next_byte("q.cu")));
  EXPECT_NE(third, 0);
  for (const char* const queue : {"q", "r", "also_r", "s"}) expect_works(queue);
  EXPECT_EQ(all_runners().size(), 3u);
  EXPECT_EQ(broker().stats().runner_deaths, 0u);
}

// The clients of the other queue stay attached, and what lies in it stays there.
TEST_F(IsolateTest, TheDeathOfItsRunnerTouchesNoOtherQueue) {
  create_both(next_byte("q.cu"));
  auto c = session().consumer("r");
  auto p = session().producer("r");
  ASSERT_EQ(p.send("abc", 3, kBound), Status::ok);
  const std::string large(8000, 'a');
  ASSERT_EQ(p.send(large.data(), large.size(), kBound), Status::ok);
  kill_and_wait(own_);
  expect_works("q");
  const auto first = c.receive(kBound);
  const auto second = c.receive(kBound);
  if (may_fail_together()) return expect_works("r");
  ASSERT_TRUE(first && second);
  EXPECT_EQ(text_of(*first), "bcd");
  EXPECT_EQ(text_of(*second), std::string(8000, 'b'));
  EXPECT_EQ(text_of(*exchange(p, c, "abc")), "bcd");
  EXPECT_THAT(all_runners(), IsSupersetOf({shared_}));
  EXPECT_THAT(all_runners(), Not(IsSupersetOf({own_})));
  EXPECT_EQ(all_runners().size(), 2u);
  EXPECT_EQ(stats("r").handler_errors, 0u);
}

TEST_F(IsolateTest, TheDeathOfTheSharedRunnerDoesNotTouchIt) {
  create_both(next_byte("q.cu"));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  ASSERT_EQ(p.send("abc", 3, kBound), Status::ok);
  kill_and_wait(shared_);
  expect_works("r");
  const auto m = c.receive(kBound);
  if (may_fail_together()) return expect_works("q");
  ASSERT_TRUE(m);
  EXPECT_EQ(text_of(*m), "bcd");
  EXPECT_EQ(text_of(*exchange(p, c, std::string(8000, 'a'))), std::string(8000, 'b'));
  EXPECT_THAT(all_runners(), IsSupersetOf({own_}));
  EXPECT_EQ(all_runners().size(), 2u);
}

// By its own doing: each time its runner is replaced, and the other's is not.
TEST_F(IsolateTest, AHandlerThatCrashesCostsItsQueueAlone) {
  create_both(handler("fragile.cu", R"(      if (data[0] == std::byte{'x'}) {
#if defined(__CUDA_ARCH__)
        __trap();
#else
        __builtin_trap();
#endif
      }
      data[i] = static_cast<std::byte>(static_cast<int>(data[i]) + 1);)"));
  auto c = session().consumer("r");
  auto p = session().producer("r");
  for (std::uint64_t round = 1; round <= 3; ++round) {
    {
      auto mine = session().producer("q", {.wait_for = kBound});
      auto reader = session().consumer("q", {.wait_for = kBound});
      ASSERT_EQ(p.send("abc", 3, kBound), Status::ok);
      ASSERT_EQ(mine.send("xyz", 3, kBound), Status::ok);
      const auto m = reader.receive(kBound);
      EXPECT_EQ(m.status(), kOnGpu ? Status::closed : Status::ok);
      EXPECT_TRUE(!m || m->failed());
      ASSERT_TRUE(eventually([&] { return broker().stats().runner_deaths >= round; }));
    }
    expect_works("q");
    if (may_fail_together()) return expect_works("r");
    EXPECT_EQ(text_of(*c.receive(kBound)), "bcd");
    EXPECT_EQ(text_of(*exchange(p, c, "abc")), "bcd");
  }
  EXPECT_THAT(all_runners(), IsSupersetOf({shared_}));
  EXPECT_EQ(all_runners().size(), 2u);
  EXPECT_TRUE(comes_to_say(kOnGpu ? "queue 'q': its own runner on GPU 0 was lost ("
                                  : "host runner, for queue 'q' alone: was lost (killed by signal "));
}

TEST_F(IsolateTest, ItsHandlerIsReplacedThere) {
  create_both(next_byte("q.cu"));
  broker().replace_handler("q",
                           handler("two.cu", "      data[i] = static_cast<std::byte>(static_cast<int>(data[i]) + 2);"));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  EXPECT_EQ(text_of(*exchange(p, c, "abc")), "cde");
  expect_works("r");
  EXPECT_THAT(all_runners(), IsSupersetOf({own_, shared_}));
  EXPECT_EQ(all_runners().size(), 2u);
}

TEST_F(IsolateTest, ARunnerEndsIfItsQueueIsNotCreated) {
  create_both(next_byte("q.cu"));
  EXPECT_THAT(error_of<UsageError>([&] { broker().create("s", own(next_byte("s.cu") + ":level=7")); }),
              HasSubstr("level"));
  EXPECT_EQ(all_runners().size(), 2u) << "it was ended before the call returned";
  EXPECT_NE(create("s", own(next_byte("s.cu"))), 0);
  expect_works("s");
  EXPECT_EQ(broker().stats().runner_deaths, 0u);
}

TEST_F(IsolateTest, TheBrokerEndsAllRunners) {
  create_both(next_byte("q.cu"));
  broker().create("s", own(next_byte("s.cu")));
  ASSERT_EQ(all_runners().size(), 3u);
  broker().stop(100ms);
  EXPECT_TRUE(eventually([&] { return all_runners().empty(); }));
  EXPECT_EQ(broker().stats().runner_deaths, 0u);
}

// Two brokers of a process share a runner, and no runner of a queue's own, however the queue is called.
TEST_F(IsolateTest, NoOtherBrokerOfTheProcessSharesIt) {
  create_both(next_byte("q.cu"));
  Broker other({.name = name_ + "-other"});
  other.create("r", options(next_byte("r.cu")));
  EXPECT_EQ(all_runners().size(), 2u);
  other.create("q", own(next_byte("q.cu")));
  EXPECT_EQ(all_runners().size(), 3u);
  other.stop(100ms);
  EXPECT_TRUE(eventually([&] { return all_runners().size() == 2; }));
  expect_works("q");
  expect_works("r");
}

// Memory of a GPU ends with the process that made it.
TEST_F(IsolateTest, OnAGpuItSharesNoPool) {
  if (!kOnGpu) {
    create_both(next_byte("q.cu"));
    QueueOptions o = own(next_byte("q.cu"));
    o.pool = "r";
    broker().create("s", o);
    o = options(next_byte("r.cu"));
    o.pool = "q";
    broker().create("t", o);
    kill_and_wait(own_);
    for (const char* const queue : {"q", "r", "s", "t"}) expect_works(queue);
    return;
  }
  create_both(next_byte("q.cu"));
  QueueOptions o = own(next_byte("q.cu"));
  o.pool = "r";
  EXPECT_THAT(error_of<UsageError>([&] { broker().create("s", o); }),
              AllOf(HasSubstr("queue 's': isolate, but pool 'r' is in device memory"), HasSubstr("leave pool out")));
  o = options(next_byte("r.cu"));
  o.pool = "q";
  EXPECT_THAT(error_of<UsageError>([&] { broker().create("t", o); }),
              AllOf(HasSubstr("queue 't': pool 'q'"), HasSubstr("create queue 'q' without isolate")));
  EXPECT_EQ(all_runners().size(), 2u);
}

TEST_F(IsolateTest, ABuiltInHandlerHasItOnAGpuAlone) {
  QueueOptions o = own("upper");
  o.backend = "auto";
  EXPECT_THAT(error_of<UsageError>([&] { broker().create("q", o); }), HasSubstr("say backend cuda"));
  if (!kOnGpu) return;
  o.backend = "cuda";
  EXPECT_NE(create("q", o), 0);
  auto c = session().consumer("q");
  auto p = session().producer("q");
  EXPECT_EQ(text_of(*exchange(p, c, "abc")), "ABC");
}

}  // namespace
}  // namespace ipcq_test
