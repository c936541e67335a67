// A handler of one's own in a queue that is paused: it gets no message, whatever else is done to it meanwhile.
#include "own_handlers/on_backend.hpp"

namespace ipcq_test {
namespace {

class PauseTest : public ByEachExecutor {
 protected:
  void create(bool paused = false) {
    QueueOptions o = options(counts("counts.cu"));
    o.state_bytes = 64;
    o.paused = paused;
    broker().create("q", o);
    producer_ = session().producer("q");
    consumer_ = session().consumer("q");
  }
  void send(const std::string& text) { ASSERT_EQ(producer_.send(text.data(), text.size(), kBound), Status::ok); }
  void expect_nothing() {
    EXPECT_EQ(consumer_.receive(20ms).status(), Status::timeout);
    EXPECT_EQ(stats().processed, processed_);
  }
  void expect(const std::string& text) {
    const auto m = consumer_.receive(kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    EXPECT_EQ(text_of(*m), text);
  }

  Producer producer_;
  Consumer consumer_;
  std::uint64_t processed_ = 0;
};
INSTANTIATE_TEST_SUITE_P(Executors, PauseTest, testing::ValuesIn(ByEachExecutor::all()), ByEachExecutor::name_of);

TEST_P(PauseTest, AQueueMayBeginPaused) {
  create(true);
  send("abc");
  expect_nothing();
  EXPECT_EQ(saved_count(), 0u);
  broker().resume("q");
  expect("bcd");
  EXPECT_EQ(saved_count(), 1u);
}

TEST_P(PauseTest, StateAndHandlerAreChangedMeanwhile) {
  create();
  send("abc");
  expect("bcd");
  processed_ = 1;
  broker().pause("q");
  send("x");
  EXPECT_EQ(saved_count(), 1u);
  write("seven", std::string("\7\0\0\0\0\0\0\0", 8));
  broker().load_state("q", path("seven"));
  expect_nothing();
  const std::string once_more = "    if (team.rank() == 0) ++*reinterpret_cast<std::uint64_t*>(state.data);";
  broker().replace_handler("q", counts("other.cu", once_more));
  expect_nothing();
  broker().pause("q");
  broker().resume("q");
  expect("y");
  EXPECT_EQ(saved_count(), 9u);
}

TEST_P(PauseTest, OtherQueuesOfItsRunnerGoOn) {
  create();
  broker().create("r", options(next_byte()));
  broker().pause("q");
  send("abc");
  auto p = session().producer("r");
  auto c = session().consumer("r");
  for (int n = 0; n < 20; ++n) EXPECT_EQ(text_of(*exchange(p, c, "abc")), "bcd");
  expect_nothing();
  EXPECT_EQ(broker().remove("q", Removal::at_once), 1u);  // while it is paused
  EXPECT_EQ(text_of(*exchange(p, c, "abc")), "bcd");
  EXPECT_EQ(broker().stats().runner_deaths, 0u);
}

// On the host the queue and what is in it stay; on a GPU it is created anew.
TEST_P(PauseTest, ItsRunnersDeathEndsNoPause) {
  create();
  send("abc");
  expect("bcd");
  broker().pause("q");
  if (kOnGpu) producer_ = {}, consumer_ = {};
  if (!kOnGpu) send("x");
  if (kOnGpu) {
    EXPECT_EQ(broker().drain("q", 0ms), 0u);
  }
  kill_runner();
  if (kOnGpu) {
    ASSERT_TRUE(eventually([&] { return log().find("is created anew") != std::string::npos; }));
    producer_ = session().producer("q", {.wait_for = kBound});
    EXPECT_EQ(producer_.send("x", 1, kBound), Status::closed);
    EXPECT_EQ(stats().state, "draining");
    broker().resume("q");
    broker().pause("q");
    consumer_ = session().consumer("q", {.wait_for = kBound});
    send("x");
  } else {
    ASSERT_TRUE(eventually([&] { return !host_runners().empty(); }));
    processed_ = 1;
  }
  expect_nothing();
  EXPECT_TRUE(stats().paused);
  broker().resume("q");
  expect("y");
}

TEST_P(PauseTest, AHandlerThatDoesNotReturnIsNotPaused) {
  QueueOptions o =
      options(handler("waits.cu", "      while (*static_cast<volatile std::byte*>(data) == std::byte{'w'}) {}"));
  o.handler_deadline = 4s;
  broker().create("q", o);
  producer_ = session().producer("q");
  send(std::string(200, 'w'));
  ASSERT_TRUE(eventually([&] { return stats().inflight == 1; }));
  EXPECT_THAT(error_of<BackendError>([&] { broker().pause("q"); }), HasSubstr("has been working on a message"));
  EXPECT_FALSE(stats().paused);
  EXPECT_TRUE(eventually([&] { return broker().stats().runner_deaths == 1; }));  // the deadline's
}

}  // namespace
}  // namespace ipcq_test
