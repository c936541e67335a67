// Users' own handlers: how a queue gets one, and what it does to messages.
#include <array>
#include <chrono>
#include <thread>

#include "own_handlers/on_backend.hpp"

namespace ipcq_test {
namespace {

class OwnHandlerTest : public OnBackend {};

TEST_F(OwnHandlerTest, ChangesMessagesInLinesAndInSlots) {
  broker().create("q", options(next_byte()));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  for (const std::size_t length : {1, 4, 60, 100, 1000, 8192}) {
    for (int n = 0; n < 3; ++n) {
      const auto m = exchange(p, c, std::string(length, 'a'));
      ASSERT_TRUE(m);
      EXPECT_TRUE(m->processed());
      EXPECT_FALSE(m->failed());
      EXPECT_EQ(text_of(*m), std::string(length, 'b')) << length;
    }
  }
  EXPECT_TRUE(eventually([&] { return stats().processed == 18; }));
  EXPECT_EQ(stats().handler, path("next.cu"));
  EXPECT_EQ(stats().handler_errors, 0u);
}

TEST_F(OwnHandlerTest, PassesOnALengthThatItRefuses) {
  broker().create("q", options(next_byte()));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  const auto m = exchange(p, c, "abcde");
  ASSERT_TRUE(m);
  EXPECT_FALSE(m->processed());
  EXPECT_FALSE(m->failed());
  EXPECT_EQ(text_of(*m), "abcde");
  EXPECT_TRUE(eventually([&] { return stats().handler_errors == 1; }));
}

TEST_F(OwnHandlerTest, SeesEachRecordOfABatch) {
  QueueOptions o = options(next_byte());
  o.batch = Batch::records;
  broker().create("q", o);
  auto c = session().consumer("q");
  auto p = session().producer("q");
  const std::array<std::string, 3> texts = {std::string(100, 'a'), "abcde", std::string(300, 'y')};
  std::array<std::span<const std::byte>, 3> payloads;
  for (std::size_t i = 0; i < texts.size(); ++i) payloads[i] = std::as_bytes(std::span(texts[i]));
  ASSERT_EQ(p.send_many(payloads, kBound).count, 3u);
  for (const char* expected : {"b", "abcde", "z"}) {
    const auto m = c.receive(kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    EXPECT_EQ(text_of(*m).substr(0, std::string_view(expected).size()), expected);
    EXPECT_EQ(m->processed(), std::string_view(expected) != "abcde");
    EXPECT_FALSE(m->failed());
  }
}

TEST_F(OwnHandlerTest, TakesMacrosAndHeadersOfItsUsers) {
  std::filesystem::create_directory(path("more"));
  (void)write("more/step.hpp", "constexpr int step() { return STEP; }\n");
  (void)write("beside.hpp", "constexpr int kOnce = 1;\n");
  const std::string file =
      handler("step.cu", "      data[i] = static_cast<std::byte>(static_cast<int>(data[i]) + step() * kOnce);",
              "#include \"beside.hpp\"\n#include <step.hpp>\n");
  QueueOptions o = options(file);
  o.includes = {path("more")};
  for (const int step : {2, 3}) {
    o.defines = {"STEP=" + std::to_string(step)};
    const std::string queue = "q" + std::to_string(step);
    broker().create(queue, o);
    auto c = session().consumer(queue);
    auto p = session().producer(queue);
    const auto m = exchange(p, c, "aaa");
    ASSERT_TRUE(m);
    EXPECT_EQ(text_of(*m), std::string(3, static_cast<char>('a' + step)));
  }
}

TEST_F(OwnHandlerTest, HasItsParametersFromTheQueue) {
  const std::string file = write("parameters.cu", R"(#include <ipcq/handler.hpp>
struct Mine {
  int step = 1;
  unsigned char most = 200;
  float factor = 1;
  double offset = 0;
  bool twice = false;
  IPCQ_HOST_DEVICE bool accepts(std::uint64_t length) const { return length <= most; }
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team) const {
    for (std::uint64_t i = team.rank(); i < length; i += team.size()) {
      const double v = static_cast<int>(data[i]) * factor + offset + step * (twice ? 2 : 1);
      data[i] = static_cast<std::byte>(static_cast<int>(v));
    }
  }
};
IPCQ_HANDLER(Mine, step, most, factor, offset, twice)
)");
  const std::array<std::pair<const char*, char>, 6> cases = {{{"", 'b'},
                                                              {":step=3", 'd'},
                                                              {":step=-2:twice=yes", ']'},
                                                              {":factor=0.5:step=0", '0'},
                                                              {":offset=1e1:twice=no", 'l'},
                                                              {":step=2:most=5", 'c'}}};
  int n = 0;
  for (const auto& [arguments, expected] : cases) {
    const std::string queue = "q" + std::to_string(n++);
    broker().create(queue, options(file + arguments));
    auto c = session().consumer(queue);
    auto p = session().producer(queue);
    for (const std::size_t length : {3, 150}) {
      const auto m = exchange(p, c, std::string(length, 'a'));
      ASSERT_TRUE(m);
      const bool too_long = length > 5 && std::string_view(arguments).find("most") != std::string_view::npos;
      EXPECT_EQ(m->processed(), !too_long) << arguments;
      EXPECT_EQ(text_of(*m), std::string(length, too_long ? 'a' : expected)) << arguments;
    }
  }
  const auto refusal = [&](const std::string& arguments) {
    std::string why = error_of<UsageError>([&] { broker().create("refused", options(file + arguments)); });
    EXPECT_THAT(why, AllOf(testing::StartsWith("queue 'refused': "), testing::Not(HasSubstr(": queue"))));
    return why;
  };
  EXPECT_THAT(refusal(":level=7"), AllOf(HasSubstr("parameters.cu"), HasSubstr("no parameter 'level'"),
                                         HasSubstr("there are step, most, factor, offset, twice")));
  EXPECT_THAT(refusal(":step=0.5"), HasSubstr("its parameter 'step' is an integer"));
  EXPECT_THAT(refusal(":most=256"), HasSubstr("its parameter 'most' cannot hold that number"));
  EXPECT_THAT(refusal(":most=-1"), HasSubstr("its parameter 'most' cannot hold that number"));
  EXPECT_THAT(refusal(":step=3000000000"), HasSubstr("its parameter 'step' cannot hold that number"));
  EXPECT_THAT(refusal(":factor=much"), HasSubstr("its parameter 'factor' is a number"));
  EXPECT_THAT(refusal(":twice=maybe"), HasSubstr("its parameter 'twice' is yes or no"));
  EXPECT_THAT(refusal(":step"), HasSubstr("argument 'step' of the handler is not NAME=VALUE"));
  EXPECT_THAT(refusal(":step=1:step=2"), HasSubstr("given twice"));
}

TEST_F(OwnHandlerTest, WhatDoesNotCompileIsRefusedInTheCompilersWords) {
  const std::string file = handler("wrong.cu", "      data[i] = nothing_of_that_name;");
  const std::string why = error_of<UsageError>([&] { broker().create("q", options(file)); });
  EXPECT_THAT(why, AllOf(HasSubstr("queue 'q': its handler does not compile:\n"), HasSubstr("wrong.cu"), HasSubstr("7"),
                         HasSubstr("nothing_of_that_name")));
  broker().create("q", options(next_byte()));  // the name is free
  auto c = session().consumer("q");
  auto p = session().producer("q");
  EXPECT_EQ(text_of(*exchange(p, c, "a")), "b");
}

TEST_F(OwnHandlerTest, WhatIsNoSourceFileIsRefused) {
  EXPECT_THAT(error_of<NotFoundError>([&] { broker().create("q", options(path("absent.cu"))); }),
              AllOf(HasSubstr("queue 'q': "), HasSubstr("absent.cu")));
  EXPECT_THAT(error_of<UsageError>([&] { broker().create("q", options("./text.txt")); }),
              AllOf(HasSubstr("queue 'q': handler './text.txt'"), HasSubstr(".cu")));
  QueueOptions o = options("upper");
  o.defines = {"X"};
  EXPECT_THAT(error_of<UsageError>([&] { broker().create("q", o); }), HasSubstr("define says nothing here"));
  EXPECT_THAT(error_of<UsageError>([&] { broker().create("q", options("mine")); }),
              AllOf(HasSubstr("'mine' is not known"), HasSubstr("x.cu")));
}

TEST_F(OwnHandlerTest, WithoutACompilerTheRemedyIsNamed) {
  const char* const before = std::getenv("IPCQ_COMPILER");
  const std::string kept = before != nullptr ? before : "";
  ::setenv("IPCQ_COMPILER", path("no-compiler").c_str(), 1);
  EXPECT_THAT(error_of<BackendError>([&] { broker().create("q", options(next_byte())); }),
              AllOf(HasSubstr("queue 'q'"), HasSubstr("next.cu"), HasSubstr("IPCQ_COMPILER")));
  kept.empty() ? ::unsetenv("IPCQ_COMPILER") : ::setenv("IPCQ_COMPILER", kept.c_str(), 1);
}

TEST_F(OwnHandlerTest, AFolderOfImagesThatOthersMayWriteIsNotUsedAndAWarningSaysSo) {
  if (std::getenv("IPCQ_COMPILER") != nullptr) return;  // the soft GPU's has no such folder
  const std::filesystem::path folder = path("cache/ipcq/handlers");
  std::filesystem::create_directories(folder);
  std::filesystem::permissions(folder, std::filesystem::perms::all);
  broker().create("q", options(next_byte()));
  EXPECT_TRUE(comes_to_say("queue 'q': of its handler:\n  ipcq-compiler: warning: no cache"));
  EXPECT_TRUE(std::filesystem::is_empty(folder));
}

// The compilers may have caches of their own (NVRTC has one where there is a driver).
TEST_F(OwnHandlerTest, TheSameFileIsCompiledAgainWhereItsImageIsGone) {
  const std::string file = next_byte();
  for (const char* queue : {"q", "r"}) {
    std::filesystem::remove_all(path("cache"));
    broker().create(queue, options(file));
    auto c = session().consumer(queue);
    auto p = session().producer(queue);
    EXPECT_EQ(text_of(*exchange(p, c, "aaa")), "bbb");
  }
}

// On a GPU its queues are lost with the runner, and come back.
TEST_F(OwnHandlerTest, ACallThatTakesLongerThanItsDeadlineIsEnded) {
  QueueOptions o = options(handler("late.cu",
                                   "      while (*reinterpret_cast<volatile unsigned char*>(&data[0]) == 'x') {}\n"
                                   "      data[i] = static_cast<std::byte>(static_cast<int>(data[i]) + 1);"));
  o.handler_deadline = 500ms;
  broker().create("q", o);
  {
    auto c = session().consumer("q");
    auto p = session().producer("q");
    EXPECT_EQ(text_of(*exchange(p, c, "aaa")), "bbb");
    ASSERT_EQ(p.send("xxx", 3, kBound), Status::ok);
    ASSERT_TRUE(eventually([&] { return broker().stats().runner_deaths == 1; }));
  }
  EXPECT_TRUE(comes_to_say("a handler was over its deadline"));
  auto c = session().consumer("q", {.wait_for = kBound});
  auto p = session().producer("q", {.wait_for = kBound});
  if (!kOnGpu) {
    const auto failed = c.receive(kBound);
    ASSERT_TRUE(failed);
    EXPECT_TRUE(failed->failed());
  }
  EXPECT_EQ(text_of(*exchange(p, c, "aaa")), "bbb");
}

// What the file says later is another matter.
TEST_F(OwnHandlerTest, ComesBackAsItWasAfterItsRunnersDeath) {
  broker().create("q", options(next_byte()));
  (void)write("next.cu", "not even C++");
  kill_runner();
  auto c = session().consumer("q", {.wait_for = kBound});
  auto p = session().producer("q", {.wait_for = kBound});
  const auto m = exchange(p, c, "aaa");
  ASSERT_TRUE(m);
  EXPECT_EQ(text_of(*m), "bbb");
}

TEST_F(OwnHandlerTest, SeveralQueuesHaveOneEach) {
  broker().create("q", options(next_byte()));
  broker().create("r", options(handler("zero.cu", "      data[i] = std::byte{'0'};")));
  for (int n = 0; n < 20; ++n) {
    auto c = session().consumer("q");
    auto p = session().producer("q");
    EXPECT_EQ(text_of(*exchange(p, c, "aaa")), "bbb");
    auto other_c = session().consumer("r");
    auto other_p = session().producer("r");
    EXPECT_EQ(text_of(*exchange(other_p, other_c, std::string(500, 'x'))), std::string(500, '0'));
  }
}

}  // namespace
}  // namespace ipcq_test
