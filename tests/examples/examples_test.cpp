// The examples, as a user runs them, on the backend that the build names: the host, or a GPU (also one that is played
// by the CPU).
#include <signal.h>

#include <cstdlib>
#include <fstream>

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
  Command& example(const std::string& arguments) { return run(command(arguments)); }
  Command& start_example(const std::string& arguments) { return start(command(arguments)); }

 private:
  static std::string command(const std::string& arguments) {
    return "XDG_CACHE_HOME=\"$PWD/cache\" exec \"$IPCQ_BIN_DIR\"/../examples/" + arguments;
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

// 4001 lines: of each level, of none, of two, empty ones, short and long ones; the last has no newline.
std::string log_of_all_levels() {
  std::string log;
  for (int i = 0; i < 1000; ++i) {
    const std::string number = std::to_string(i);
    log += number + " error: no space left on /dev/shm\n\n" + number + " Warn: caf\xc3\xa9 closed\n";
    log += std::string(static_cast<std::size_t>(i), 'x') + " INFO " + number + "\n";
  }
  return log + "the end, with an info of an ERRO and an eRRoR";
}

TEST_F(ExamplesTest, LogFilterCountsLevelsHoweverTheyAreSpelt) {
  write("log", log_of_all_levels());
  Command& c = example("log_filter log " IPCQ_EXAMPLES_BACKEND);
  EXPECT_EQ(c.exit_code(), 0) << c.err();
  EXPECT_EQ(c.out(), "2001 of 4001 lines, every one is right: 0 INFO 1000 WARN 1001 ERROR\n");
}

TEST_F(ExamplesTest, LogFilterKeepsAllLinesAtLevelZeroAsTheBuiltInHandlerDoes) {
  write("log", log_of_all_levels());
  for (const char* handler : {"", " upper"}) {
    Command& c = example("log_filter log " IPCQ_EXAMPLES_BACKEND " 0" + std::string(handler));
    EXPECT_EQ(c.exit_code(), 0) << c.err();
    EXPECT_EQ(c.out(), "4001 of 4001 lines, every one is right: 1000 INFO 1000 WARN 1001 ERROR\n") << handler;
  }
}

TEST_F(ExamplesTest, LogFilterSeesAFileOfWhichNothingIsLeft) {
  write("log", "info\n\nwar, erro\n");
  Command& c = example("log_filter log " IPCQ_EXAMPLES_BACKEND);
  EXPECT_EQ(c.exit_code(), 0) << c.err();
  EXPECT_EQ(c.out(), "0 of 3 lines, every one is right: 0 INFO 0 WARN 0 ERROR\n");
}

TEST_F(ExamplesTest, LogFilterTellsALineThatIsWrongOrWasNotDropped) {
  write("log", "FIRST ERROR\nsecond\n");
  Command& wrong = example("log_filter log " IPCQ_EXAMPLES_BACKEND " 0 identity");
  EXPECT_EQ(wrong.exit_code(), 1) << wrong.out();
  EXPECT_THAT(wrong.err(), HasSubstr("line 2 is wrong"));
  Command& left = example("log_filter log " IPCQ_EXAMPLES_BACKEND " 2 upper");
  EXPECT_EQ(left.exit_code(), 1) << left.out();
  EXPECT_THAT(left.err(), HasSubstr("more lines arrive than the file has"));
}

TEST_F(ExamplesTest, LogFilterNamesALineThatIsTooLong) {
  write("log", "short\n" + std::string(100'000, 'x') + "\n");
  Command& c = example("log_filter log " IPCQ_EXAMPLES_BACKEND);
  EXPECT_EQ(c.exit_code(), 1) << c.out();
  EXPECT_THAT(c.err(), HasSubstr("line 2: too_large"));
}

TEST_F(ExamplesTest, MatmulMultipliesEveryMatrix) {
  Command& c = example("matmul " IPCQ_EXAMPLES_BACKEND " 100");
  EXPECT_EQ(c.exit_code(), 0) << c.err();
  EXPECT_EQ(c.out(), "100 products, every element is right\n");
}

TEST_F(ExamplesTest, MatmulTellsAProductByOtherWeights) {
  Command& changed =
      run("cd \"$IPCQ_BIN_DIR\"/../examples && cp matmul.cu \"$OLDPWD\" && sed 's/[*] 101/* 102/' matmul.hpp "
          ">\"$OLDPWD\"/matmul.hpp");
  ASSERT_EQ(changed.exit_code(), 0) << changed.err();
  Command& c = example("matmul " IPCQ_EXAMPLES_BACKEND " 10 matmul.cu");
  EXPECT_EQ(c.exit_code(), 1) << c.out();
  EXPECT_THAT(c.err(), HasSubstr("product 0 is wrong in element 1"));
}

TEST_F(ExamplesTest, MatmulTellsAMatrixThatWasNotMultiplied) {
  Command& c = example("matmul " IPCQ_EXAMPLES_BACKEND " 10 identity");
  EXPECT_EQ(c.exit_code(), 1) << c.out();
  EXPECT_THAT(c.err(), HasSubstr("product 0 is none"));
}

TEST_F(ExamplesTest, AnomaliesAreThoseOfTheCpuInBatchesOfAnySize) {
  for (const char* size : {"20000 100", "20000 500", "5003 1000", "700 7"}) {
    Command& c = example("anomalies " IPCQ_EXAMPLES_BACKEND " " + std::string(size));
    EXPECT_EQ(c.exit_code(), 0) << c.err();
    EXPECT_THAT(c.out(), HasSubstr("every one is right"));
  }
}

// Where this Python has NumPy.
TEST_F(ExamplesTest, NumPyFindsTheSameAnomalies) {
  if (run("exec python3 -c 'import numpy'").exit_code() != 0) GTEST_SKIP() << "python3 has no numpy";
  Command& c = example("anomalies " IPCQ_EXAMPLES_BACKEND " 20000 500 data");
  ASSERT_EQ(c.exit_code(), 0) << c.err();
  const std::string check = "exec python3 '" IPCQ_EXAMPLES "/anomalies_check.py' data 300";
  Command& same = run(check);
  EXPECT_EQ(same.exit_code(), 0) << same.err();
  EXPECT_THAT(same.out(), HasSubstr("NumPy: "));
  ASSERT_EQ(run("exec truncate -s 19999 data.flags").exit_code(), 0);
  EXPECT_EQ(run(check).exit_code(), 1);
}

TEST_F(ExamplesTest, PageRankIsThatOfTheCpu) {
  for (const char* graph : {"1000 5000", "10 3", "30000 90000"}) {
    Command& c = example("page_rank " IPCQ_EXAMPLES_BACKEND " " + std::string(graph));
    EXPECT_EQ(c.exit_code(), 0) << c.err();
    EXPECT_THAT(c.out(), HasSubstr("L1 distance"));
  }
}

// What histogram is to run instead of the handler that was built ahead: on a GPU that the CPU plays, which has no CUB,
// that one's source.
std::string histogram_source() {
  const char* const source = std::getenv("IPCQ_HISTOGRAM_SOURCE");
  return source != nullptr ? source : "";
}

// Built ahead, and compiled when the queue is created, where CUB is missing.
TEST_F(ExamplesTest, HistogramCountsEveryFrame) {
  for (const std::string& handler : {histogram_source(), std::string(IPCQ_EXAMPLES "/histogram.cu")}) {
    Command& c = example("histogram " IPCQ_EXAMPLES_BACKEND " 150 " + handler);
    EXPECT_EQ(c.exit_code(), 0) << c.err();
    EXPECT_THAT(c.out(), testing::ContainsRegex("^150 frames in .*every histogram is right"));
  }
}

TEST_F(ExamplesTest, HistogramTellsAFrameThatWasNotCounted) {
  Command& c = example("histogram " IPCQ_EXAMPLES_BACKEND " 10 identity");
  EXPECT_EQ(c.exit_code(), 1) << c.out();
  EXPECT_THAT(c.err(), HasSubstr("frame 0 has a wrong histogram"));
}

// On the host, whose compiler takes the source as it is.
TEST_F(ExamplesTest, HistogramTellsASingleCountThatIsWrong) {
  Command& changed = run("exec sed 's/scratch.counts.i. = 0;/scratch.counts[i] = i == 255;/' '" IPCQ_EXAMPLES
                         "/histogram.cu' >wrong.cu");
  ASSERT_EQ(changed.exit_code(), 0) << changed.err();
  Command& c = example("histogram host 10 wrong.cu");
  EXPECT_EQ(c.exit_code(), 1) << c.out();
  EXPECT_THAT(c.err(), HasSubstr("frame 0 has a wrong histogram"));
}

// The first child of an example: it forks its producer before anything else. 0: there is none yet.
pid_t producer_of(pid_t example) {
  const std::string pid = std::to_string(example);
  pid_t child = 0;
  std::ifstream("/proc/" + pid + "/task/" + pid + "/children") >> child;
  return child;
}

TEST_F(ExamplesTest, AConsumerLearnsThatItsProducerHasFailed) {
  const std::pair<std::string, std::string> examples[] = {{"vector_add ", " 10000000"},
                                                          {"matmul ", " 10000000"},
                                                          {"histogram ", " 10000000 " + histogram_source()},
                                                          {"anomalies ", " 3000000 1"}};
  for (const auto& [program, arguments] : examples) {
    Command& c = start_example(program + IPCQ_EXAMPLES_BACKEND + arguments);
    pid_t producer = 0;
    ASSERT_TRUE(eventually([&] { return (producer = producer_of(c.pid())) != 0; })) << program << c.err();
    ASSERT_EQ(::kill(producer, SIGKILL), 0);
    EXPECT_EQ(c.exit_code(), 1) << program << c.out();
    EXPECT_THAT(c.err(), HasSubstr("the producer's process failed")) << program;
  }
}

TEST_F(ExamplesTest, AnArgumentThatIsNoNumberIsNamed) {
  write("log", "");
  const std::pair<const char*, const char*> wrong[] = {{"vector_add host 10x", "TASKS is '10x': give a whole number"},
                                                       {"matmul host -1", "PRODUCTS is '-1': give a whole number"},
                                                       {"log_filter log host warn", "LEVEL is 'warn'"},
                                                       {"log_filter log host 4", "LEVEL is 4: give 0 to 3"}};
  for (const auto& [arguments, message] : wrong) {
    Command& c = example(arguments);
    EXPECT_EQ(c.exit_code(), 1) << c.out();
    EXPECT_THAT(c.err(), HasSubstr(message)) << arguments;
  }
}

}  // namespace
}  // namespace ipcq_test
