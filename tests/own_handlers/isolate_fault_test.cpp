// Handlers that fail in host runners of their own, where the process itself is what is looked at.
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "own_handlers/own_handlers.hpp"

namespace ipcq_test {
namespace {

class IsolateFaultTest : public OwnHandlers {
 protected:
  static QueueOptions options(const std::string& file, bool isolate) {
    return {.slots = 8, .size = 4096, .handler = file, .isolate = isolate, .backend = "host"};
  }
  void expect_works(const std::string& queue) {
    auto c = session().consumer(queue);
    auto p = session().producer(queue);
    EXPECT_EQ(text_of(*exchange(p, c, "abc")), "bcd") << queue;
  }
};

// A call that does not return is ended after five seconds, with its process.
TEST_F(IsolateFaultTest, ThoseThatNeverReturnAreEndedAtTheSameTime) {
  const std::string hangs = handler("hangs.cu", "      for (volatile bool on = true; on;) {}");
  for (const char* const queue : {"q", "r", "s", "t"}) {
    broker().create(queue, options(hangs, true));
    auto p = session().producer(queue);
    ASSERT_EQ(p.send("xyz", 3, kBound), Status::ok);
  }
  ASSERT_EQ(host_runners().size(), 4u);
  std::this_thread::sleep_for(100ms);
  const Watchdog watchdog(60s, [] { return std::string("the broker does not stop"); });
  const auto begin = std::chrono::steady_clock::now();
  broker().stop(100ms);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 15s) << "one after the other they take 20 s";
  EXPECT_TRUE(eventually([&] { return host_runners().empty(); }));
}

TEST_F(IsolateFaultTest, OneThatCrashesWhileItIsLoadedLeavesNoProcess) {
  broker().create("r", options(next_byte(), false));
  const std::string crashes =
      handler("crashes.cu", "", "struct Early { Early() { __builtin_trap(); } };\nstatic Early early;\n");
  EXPECT_THAT(error_of<BackendError>([&] { broker().create("q", options(crashes, true)); }),
              AllOf(HasSubstr("queue 'q': "), HasSubstr("'crashes.cu'"), HasSubstr("killed by signal")));
  ASSERT_TRUE(eventually([&] { return broker().stats().runner_deaths == 1; }));
  EXPECT_EQ(host_runners().size(), 1u);
  expect_works("r");
  broker().create("q", options(next_byte(), true));
  expect_works("q");
  EXPECT_EQ(host_runners().size(), 2u);
}

// Neither a message nor their process, however often its own ends.
TEST_F(IsolateFaultTest, OneThatCrashesAllTheTimeCostsTheOthersNothing) {
  broker().create("r", options(next_byte(), false));
  const std::vector<pid_t> shared = host_runners();
  broker().create("q", options(handler("crashes.cu", "      __builtin_trap();"), true));
  auto c = session().consumer("r");
  auto p = session().producer("r");
  auto mine = session().producer("q");
  auto reader = session().consumer("q");
  for (std::uint64_t n = 1; n <= 5; ++n) {
    const auto m = exchange(mine, reader, "abc");
    ASSERT_TRUE(m);
    EXPECT_TRUE(m->failed());
    ASSERT_TRUE(eventually([&] { return broker().stats().runner_deaths == n; }));
    EXPECT_EQ(text_of(*exchange(p, c, "abc")), "bcd");
  }
  EXPECT_EQ(stats("r").handler_errors, 0u);
  EXPECT_THAT(host_runners(), testing::IsSupersetOf(shared));
}

}  // namespace
}  // namespace ipcq_test
