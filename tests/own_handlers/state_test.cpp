// State of users' own handlers, on the backend that the build names: the host, or both executors of a GPU (also one
// that is played by the CPU).
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <thread>

#include "own_handlers/on_backend.hpp"
#include "own_handlers/receiver.hpp"

namespace ipcq_test {
namespace {

constexpr std::size_t kStateBytes = 100'000;

// Counts for each of its bytes the messages that had it, and writes the counts into them. The lane that handles a byte
// differs from message to message, as the teams do.
constexpr const char* kCounter = R"(#include <ipcq/handler.hpp>
struct Counter {
  int step = 1;
  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t length) { return length != 5; }
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team, ipcq::State state) const {
    for (std::uint64_t i = team.rank(); i < length && i < state.bytes; i += team.size()) {
      state.data[i] = static_cast<std::byte>(static_cast<int>(state.data[i]) + step);
      data[i] = state.data[i];
    }
  }
};
IPCQ_HANDLER(Counter, step)
)";

// What the handler makes of messages, by a loop.
class Model {
 public:
  std::string next(std::size_t length, int step = 1) {
    for (std::size_t i = 0; i < length; ++i) counts_[i] = static_cast<char>(counts_[i] + step);
    return counts_.substr(0, length);
  }
  std::string counts_ = std::string(kStateBytes, '\0');
};

