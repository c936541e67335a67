// Queues on a GPU that begin with a handler that is only linked, and go on with one that is inlined.
#include <cstdlib>
#include <cstring>
#include <thread>

#include "own_handlers/on_backend.hpp"

namespace ipcq_test {
namespace {

constexpr std::string_view kInlined = "its handler is inlined from now on";

class QuickStartTest : public ByEachExecutor {
 protected:
  QuickStartTest() { ::setenv("IPCQ_SOFT_QUICK", "yes", 1); }  // for a GPU that is played by the CPU
  ~QuickStartTest() override { ::unsetenv("IPCQ_SOFT_QUICK"); }
  static QueueOptions options(const std::string& file) {
    QueueOptions o = ByEachExecutor::options(file);
    o.quick_start = true;
    return o;
  }
  // Numbers the messages in their order, in a queue whose state it is.
  std::string numbering() const {
    return full("numbering.cu",
                "if (team.rank() == 0) {\n"
                "  auto* const count = reinterpret_cast<std::uint64_t*>(state.data);\n"
                "  *reinterpret_cast<std::uint64_t*>(m.data) = ++*count;\n"
                "}",
                "", "", ", ipcq::State state");
  }
  std::size_t times_said(std::string_view text) {
    const std::string all = log();
    std::size_t times = 0;
    for (std::size_t at = 0; (at = all.find(text, at)) != std::string::npos; at += text.size()) ++times;
    return times;
  }
};

INSTANTIATE_TEST_SUITE_P(Executors, QuickStartTest, testing::ValuesIn(QuickStartTest::all()), QuickStartTest::name_of);

TEST_P(QuickStartTest, AQueueBeginsLinkedAndGoesOnInlinedWithItsStateInTheOrder) {
  QueueOptions o = options(numbering());
  o.state_bytes = 8;
  broker().create("q", o);
  ASSERT_TRUE(comes_to_say(": linked, not inlined"));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  // Inline messages and such in slots, before, during and after the swap.
  std::uint64_t number = 0;
  const auto go_on = [&] {
    for (const std::size_t length : {8, 72, 8192}) {
      const auto m = exchange(p, c, std::string(length, ' '));
      ASSERT_TRUE(m);
      std::uint64_t got = 0;
      std::memcpy(&got, m->bytes().data(), sizeof got);
      ASSERT_EQ(got, ++number);
    }
  };
  go_on();
  EXPECT_EQ(times_said(kInlined), 0u);
  ASSERT_TRUE(eventually(
      [&] {
        go_on();
        std::this_thread::sleep_for(20ms);  // leaves the compiler some of the machine
        return times_said(kInlined) == 1;
      },
      60s));
  for (int n = 0; n < 10; ++n) go_on();
  EXPECT_TRUE(eventually([&] { return stats().processed == number; }));
}

TEST_P(QuickStartTest, OneWhoseImageIsKeptOrWhoDoesNotWantItBeginsInlined) {
  QueueOptions o = options(next_byte());
  o.quick_start = false;
  broker().create("whole", o);
  EXPECT_EQ(times_said(": linked"), 0u);
  o.handler = next_byte("other.cu");
  o.quick_start = true;
  broker().create("q", o);
  const bool keeps_images = std::getenv("IPCQ_COMPILER") == nullptr;  // that of the soft GPU does not
  EXPECT_EQ(times_said(": linked"), 1u);
  ASSERT_TRUE(comes_to_say(std::string(kInlined)));
  if (keeps_images) {
    broker().create("again", o);
    EXPECT_EQ(times_said(": linked"), 1u);
  }
  auto c = session().consumer("whole");
  auto p = session().producer("whole");
  EXPECT_EQ(text_of(*exchange(p, c, "abc")), "bcd");
}

TEST_P(QuickStartTest, WhatHasChangedMeanwhileIsNotPutInItsPlace) {
  broker().create("q", options(next_byte()));
  handler("next.cu", "      data[i] = std::byte{'!'};");
  ASSERT_TRUE(comes_to_say("has changed since it was linked")) << log();
  EXPECT_TRUE(comes_to_say("stays linked"));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  EXPECT_EQ(text_of(*exchange(p, c, "abc")), "bcd");
  broker().replace_handler("q", path("next.cu"));
  EXPECT_EQ(text_of(*exchange(p, c, "abc")), "!!!");
  EXPECT_EQ(times_said(kInlined), 0u);
}

TEST_P(QuickStartTest, OneThatIsReplacedMeanwhileKeepsWhatReplacedIt) {
  QueueOptions o = options(handler("mark.cu", "      data[i] = std::byte{'!'};"));
  o.quick_start = false;
  broker().create("first", o);  // its image is kept, so that the replacement comes before the inlined one
  broker().create("q", options(next_byte()));
  broker().replace_handler("q", o.handler);
  broker().create("last", options(next_byte("last.cu")));  // the queues' handlers are inlined in this order
  ASSERT_TRUE(comes_to_say("queue 'last': " + std::string(kInlined))) << log();
  auto c = session().consumer("q");
  auto p = session().producer("q");
  EXPECT_EQ(text_of(*exchange(p, c, "abc")), "!!!");
}

TEST_P(QuickStartTest, ARunnersDeathMeanwhileLeavesAQueueThatIsInlinedLater) {
  broker().create("q", options(next_byte()));
  kill_runner();
  ASSERT_TRUE(comes_to_say(std::string(kInlined))) << log();
  auto c = session().consumer("q", {.wait_for = kBound});
  auto p = session().producer("q", {.wait_for = kBound});
  EXPECT_EQ(text_of(*exchange(p, c, "abc")), "bcd");
}

TEST_P(QuickStartTest, ABrokerEndsWhileAHandlerIsCompiled) {
  broker().create("q", options(next_byte()));
  const auto begin = std::chrono::steady_clock::now();
  broker().stop(1ms);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, kBound);
}

}  // namespace
}  // namespace ipcq_test
