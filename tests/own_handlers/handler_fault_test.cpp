// Handlers that fail, in the host runner: what it costs, and whom not.
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
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
  EXPECT_TRUE(
      comes_to_say("host runner: was lost (killed by signal 11), by '" + path("fragile.cu") +
                   "' of queue 'q'; 1 messages that it had in work are passed on as failed, and the handlers of 2 "
                   "queues are started again"));
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

// Those that work well go on in between, however often another one takes their process along.
TEST_F(HandlerFaultTest, OneThatCrashesAllTheTimeDoesNotStarveTheOthers) {
  create_three(fragile("__builtin_trap();"));
  (void)session();  // one for all threads
  std::atomic<bool> over{false};
  std::thread poison([&] {
    auto p = session().producer("q");
    while (!over) (void)p.send("xyz", 3, 10ms);
  });
  std::thread sink([&] {
    auto c = session().consumer("q");
    while (!over) (void)c.receive(10ms);
  });
  ASSERT_TRUE(eventually([&] { return deaths() >= 5; }));
  auto c = session().consumer("r");
  auto p = session().producer("r");
  const auto begin = std::chrono::steady_clock::now();
  int received = 0;
  std::chrono::nanoseconds worst{};
  while (std::chrono::steady_clock::now() - begin < 3s) {
    const auto sent = std::chrono::steady_clock::now();
    EXPECT_TRUE(exchange(p, c, "abc"));
    worst = std::max<std::chrono::nanoseconds>(worst, std::chrono::steady_clock::now() - sent);
    ++received;
  }
  broker().create("later", options(next_byte()));
  over = true;
  poison.join();
  sink.join();
  EXPECT_GT(received, 1000);
  EXPECT_LT(worst, 1s);
  EXPECT_LT(deaths(), 40u);
}

TEST_F(HandlerFaultTest, OneThatCannotBeLoadedIsNamed) {
  broker().create("r", options(next_byte()));
  const std::string crashes =
      handler("crashes.cu", "", "struct Early { Early() { __builtin_trap(); } };\nstatic Early early;\n");
  EXPECT_THAT(error_of<BackendError>([&] { broker().create("q", options(crashes)); }),
              AllOf(HasSubstr("queue 'q': "), HasSubstr("'crashes.cu'"), HasSubstr("killed by signal")));
  const std::string hangs = handler(
      "hangs.cu", "", "struct Early { Early() { for (volatile bool on = true; on;) {} } };\nstatic Early early;\n");
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THAT(error_of<BackendError>([&] { broker().create("q", options(hangs)); }),
              AllOf(HasSubstr("queue 'q': "), HasSubstr("'hangs.cu'"), HasSubstr("did not answer within 5 s")));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 10s);
  auto c = session().consumer("r");
  auto p = session().producer("r");
  EXPECT_EQ(text_of(*exchange(p, c, "abc")), "bcd");
}

// The linker never unloads some libraries, and knows them by their names.
TEST_F(HandlerFaultTest, EachQueueHasItsOwnCode) {
  const std::string unique = "#include <memory>\n";
  const auto writes = [&](const std::string& name, const std::string& letter, const std::string& parameter) {
    return write(name, "#include <ipcq/handler.hpp>\n" + unique + "struct Mine {\n  int level = 0;\n  int " +
                           parameter +
                           " = 0;\n"
                           "  static constexpr bool accepts(std::uint64_t) { return true; }\n"
                           "  template <class Team> void operator()(std::byte* data, std::uint64_t, Team) const {\n"
                           "    data[0] = *std::make_shared<std::byte>(std::byte{'" +
                           letter +
                           "'});\n  }\n};\n"
                           "IPCQ_HANDLER(Mine, level, " +
                           parameter + ")\n");
  };
  const std::string a = writes("a.cu", "A", "left");
  const std::string b = writes("b.cu", "B", "right");
  EXPECT_THAT(error_of<UsageError>([&] { broker().create("q", options(a + ":wrong=1")); }), HasSubstr("left"));
  broker().create("q", options(b + ":right=1"));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  EXPECT_EQ(text_of(*exchange(p, c, "xyz")), "Byz");
}

TEST_F(HandlerFaultTest, AChildThatItForksEndsWhenTheCallReturns) {
  broker().create("q", options(fragile("if (i == 0) (void)fork();", "#include <unistd.h>\n")));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  EXPECT_EQ(text_of(*exchange(p, c, "xyz")), "yz{");
  for (int n = 0; n < 50; ++n) EXPECT_EQ(text_of(*exchange(p, c, "abc")), "bcd");
  ASSERT_EQ(host_runners().size(), 1u);
  EXPECT_TRUE(eventually([&] {
    const auto children = runners(host_runners().front(), "ipcq-host-runne");
    return children.empty();
  }));
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

// It is started again after a pause, for which the call waits.
TEST_F(HandlerFaultTest, AHandlerThatCrashesIsReplacedOnceItRunsAgain) {
  broker().create("q",
                  {.handler = handler("crash.cu", "      std::abort();", "#include <cstdlib>\n"), .backend = "host"});
  auto c = session().consumer("q");
  auto p = session().producer("q");
  for (int n = 0; n < 6; ++n) {
    const auto m = exchange(p, c, "a");
    ASSERT_TRUE(m);
    EXPECT_TRUE(m->failed());
  }
  replace_handler("q", next_byte(), name_);
  const auto m = exchange(p, c, "a");
  ASSERT_TRUE(m);
  EXPECT_EQ(text_of(*m), "b");
}

}  // namespace
}  // namespace ipcq_test