class StateTest : public ByEachExecutor {
 protected:
  QueueOptions options(const std::string& file) const {
    QueueOptions o = ByEachExecutor::options(file);
    o.size = o.state_bytes = kStateBytes;
    return o;
  }
  std::string counter() const { return write("counter.cu", kCounter); }
  std::string content(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  static void expect_same(const std::string& is, const std::string& expected) {
    const auto [at, unused] = std::mismatch(is.begin(), is.end(), expected.begin(), expected.end());
    EXPECT_TRUE(is == expected) << "of " << is.size() << " bytes, " << expected.size() << " expected, the first "
                                << at - is.begin() << " are right";
  }
  // Whether the next message of each length comes out as the model says.
  void expect_goes_on(Model& model, int step = 1) {
    auto c = session().consumer("q", {.wait_for = kBound});
    auto p = session().producer("q", {.wait_for = kBound});
    for (const std::size_t length : {1, 72, 8192, 70'000}) {
      const auto m = exchange(p, c, std::string(length, 'a'));
      ASSERT_TRUE(m);
      expect_same(text_of(*m), model.next(length, step));
    }
  }
  std::string refusal(const QueueOptions& o) {
    return error_of<UsageError>([&] { broker().create("refused", o); });
  }
};

INSTANTIATE_TEST_SUITE_P(Executors, StateTest, testing::ValuesIn(StateTest::all()), StateTest::name_of);

TEST_P(StateTest, EachMessageSeesWhatThoseBeforeItHaveLeft) {
  broker().create("q", options(counter()));
  constexpr std::array<std::size_t, 12> kLengths = {1, 72, 8, 100, 70'000, 3, 90'000, 64, 5000, 100'000, 16, 24};
  constexpr int kMessages = 240;
  auto c = session().consumer("q");
  auto p = session().producer("q");
  std::thread sender([&] {
    for (int n = 0; n < kMessages; ++n) {
      const std::string text(kLengths[n % kLengths.size()], 'a');
      ASSERT_EQ(p.send(text.data(), text.size(), kBound), Status::ok);
    }
  });
  Model model;
  for (int n = 0; n < kMessages; ++n) {
    const auto m = c.receive(kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    EXPECT_TRUE(m->processed());
    expect_same(text_of(*m), model.next(kLengths[n % kLengths.size()]));
  }
  sender.join();
  EXPECT_TRUE(eventually([&] { return stats().processed == kMessages; }));
}

TEST_P(StateTest, ManyShortMessagesAreHandledInTheirOrder) {
  QueueOptions o = options(counter());
  o.lines = 4096;
  broker().create("q", o);
  auto c = session().consumer("q");
  auto p = session().producer("q");
  Model model;
  const auto refused = exchange(p, c, "abcde");
  ASSERT_TRUE(refused);
  EXPECT_FALSE(refused->processed());
  for (int n = 0; n < 2000; ++n) ASSERT_EQ(p.send("abcdefgh", 8, kBound), Status::ok);
  for (int n = 0; n < 2000; ++n) {
    const auto m = c.receive(kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    ASSERT_EQ(text_of(*m), model.next(8)) << n;
  }
}

TEST_P(StateTest, RecordsOfABatchAreHandledOneAfterAnother) {
  QueueOptions o = options(counter());
  o.batch = Batch::records;
  broker().create("q", o);
  auto c = session().consumer("q");
  auto p = session().producer("q");
  std::vector<std::string> texts;
  for (int n = 0; n < 300; ++n) texts.emplace_back(n % 3 == 0 ? 5 : n % 3 == 1 ? 100 : 33, 'a');
  std::vector<std::span<const std::byte>> payloads;
  for (const auto& t : texts) payloads.push_back(std::as_bytes(std::span(t)));
  ASSERT_EQ(p.send_many(payloads, kBound).count, texts.size());
  Model model;
  for (std::size_t n = 0; n < texts.size(); ++n) {
    const auto m = c.receive(kBound);
    ASSERT_TRUE(m) << to_string(m.status());
    EXPECT_EQ(m->processed(), texts[n].size() != 5) << n;
    ASSERT_EQ(text_of(*m), texts[n].size() == 5 ? texts[n] : model.next(texts[n].size())) << n;
  }
}

TEST_P(StateTest, AConcurrentHandlerHasItWithAtomicsOfItsOwn) {
  QueueOptions o = options(write("concurrent.cu", R"(#include <ipcq/handler.hpp>
struct Sum {
  static constexpr bool concurrent = true;
  IPCQ_HOST_DEVICE static constexpr bool accepts(std::uint64_t) { return true; }
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t length, Team team, ipcq::State state) const {
    auto* const sum = reinterpret_cast<unsigned int*>(state.data);
    for (std::uint64_t i = team.rank(); i < length; i += team.size()) {
#if defined(__CUDA_ARCH__)
      atomicAdd(sum, static_cast<unsigned int>(data[i]));
#else
      __atomic_fetch_add(sum, static_cast<unsigned int>(data[i]), __ATOMIC_RELAXED);
#endif
    }
  }
};
IPCQ_HANDLER(Sum)
)"));
  o.threads = 4;
  broker().create("q", o);
  auto c = session().consumer("q");
  auto p = session().producer("q");
  std::thread sender([&] {
    for (int n = 0; n < 500; ++n) ASSERT_EQ(p.send("\1\2\3", n % 2 == 0 ? 3 : 2, kBound), Status::ok);
  });
  for (int n = 0; n < 500; ++n) ASSERT_TRUE(c.receive(kBound));
  sender.join();
  broker().save_state("q", path("sum"));
  unsigned int sum = 0;
  std::memcpy(&sum, content("sum").data(), sizeof sum);
  EXPECT_EQ(sum, 250u * 6 + 250u * 3);
}

TEST_P(StateTest, BeginsWithAFile) {
  Model model;
  model.counts_.replace(0, 6, "zyxwvu");
  (void)write("first", "zyxwvu");  // the rest is zero
  QueueOptions o = options(counter() + ":step=2");
  o.state_file = path("first");
  broker().create("q", o);
  (void)write("first", "of no account any more");
  expect_goes_on(model, 2);
}

TEST_P(StateTest, AfterItsRunnersDeathItIsWhatWasLastSavedOrLoaded) {
  (void)write("first", "abc");
  QueueOptions o = options(counter());
  o.state_file = path("first");
  broker().create("q", o);
  Model first;
  first.counts_.replace(0, 3, "abc");
  Model model = first;
  expect_goes_on(model);
  kill_runner();
  model = first;
  expect_goes_on(model);
  EXPECT_TRUE(comes_to_say("queue 'q': its state is as it was at the queue's creation"));

  broker().save_state("q", path("saved"));
  expect_same(content("saved"), model.counts_);
  const Model saved = model;
  expect_goes_on(model);
  kill_runner();
  model = saved;
  expect_goes_on(model);
  EXPECT_TRUE(comes_to_say("queue 'q': its state is as it was last saved"));

  (void)write("other", "klm");
  load_state("q", path("other"), name_);
  Model loaded;
  loaded.counts_.replace(0, 3, "klm");
  model = loaded;
  expect_goes_on(model);
  kill_runner();
  model = loaded;
  expect_goes_on(model);
  EXPECT_TRUE(comes_to_say("queue 'q': its state is as it was last loaded"));
}

TEST_P(StateTest, IsSavedAndLoadedBetweenTwoMessages) {
  broker().create("q", options(counter()));
  auto c = session().consumer("q");
  auto p = session().producer("q");
  std::atomic<bool> enough{false};
  int sent = 0;
  std::thread sender([&] {
    const std::string text(kStateBytes, 'a');  // changes every byte of the state
    while (!enough.load()) {
      ASSERT_EQ(p.send(text.data(), text.size(), kBound), Status::ok);
      ++sent;
    }
  });
  Receiver receiver(c);
  for (int n = 0; n < 10; ++n) {
    save_state("q", path("saved"), name_);
    const std::string saved = content("saved");
    ASSERT_EQ(saved.size(), kStateBytes);
    EXPECT_EQ(saved.find_first_not_of(saved[0]), std::string::npos);
    if (n == 5) broker().load_state("q", write("loaded", std::string(kStateBytes, '\7')));
  }
  enough.store(true);
  sender.join();
  receiver.finish(sent);
  broker().save_state("q", path("saved"));
  Model model;
  model.counts_ = content("saved");
  expect_goes_on(model);
}

TEST_P(StateTest, WhatDoesNotFitIsRefusedInWords) {
  const std::string plain = next_byte();
  QueueOptions o = options(plain);
  EXPECT_THAT(refusal(o),
              AllOf(HasSubstr("next.cu"), HasSubstr("does not take the 97.7 KiB of state"), HasSubstr("ipcq::State")));
  o = options(counter());
  o.state_bytes = 0;
  EXPECT_THAT(refusal(o), AllOf(HasSubstr("counter.cu"), HasSubstr("takes state, and the queue has none")));
  o.state_file = path("counter.cu");
  EXPECT_THAT(refusal(o), HasSubstr("queue 'refused': a file of state is named"));
  o.state_bytes = 10;
  EXPECT_THAT(refusal(o), AllOf(HasSubstr("queue 'refused'"), HasSubstr("counter.cu"), HasSubstr("the state 10")));
  o.state_file = path("absent");
  EXPECT_THAT(error_of<NotFoundError>([&] { broker().create("refused", o); }),
              AllOf(HasSubstr("queue 'refused'"), HasSubstr("absent"), HasSubstr("no such file")));
  o.state_file = path("");
  EXPECT_THAT(refusal(o), HasSubstr("is no regular file"));
  o = options("upper");
  EXPECT_THAT(refusal(o), HasSubstr("state says nothing here"));
  if (!kOnGpu) {
    o = options(counter());
    o.threads = 2;
    EXPECT_THAT(refusal(o), AllOf(HasSubstr("threads=2"), HasSubstr("concurrent = true")));
  }
  broker().create("plain", [&] {
    QueueOptions without = options(plain);
    without.state_bytes = 0;
    return without;
  }());
  EXPECT_THAT(error_of<UsageError>([&] { broker().save_state("plain", path("saved")); }),
              HasSubstr("queue 'plain': its handler has no state"));
  EXPECT_THAT(error_of<UsageError>([&] { load_state("plain", path("next.cu"), name_); }),
              HasSubstr("queue 'plain': its handler has no state"));
  EXPECT_THAT(error_of<NotFoundError>([&] { save_state("none", path("saved"), name_); }), HasSubstr("'none'"));
}

TEST_P(StateTest, ALoadThatFailsChangesNothing) {
  broker().create("q", options(counter()));
  Model model;
  expect_goes_on(model);
  const std::string longer = write("longer", std::string(kStateBytes + 1, 'x'));
  for (const bool over_the_socket : {false, true}) {
    const auto load = [&](const std::string& file) {
      over_the_socket ? load_state("q", file, name_) : broker().load_state("q", file);
    };
    EXPECT_THAT(error_of<UsageError>([&] { load(longer); }),
                AllOf(HasSubstr("queue 'q'"), HasSubstr("longer"), HasSubstr("100001")));
    EXPECT_THAT(error_of<NotFoundError>([&] { load(path("absent")); }), HasSubstr("absent"));
  }
  EXPECT_THAT(error_of<SystemError>([&] { save_state("q", path("no/such/folder"), name_); }), HasSubstr("no/such"));
  expect_goes_on(model);
}

TEST_P(StateTest, AHandlerThatDoesNotReturnIsNotWaitedForForEver) {
  QueueOptions o = options(write("slow.cu", R"(#include <ipcq/handler.hpp>
#if defined(__CUDA_ARCH__)
__device__ inline unsigned long long ns() {
  unsigned long long t; asm volatile("mov.u64 %0, %globaltimer;" : "=l"(t)); return t;
}
#else
#include <time.h>
inline unsigned long long ns() {
  timespec t; ::clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000000ull + t.tv_nsec;
}
#endif
struct Slow {
  template <class Team>
  IPCQ_HOST_DEVICE void operator()(std::byte* data, std::uint64_t, Team team, ipcq::State state) const {
    if (team.rank() != 0) return;
    const unsigned long long begin = ns();
    while (data[0] == std::byte{'x'} && ns() - begin < 9000000000ull) {}
    data[0] = state.data[0] = std::byte{'d'};
  }
};
IPCQ_HANDLER(Slow)
)"));
  o.quick_start = false;  // a swap would wait for the call too, and what is asked for meanwhile for the swap
  broker().create("q", o);
  o.handler = counter();
  broker().create("other", o);
  auto c = session().consumer("q");
  auto p = session().producer("q");
  ASSERT_EQ(p.send("x", 1, kBound), Status::ok);
  std::this_thread::sleep_for(500ms);  // the call has begun, and goes on for much longer than a save waits
  EXPECT_THAT(error_of<BackendError>([&] { save_state("q", path("saved"), name_); }),
              AllOf(HasSubstr("queue 'q'"), HasSubstr("more than 3 s")));
  if (kOnGpu && GetParam() == ExecutorKind::persistent) {  // all queues of a GPU pause for it
    EXPECT_THAT(error_of<BackendError>([&] { save_state("other", path("saved"), name_); }),
                AllOf(HasSubstr("queue 'other'"), HasSubstr("queue 'q': its handler"), HasSubstr("nothing was done")));
  } else {
    save_state("other", path("saved"), name_);
  }
  const auto m = c.receive(kBound);
  ASSERT_TRUE(m);
  EXPECT_FALSE(m->failed());
  save_state("q", path("saved"), name_);
  EXPECT_EQ(content("saved")[0], 'd');
  EXPECT_EQ(broker().stats().runner_deaths, 0u);
}

}  // namespace
}  // namespace ipcq_test
