// Saving, loading and replacing while things go wrong beside it, on the host.
#include <sys/stat.h>

#include <atomic>
#include <filesystem>
#include <thread>

#include "own_handlers/own_handlers.hpp"

namespace ipcq_test {
namespace {

class LiveChangeTest : public OwnHandlers {
 protected:
  static QueueOptions options(const std::string& file) {
    return {.slots = 8, .size = 4096, .handler = file, .backend = "host"};
  }
  // From here on a compiler takes four seconds more, and makes a file `begun`.
  void slow_compiler() const {
    const std::string compiler =
        write("slow-compiler", "#!/bin/sh\ntouch '" + path("begun") + "'\nsleep 4\nexec c++ \"$@\"\n");
    std::filesystem::permissions(compiler, std::filesystem::perms::owner_all);
    ::setenv("IPCQ_CXX", compiler.c_str(), 1);
  }
  void expect_next_byte(const std::string& queue) {
    auto c = session().consumer(queue);
    auto p = session().producer(queue);
    EXPECT_EQ(text_of(*exchange(p, c, "abc")), "bcd") << queue;
  }
};

// Whatever the child does with what it has inherited, the runner's answers stay those to what it was asked.
TEST_F(LiveChangeTest, AChildThatAHandlerHasForkedMayCrash) {
  QueueOptions o = options(counts("forks.cu",
                                  "    if (const int child = fork(); child == 0) { abort(); } else { waitpid(child, "
                                  "nullptr, 0); }",
                                  "#include <sys/wait.h>\n#include <unistd.h>\n#include <cstdlib>\n"));
  o.state_bytes = 64;
  broker().create("q", o);
  o.handler = counts("good.cu");
  broker().create("r", o);
  for (std::uint64_t n = 1; n <= 3; ++n) {
    for (const char* const queue : {"q", "r"}) {
      expect_next_byte(queue);
      EXPECT_EQ(saved_count(queue), n) << queue;
    }
  }
  EXPECT_THAT(error_of<UsageError>([&] { broker().replace_handler("r", next_byte()); }), HasSubstr("does not take"));
  EXPECT_EQ(broker().stats().runner_deaths, 0u);
}

// Each of its processes lives for less than a call needs to reach it.
TEST_F(LiveChangeTest, AHandlerThatDiesOfEachMessageIsReplacedWhileTheyCome) {
  broker().create("q", options(handler("crashes.cu", "      __builtin_trap();")));
  std::atomic<bool> stop{false};
  std::thread traffic([&] {
    auto p = session().producer("q");
    auto c = session().consumer("q");
    int left = 0;
    while (!stop.load()) {
      if (p.send("abc", 3, 1ms) == Status::ok) ++left;
      while (c.receive(0ms)) --left;
    }
    for (; left > 0; --left) ASSERT_TRUE(c.receive(kBound));  // or the queue stays full
  });
  ASSERT_TRUE(eventually([&] { return broker().stats().runner_deaths >= 3; }));
  EXPECT_NO_THROW(broker().replace_handler("q", next_byte()));
  stop.store(true);
  traffic.join();
  EXPECT_EQ(stats().handler, path("next.cu"));
  expect_next_byte("q");
}

// The one that is there goes on to be started again, and the error says what is wrong with the other.
TEST_F(LiveChangeTest, OneThatCannotTakeThePlaceOfADyingOneLeavesItThere) {
  broker().create("q", options(handler("crashes.cu", "      if (data[0] == std::byte{'x'}) __builtin_trap();")));
  auto p = session().producer("q");
  auto c = session().consumer("q");
  for (int n = 0; n < 3; ++n) EXPECT_TRUE(exchange(p, c, "x")->failed());
  EXPECT_THAT(error_of<UsageError>([&] { broker().replace_handler("q", next_byte() + ":level=3"); }),
              HasSubstr("it has no parameter 'level'"));
  EXPECT_TRUE(exchange(p, c, "x")->failed());
  EXPECT_EQ(text_of(*exchange(p, c, "a")), "a");
}

TEST_F(LiveChangeTest, OneWhoseDestructorsCrashIsReplaced) {
  broker().create("q", options(handler("aborts.cu", "      data[i] = std::byte{'a'};",
                                       "#include <cstdlib>\nstruct Aborts { ~Aborts() { std::abort(); } };\n"
                                       "static Aborts aborts;\n")));
  broker().create("r", options(next_byte("r.cu")));
  auto p = session().producer("q");
  auto c = session().consumer("q");
  EXPECT_EQ(text_of(*exchange(p, c, "xyz")), "aaa");
  broker().replace_handler("q", next_byte());
  EXPECT_EQ(text_of(*exchange(p, c, "abc")), "bcd");
  expect_next_byte("r");
}

// The name that a compiled handler comes back to may be another queue's by then.
TEST_F(LiveChangeTest, OneThatIsCompiledForARemovedQueueDoesNotGetIntoItsSuccessor) {
  broker().create("q", options(handler("same.cu", "")));
  slow_compiler();
  std::string why;
  std::thread replacing([&] { why = error_of<NotFoundError>([&] { broker().replace_handler("q", next_byte()); }); });
  EXPECT_TRUE(eventually([&] { return std::filesystem::exists(path("begun")); }));
  ::unsetenv("IPCQ_CXX");
  broker().remove("q", Removal::at_once);
  broker().create("q", options(handler("same.cu", "")));
  replacing.join();
  EXPECT_THAT(why, HasSubstr("was removed meanwhile"));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  EXPECT_EQ(text_of(*exchange(p, c, "abc")), "abc");
}

// Its next start may wait until its handler may run again, and comes then.
TEST_F(LiveChangeTest, AQueueThatIsRemovedBetweenItsRunnersLeavesNone) {
  for (int n = 0; n < 4; ++n) {
    QueueOptions o = options(handler("crashes.cu", "      __builtin_trap();"));
    o.isolate = true;
    broker().create("q", o);
    const std::uint64_t deaths = broker().stats().runner_deaths;
    auto p = session().producer("q");
    for (int i = 0; i < 8; ++i) ASSERT_EQ(p.send("abc", 3, kBound), Status::ok);
    const auto enough = static_cast<std::uint64_t>(2 + n);
    ASSERT_TRUE(eventually([&] { return broker().stats().runner_deaths >= deaths + enough; }));
    broker().remove("q", Removal::at_once);
  }
  std::this_thread::sleep_for(500ms);  // what was planned comes meanwhile
  EXPECT_TRUE(eventually([&] { return host_runners().empty(); })) << host_runners().size() << " are left";
}

TEST_F(LiveChangeTest, ASaveDoesNotWaitForAnotherQueuesCompiler) {
  QueueOptions o = options(counts("good.cu"));
  o.state_bytes = 64;
  broker().create("q", o);
  broker().create("r", options(next_byte("r.cu")));
  slow_compiler();
  std::atomic<bool> replaced{false};
  std::thread replacing([&] {
    replace_handler("r", next_byte("other.cu"), name_);
    replaced.store(true);
  });
  EXPECT_TRUE(eventually([&] { return std::filesystem::exists(path("begun")); }));
  EXPECT_NO_THROW(save_state("q", path("saved"), name_));
  EXPECT_FALSE(replaced.load()) << "it waited for the compiler";
  replacing.join();
  ::unsetenv("IPCQ_CXX");
  EXPECT_TRUE(replaced.load());
  EXPECT_EQ(stats("r").handler, path("other.cu"));
}

TEST_F(LiveChangeTest, ASaveReplacesFilesAlone) {
  QueueOptions o = options(counts("good.cu"));
  o.state_bytes = 64;
  broker().create("q", o);
  std::filesystem::create_symlink(path("elsewhere"), path("link"));
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  for (const char* const name : {"link", "pipe"}) {
    EXPECT_THAT(error_of<UsageError>([&] { broker().save_state("q", path(name)); }), HasSubstr("is no regular file"));
  }
  EXPECT_TRUE(std::filesystem::is_symlink(path("link")));
}

}  // namespace
}  // namespace ipcq_test
