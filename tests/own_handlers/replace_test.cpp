// Another handler in the place of one of the user's, on the backend that the build names.
#include <atomic>
#include <chrono>
#include <thread>

#include "own_handlers/on_backend.hpp"
#include "own_handlers/receiver.hpp"

namespace ipcq_test {
namespace {

class ReplaceTest : public ByEachExecutor {
 protected:
  QueueOptions options(const std::string& file) const {
    QueueOptions o = ByEachExecutor::options(file);
    o.size = 100'000;
    return o;
  }
  // Writes its parameter into each byte of a message.
  std::string marker() const {
    return write("marker.cu", R"(#include <ipcq/handler.hpp>
struct Marker {
  int mark = 'a';
  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t) { return true; }
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team) const {
    for (std::uint64_t i = team.rank(); i < length; i += team.size()) data[i] = static_cast<std::byte>(mark);
  }
};
IPCQ_HANDLER(Marker, mark)
)");
  }
  void expect_marks(char mark) {
    auto c = session().consumer("q", {.wait_for = kBound});
    auto p = session().producer("q", {.wait_for = kBound});
    for (const std::size_t length : {1, 72, 8192, 70'000}) {
      const auto m = exchange(p, c, std::string(length, ' '));
      ASSERT_TRUE(m);
      EXPECT_EQ(text_of(*m), std::string(length, mark)) << length;
    }
  }
};

INSTANTIATE_TEST_SUITE_P(Executors, ReplaceTest, testing::ValuesIn(ReplaceTest::all()), ReplaceTest::name_of);

// The executor is stopped and goes on, with work of every kind before and behind the place.
TEST_P(ReplaceTest, EachMessageIsHandledOnceHoweverOftenTheStateIsSaved) {
  QueueOptions o = options(counts("counts.cu"));
  o.state_bytes = 64;
  o.size = 600;
  o.slots = 150;  // more than an executor enqueues at once, so that there always is some more
  broker().create("q", o);
  auto c = session().consumer("q");
  std::atomic<bool> enough{false};
  std::uint64_t sent = 0;
  std::thread sender([&] {
    auto p = session().producer("q");
    for (; !enough.load(); ++sent) {
      const std::string text(sent % 5 == 1 ? 40 : 600, 'a');
      ASSERT_EQ(p.send(text.data(), text.size(), kBound), Status::ok);
    }
  });
  std::uint64_t received = 0, wrong = 0;
  std::thread receiver([&] {
    for (; auto m = c.receive(kBound); ++received) {
      const std::string text = text_of(*m);
      wrong += text == std::string(text.size(), 'b') ? 0 : 1;
    }
  });
  const auto begin = std::chrono::steady_clock::now();
  for (int n = 0; n < 2 || std::chrono::steady_clock::now() < begin + 1s; ++n) broker().save_state("q", path("saved"));
  enough.store(true);
  sender.join();
  receiver.join();  // the stream has ended
  EXPECT_EQ(received, sent);
  EXPECT_EQ(wrong, 0u);
  EXPECT_EQ(saved_count(), sent);
}

TEST_P(ReplaceTest, AnotherHandlerGoesOnAtOnePlaceInTheOrder) {
  broker().create("q", options(marker()));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  std::atomic<int> sent{0};
  std::atomic<bool> enough{false};
  std::thread sender([&] {
    for (; !enough.load(); ++sent) {
      const std::string text(sent.load() % 8 == 0 ? 70'000 : 40, ' ');
      ASSERT_EQ(p.send(text.data(), text.size(), kBound), Status::ok);
      std::this_thread::sleep_for(1ms);  // leaves the compiler some of the machine
    }
  });
  std::string marks;
  Receiver receiver(c, [&](const Message& m) {
    const std::string text = text_of(m);
    EXPECT_EQ(text.find_first_not_of(text[0]), std::string::npos);
    if (marks.empty() || marks.back() != text[0]) marks += text[0];
  });
  EXPECT_TRUE(eventually([&] { return sent.load() > 10; }));
  replace_handler("q", marker() + ":mark=98", name_);
  const int before = sent.load();
  EXPECT_TRUE(eventually([&] { return sent.load() > before + 20; }));
  broker().replace_handler("q", marker() + ":mark=99");
  const int then = sent.load();
  EXPECT_TRUE(eventually([&] { return sent.load() > then + 20; }));
  enough.store(true);
  sender.join();
  receiver.finish(sent.load());
  EXPECT_EQ(marks, "abc");
  EXPECT_EQ(stats().handler, path("marker.cu") + ":mark=99");
  EXPECT_TRUE(comes_to_say("queue 'q': its handler is now"));
}

TEST_P(ReplaceTest, TheNewOneComesBackAfterItsRunnersDeath) {
  broker().create("q", options(marker()));
  expect_marks('a');
  replace_handler("q", marker() + ":mark=98", name_);
  expect_marks('b');
  kill_runner();
  expect_marks('b');
}

TEST_P(ReplaceTest, TheOldOneStaysWhereTheNewOneCannotBe) {
  broker().create("q", options(marker()));
  const std::string wrong = handler("wrong.cu", "      data[i] = nothing_of_that_name;");
  // More than a reply has room for.
  std::string many = "      data[i] = std::byte{};";
  for (int n = 0; n < 20; ++n) many += "\n      unknown_" + std::to_string(n) + "(data);";
  const std::string all_wrong = handler("all_wrong.cu", many);
  for (const bool over_the_socket : {false, true}) {
    const auto replace = [&](const std::string& with) {
      over_the_socket ? replace_handler("q", with, name_) : broker().replace_handler("q", with);
    };
    EXPECT_THAT(error_of<UsageError>([&] { replace(wrong); }),
                AllOf(HasSubstr("queue 'q': its handler does not compile:\n"), HasSubstr("wrong.cu"),
                      HasSubstr("nothing_of_that_name")));
    EXPECT_THAT(error_of<UsageError>([&] { replace(all_wrong); }),
                AllOf(HasSubstr("unknown_0"), HasSubstr("unknown_9")));
    EXPECT_THAT(error_of<UsageError>([&] { replace(marker() + ":level=7"); }), HasSubstr("no parameter 'level'"));
    EXPECT_THAT(error_of<NotFoundError>([&] { replace(path("absent.cu")); }), HasSubstr("absent.cu"));
    EXPECT_THAT(error_of<UsageError>([&] { replace("upper"); }), HasSubstr("'upper' is no file"));
    expect_marks('a');
  }
  const std::string with_state = write("state.cu", R"(#include <ipcq/handler.hpp>
struct Mine {
  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t) { return true; }
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte*, std::uint64_t, Team, ipcq::State) const {}
};
IPCQ_HANDLER(Mine)
)");
  EXPECT_THAT(error_of<UsageError>([&] { replace_handler("q", with_state, name_); }),
              HasSubstr("takes state, and the queue has none"));
  expect_marks('a');
  broker().create("upper", {.handler = "upper", .backend = IPCQ_OWN_BACKEND});
  EXPECT_THAT(error_of<UsageError>([&] { replace_handler("upper", marker(), name_); }),
              HasSubstr("queue 'upper': its handler is built in"));
  EXPECT_THAT(error_of<UsageError>([&] { broker().replace_handler("upper", marker()); }), HasSubstr("is built in"));
}

