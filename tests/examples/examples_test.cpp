// The examples, as a user runs them, on the backend that the build names: the host, or a GPU (also one that is played
// by the CPU).
#include "ipcq/ipcq.hpp"
#include "programs/commands.hpp"

namespace ipcq_test {
namespace {

using testing::HasSubstr;

class ExamplesTest : public ProgramTest {
 protected:
  void SetUp() override {
    if (std::string_view(IPCQ_EXAMPLES_BACKEND) != "cuda") return;
    try {
      ipcq::Broker probe({.name = broker_name()});
      probe.create("probe", {.slots = 1, .handler = "identity", .backend = "cuda"});
    } catch (const ipcq::BackendError& e) {
      GTEST_SKIP() << e.what();
    }
  }
  // Runs an example, from beside `bin`; handlers are compiled into a cache of the test's own.
  Command& example(const std::string& arguments) {
    return run("XDG_CACHE_HOME=\"$PWD/cache\" exec \"$IPCQ_BIN_DIR\"/../examples/" + arguments);
  }
};

TEST_F(ExamplesTest, VectorAddAddsEveryPair) {
  Command& c = example("vector_add " IPCQ_EXAMPLES_BACKEND " 2000");
  EXPECT_EQ(c.exit_code(), 0) << c.err();
  EXPECT_THAT(c.out(), HasSubstr("2000 tasks in"));
}

TEST_F(ExamplesTest, VectorAddDoesTheSameWithTheBuiltInHandler) {
  Command& c = example("vector_add " IPCQ_EXAMPLES_BACKEND " 100 vector_add");
  EXPECT_EQ(c.exit_code(), 0) << c.err();
  EXPECT_THAT(c.out(), HasSubstr("100 tasks in"));
}

TEST_F(ExamplesTest, VectorAddTellsAWrongSum) {
  Command& c = example("vector_add " IPCQ_EXAMPLES_BACKEND " 100 identity");
  EXPECT_EQ(c.exit_code(), 1) << c.out();
  EXPECT_THAT(c.err(), HasSubstr("has a wrong result"));
}

TEST_F(ExamplesTest, UpperLogCountsLevelsHoweverTheyAreSpelt) {
  std::string log;
  for (int i = 0; i < 1000; ++i) {
    log +=
        std::to_string(i) + " error: no space left on /dev/shm\n\n" + std::to_string(i) + " Warn: caf\xc3\xa9 closed\n";
    log += std::string(static_cast<std::size_t>(i), 'x') + " INFO " + std::to_string(i) + "\n";
  }
  write("log", log + "the end has no newline: ERROR");
  Command& c = example("upper_log log " IPCQ_EXAMPLES_BACKEND);
  EXPECT_EQ(c.exit_code(), 0) << c.err();
  EXPECT_EQ(c.out(), "4001 lines, every one is right: 1001 ERROR 1000 WARN 1000 INFO\n");
}

TEST_F(ExamplesTest, UpperLogTellsAWrongLine) {
  write("log", "FIRST\nsecond\n");
  Command& c = example("upper_log log " IPCQ_EXAMPLES_BACKEND " identity");
  EXPECT_EQ(c.exit_code(), 1) << c.out();
  EXPECT_THAT(c.err(), HasSubstr("line 2 is wrong"));
}

TEST_F(ExamplesTest, UpperLogNamesALineThatIsTooLong) {
  write("log", "short\n" + std::string(100'000, 'x') + "\n");
  Command& c = example("upper_log log " IPCQ_EXAMPLES_BACKEND);
  EXPECT_EQ(c.exit_code(), 1) << c.out();
  EXPECT_THAT(c.err(), HasSubstr("line 2: too_large"));
}

}  // namespace
}  // namespace ipcq_test
