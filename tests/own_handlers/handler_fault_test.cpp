// Handlers that fail, in the host runner: what it costs, and whom not.
#include <sys/wait.h>

#include <chrono>
#include <string>
#include <thread>

#include "own_handlers/own_handlers.hpp"

namespace ipcq_test {
namespace {

class HandlerFaultTest : public OwnHandlers {
 protected:
  // Runs `on_x`, a statement, at a message that begins with 'x'; adds one to each byte of the others.
  std::string fragile(const std::string& on_x, const std::string& before = "") const {
    return handler("fragile.cu",
                   "      if (data[0] == std::byte{'x'}) { " + on_x +
                       " }\n"
                       "      data[i] = static_cast<std::byte>(static_cast<int>(data[i]) + 1);",
                   before);
  }
  static QueueOptions options(const std::string& file, std::uint32_t threads = 1) {
    return {.slots = 8, .size = 4096, .handler = file, .backend = "host", .threads = threads};
  }
  // A queue with a fragile handler, one with a handler of the user's that is not, one with a built-in one.
  void create_three(const std::string& file) {
    broker().create("q", options(file));
    broker().create("r", options(next_byte()));
    broker().create("builtin", options("upper"));
  }
  void expect_unharmed() {
    for (const char* const queue : {"r", "builtin"}) {
      auto c = session().consumer(queue);
      auto p = session().producer(queue);
      EXPECT_EQ(text_of(*exchange(p, c, "abc")), std::string_view(queue) == "r" ? "bcd" : "ABC") << queue;
    }
  }
  // The message on which the handler fails is passed on as failed, and those behind it are done.
  void expect_one_failed(const std::string& fatal) {
    auto c = session().consumer("q");
    auto p = session().producer("q");
    EXPECT_EQ(text_of(*exchange(p, c, "abc")), "bcd");
    ASSERT_EQ(p.send(fatal.data(), fatal.size(), kBound), Status::ok);
    ASSERT_EQ(p.send("abc", 3, kBound), Status::ok);
    const auto failed = c.receive(kBound);
    ASSERT_TRUE(failed) << to_string(failed.status());
    EXPECT_TRUE(failed->failed());
    EXPECT_FALSE(failed->processed());
    EXPECT_EQ(failed->length(), fatal.size());
    const auto next = c.receive(kBound);
    ASSERT_TRUE(next) << to_string(next.status());
    EXPECT_EQ(text_of(*next), "bcd");
  }
  std::uint64_t deaths() { return broker().stats().runner_deaths; }
};

TEST_F(HandlerFaultTest, AnExceptionCostsItsMessage) {
  create_three(fragile("throw std::runtime_error(\"x is not for me\");", "#include <stdexcept>\n"));
  expect_one_failed("xyz");
  expect_one_failed("x" + std::string(1000, 'y'));
  EXPECT_EQ(deaths(), 0u);
  EXPECT_EQ(stats().handler_errors, 2u);
  expect_unharmed();
}

TEST_F(HandlerFaultTest, ACrashCostsItsMessageAndAProcess) {
  create_three(fragile("*static_cast<volatile int*>(nullptr) = 1;"));
  expect_one_failed("xyz");
  EXPECT_EQ(deaths(), 1u);
  expect_one_failed("x" + std::string(1000, 'y'));
  EXPECT_EQ(deaths(), 2u);
  expect_unharmed();
  EXPECT_TRUE(comes_to_say("queue 'q': the host runner, in which its handler '" + path("fragile.cu") +
                           "' runs, was lost (killed by signal 11)"));
  EXPECT_TRUE(comes_to_say("queue 'q': its handler runs again"));
  EXPECT_TRUE(comes_to_say("1 messages were passed on as failed"));
}

TEST_F(HandlerFaultTest, OneThatEndsItsProcessDoesNoMore) {
  create_three(fragile("std::_Exit(0);", "#include <cstdlib>\n"));
  expect_one_failed("xyz");
  EXPECT_EQ(deaths(), 1u);
  expect_unharmed();
}

TEST_F(HandlerFaultTest, OneThatAbortsDoesNoMore) {
  create_three(fragile("std::abort();", "#include <cstdlib>\n"));
  expect_one_failed("xyz");
  expect_unharmed();
}

TEST_F(HandlerFaultTest, ManyCrashesInARowLoseNothingElse) {
  broker().create("q", options(fragile("__builtin_trap();"), 2));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  constexpr int kCount = 40;
  int failed = 0;
  std::thread sender([&] {
    for (int n = 0; n < kCount; ++n) {
      const std::string text = n % 8 == 3 ? "xyz" : "abc";
      EXPECT_EQ(p.send(text.data(), text.size(), kBound), Status::ok);
    }
  });
  for (int n = 0; n < kCount; ++n) {
    const auto m = c.receive(kBound);
    ASSERT_TRUE(m) << to_string(m.status()) << " " << n << "\n" << broker().dump("q");
    EXPECT_EQ(m->sequence(), static_cast<std::uint64_t>(n)) << "one producer, in order";
    failed += m->failed();
    EXPECT_TRUE(m->failed() || text_of(*m) == "bcd") << n << ": " << text_of(*m);
    EXPECT_TRUE(m->failed() || n % 8 != 3) << n;
  }
  sender.join();
  EXPECT_LE(failed, kCount / 8 * 2) << "with two threads a message beside the fatal one may be in work";
  EXPECT_EQ(stats().handler_errors, static_cast<std::uint64_t>(failed));
  ASSERT_TRUE(eventually([&] { return stats().empty == 8; }));
}

// Slots of a pool that several queues share must come back.
TEST_F(HandlerFaultTest, ASharedPoolGetsItsSlotsBack) {
  broker().create_pool("pool", {.slots = 4, .size = 4096, .backend = "host"});
  QueueOptions o = options(fragile("__builtin_trap();"));
  o.pool = "pool";
  broker().create("q", o);
  auto c = session().consumer("q");
  auto p = session().producer("q");
  for (int n = 0; n < 10; ++n) {
    const auto m = exchange(p, c, (n % 3 == 0 ? "x" : "a") + std::string(1000, 'y'));
    ASSERT_TRUE(m);
    EXPECT_EQ(m->failed(), n % 3 == 0);
  }
  EXPECT_TRUE(eventually([&] { return stats().empty == 4; })) << stats().empty;
}

TEST_F(HandlerFaultTest, ARunnerThatDiesIdleIsReplaced) {
  create_three(next_byte("idle.cu"));
  ASSERT_EQ(host_runners().size(), 1u);
  ::kill(host_runners().front(), SIGKILL);
  ASSERT_TRUE(eventually([&] { return deaths() == 1; }));
  expect_unharmed();
  auto c = session().consumer("q");
  auto p = session().producer("q");
  EXPECT_EQ(text_of(*exchange(p, c, "abc")), "bcd");
  EXPECT_EQ(stats().handler_errors, 0u);
}

// A call of it can only be ended with its process.
TEST_F(HandlerFaultTest, OneThatNeverReturnsHoldsUpNeitherOthersNorTheEnd) {
  create_three(fragile("for (volatile bool on = true; on;) {}"));
  auto p = session().producer("q");
  ASSERT_EQ(p.send("xyz", 3, kBound), Status::ok);
  std::this_thread::sleep_for(100ms);
  expect_unharmed();
  broker().create("later", options(next_byte()));
  const Watchdog watchdog(30s, [] { return std::string("the broker does not stop"); });
  const auto begin = std::chrono::steady_clock::now();
  broker().stop(100ms);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 15s);
  EXPECT_TRUE(eventually([&] { return host_runners().empty(); }));
}

TEST_F(HandlerFaultTest, ADeadlineEndsACallThatTakesLonger) {
  QueueOptions o = options(fragile("for (volatile bool on = true; on;) {}"));
  o.handler_deadline = 100ms;
  broker().create("q", o);
  broker().create("r", options(next_byte()));
  broker().create("builtin", options("upper"));
  const auto begin = std::chrono::steady_clock::now();
  expect_one_failed("xyz");
  const auto took = std::chrono::steady_clock::now() - begin;
  EXPECT_GE(took, 100ms);
  EXPECT_LT(took, 5s);
  EXPECT_EQ(deaths(), 1u);
  expect_unharmed();
  EXPECT_TRUE(comes_to_say("was lost (a handler was over its deadline)"));
  std::this_thread::sleep_for(300ms);  // idle, and with what is done
  EXPECT_EQ(deaths(), 1u);
}

TEST_F(HandlerFaultTest, ADeadlineIsOfACallAndNotOfAQueueThatIsBusy) {
  QueueOptions o = options(handler(
      "slow.cu", "      if (i == 0) { timespec t{0, 20'000'000}; nanosleep(&t, nullptr); }", "#include <time.h>\n"));
  o.handler_deadline = 100ms;
  broker().create("q", o);
  auto c = session().consumer("q");
  auto p = session().producer("q");
  for (int n = 0; n < 20; ++n) ASSERT_EQ(p.send("abc", 3, kBound), Status::ok);
  for (int n = 0; n < 20; ++n) {
    const auto m = c.receive(kBound);
    ASSERT_TRUE(m);
    EXPECT_TRUE(m->processed());
  }
  EXPECT_EQ(deaths(), 0u);
}

TEST_F(HandlerFaultTest, ADeadlineIsOfUsersHandlersAlone) {
  QueueOptions o = options("upper");
  o.handler_deadline = 1s;
  EXPECT_THAT(error_of<UsageError>([&] { broker().create("q", o); }), HasSubstr("handler_deadline says nothing here"));
  o = options(next_byte());
  o.handler_deadline = 1us;
  EXPECT_THAT(error_of<UsageError>([&] { broker().create("q", o); }), HasSubstr("less than a millisecond"));
}

TEST_F(HandlerFaultTest, TheBrokerEndsItsRunner) {
  broker().create("q", options(next_byte()));
  ASSERT_EQ(host_runners().size(), 1u);
  broker().stop(100ms);
  EXPECT_TRUE(eventually([&] { return host_runners().empty(); }));
  EXPECT_EQ(deaths(), 0u);
}

TEST_F(HandlerFaultTest, WithoutItsRunnersProgramTheRemedyIsNamed) {
  ::setenv("IPCQ_HOST_RUNNER", path("none").c_str(), 1);
  EXPECT_THAT(error_of<BackendError>([&] { broker().create("q", options(next_byte())); }),
              AllOf(HasSubstr("queue 'q': its handler cannot run here: "), HasSubstr("IPCQ_HOST_RUNNER is '"),
                    HasSubstr("a handler of your own")));
  ::unsetenv("IPCQ_HOST_RUNNER");
}

}  // namespace
}  // namespace ipcq_test