TEST_P(ReplaceTest, StateStays) {
  constexpr const char* kAdds = R"(#include <ipcq/handler.hpp>
struct Adds {
  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t) { return true; }
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t, Team team, ipcq::State state) const {
    if (team.rank() != 0) return;
    state.data[0] = static_cast<std::byte>(static_cast<int>(state.data[0]) + STEP);
    data[0] = state.data[0];
  }
};
IPCQ_HANDLER(Adds)
)";
  QueueOptions o = options(write("adds.cu", kAdds));
  o.state_bytes = 16;
  o.defines = {"STEP=1"};
  broker().create("q", o);
  auto c = session().consumer("q");
  auto p = session().producer("q");
  EXPECT_EQ(text_of(*exchange(p, c, "a")), "\1");
  const std::string doubled = write("doubled.cu", "#define IPCQ_TWICE\n" + std::string(kAdds) + "// twice\n");
  replace_handler("q", doubled, name_);
  EXPECT_EQ(text_of(*exchange(p, c, "a")), "\2");
}

// What a tool names lies where the tool runs, not where the broker does.
TEST_P(ReplaceTest, ARelativePathBeginsInTheFolderOfWhoeverAsks) {
  broker().create("q", options(marker()));
  (void)next_byte("next.cu");
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(path(""));
  replace_handler("q", "next.cu", name_);
  std::filesystem::current_path(before);
  EXPECT_EQ(stats().handler, path("next.cu"));
}

}  // namespace
}  // namespace ipcq_test
