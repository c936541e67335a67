// Runners that die at bad moments, with the stand-in: during the recovery from their predecessor's death, and while a
// client attaches.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/crash_point.hpp"
#include "control/connection.hpp"
#include "device_queues/runners.hpp"
#include "errors.hpp"
#include "eventually.hpp"
#include "ipcq/ipcq.hpp"

namespace ipcq_test {
namespace {

using namespace ipcq;
using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

std::function<void()> at_answer;  // taken when the broker has answered a client that attaches

void when_answered(const char* step) {
  if (std::string_view(step) == "attach.answered" && at_answer) std::exchange(at_answer, nullptr)();
}

class Recovery : public testing::Test {
 protected:
  Recovery() {
    ::setenv("IPCQ_STAND_IN_FAILS", fails_.c_str(), 1);
    detail::set_crash_point_hook(when_answered);
  }
  ~Recovery() override {
    detail::set_crash_point_hook(nullptr);
    at_answer = nullptr;
    start_again();
    ::unsetenv("IPCQ_STAND_IN_FAILS");
    ::unsetenv("IPCQ_STAND_IN_DELAY_MS");
  }
  static QueueOptions on_device(const std::string& pool = {}) {
    return {.slots = 4, .size = 4096, .pool = pool, .handler = "invert", .backend = "cuda"};
  }
  // From the next runner on.
  static void slow_down() { ::setenv("IPCQ_STAND_IN_DELAY_MS", "40", 1); }
  void start_no_runner() const { std::ofstream(fails_) << ""; }
  void start_again() const { std::filesystem::remove(fails_); }
  // Of the only queue.
  std::filesystem::path queue_segment() const {
    for (const auto& entry : std::filesystem::directory_iterator("/dev/shm")) {
      const std::string file = entry.path().filename();
      if (file.find("+" + name_ + "+") != std::string::npos && file.find("queue") != std::string::npos) {
        return entry.path();
      }
    }
    return {};
  }
  std::size_t queues() const { return broker_.stats().queues.size(); }
  void kill_runner() {
    ASSERT_TRUE(eventually([] { return runners().size() == 1; }));
    const auto deaths = broker_.stats().runner_deaths;
    ::kill(runners().front(), SIGKILL);
    ASSERT_TRUE(eventually([&] { return broker_.stats().runner_deaths > deaths; }));
  }
  void exchange(const std::string& queue, std::size_t bytes = 1000) {
    auto c = session_.consumer(queue, {.until = Until::forever, .wait_for = kBound});
    auto p = session_.producer(queue, {.wait_for = kBound});
    const std::string text(bytes, 'x');
    ASSERT_EQ(p.send(text.data(), text.size(), kBound), Status::ok) << queue;
    auto m = c.receive(kBound);
    ASSERT_TRUE(m) << queue << ": " << to_string(m.status());
    ASSERT_EQ(m->bytes().size(), bytes);
    for (const auto b : m->bytes()) ASSERT_EQ(b, static_cast<std::byte>(255 - 'x'));
  }
  // As `ipcq executor`, without waiting for the switch: the stand-in has one executor alone.
  void ask_for(ExecutorKind kind) {
    const detail::Connection broker{detail::connect_socket(broker_.socket_path()), {}};
    detail::Request r;
    r.op = detail::Op::set_executor;
    r.executor = kind;
    detail::set_text(r.name, sizeof r.name, "q");
    ASSERT_TRUE(detail::send_message(broker.socket.get(), &r, sizeof r));
    detail::Fd unused;
    ASSERT_EQ(detail::receive_reply(broker, name_, unused, detail::answer_deadline()).refusal, detail::Refusal::none);
  }

  const std::string name_ = "recovery-" + std::to_string(getpid());
  const std::string fails_ = (std::filesystem::temp_directory_path() / (name_ + "-fails")).string();
  Broker broker_{BrokerOptions{.name = name_}};
  Session session_ = connect({.broker = name_});
};

TEST_F(Recovery, GoesOnWhateverDiesMeanwhile) {
  broker_.create_pool("p", {.slots = 8, .backend = "cuda"});
  broker_.create("own", on_device());
  const std::vector<std::string> sharing = {"a", "b", "c", "x", "y", "z"};
  for (const auto& name : sharing) broker_.create(name, on_device(name < "m" ? "p" : "own"));
  slow_down();
  kill_runner();
  ASSERT_TRUE(eventually([] { return runners().size() == 1; }));
  ::kill(runners().front(), SIGKILL);  // maybe before it is up, which counts as no death
  for (std::size_t back = 1; back < 7; ++back) {
    ASSERT_TRUE(eventually([&] { return queues() >= back; })) << back;
    kill_runner();
  }
  ::unsetenv("IPCQ_STAND_IN_DELAY_MS");
  EXPECT_TRUE(eventually([&] { return queues() == 7; })) << queues();
  exchange("own");
  for (const auto& name : sharing) exchange(name);
}

TEST_F(Recovery, AQueueWithoutSlotsComesBack) {
  QueueOptions o = on_device();
  o.slots = 0;
  broker_.create("q", o);
  exchange("q", 10);
  kill_runner();
  exchange("q", 10);
}

// Of this process: those of the embedded broker and of the session.
std::size_t mappings_of(const std::string& broker) {
  std::ifstream maps("/proc/self/maps");
  std::size_t count = 0;
  for (std::string line; std::getline(maps, line);) count += line.find("+" + broker + "+") != std::string::npos ? 1 : 0;
  return count;
}

TEST_F(Recovery, ASessionLetsGoOfWhatEndedWithTheRunner) {
  broker_.create("q", on_device());
  Producer p = session_.producer("q");
  Consumer c = session_.consumer("q");
  const std::size_t mapped = mappings_of(name_);
  ASSERT_EQ(mapped, 4u);  // queue and pool, twice
  for (int death = 0; death < 3; ++death) {
    kill_runner();
    ASSERT_TRUE(eventually([&] { return c.receive(1ms).status() == Status::closed; }));
    p = session_.producer("q", {.wait_for = kBound});
    c = session_.consumer("q", {.wait_for = kBound});
    EXPECT_TRUE(eventually([&] { return mappings_of(name_) == mapped; })) << mappings_of(name_) << " after " << death;
    ASSERT_EQ(p.send("here", kBound), Status::ok);
    EXPECT_EQ(c.receive(kBound).status(), Status::ok);
  }
}

TEST_F(Recovery, KeepsItsNames) {
  broker_.create("q", on_device());
  start_no_runner();
  kill_runner();
  EXPECT_THROW(broker_.create("q", {.slots = 2, .backend = "host"}), UsageError);
  EXPECT_THROW(broker_.create_pool("q", {.slots = 2}), UsageError);
  EXPECT_THROW(broker_.create("shares", on_device("q")), BackendError);
  start_again();
  exchange("q");
  broker_.create("shares", on_device("q"));
  exchange("shares");
}

TEST_F(Recovery, KeepsTheExecutorThatWasAskedFor) {
  QueueOptions o = on_device();
  o.executor = ExecutorKind::persistent;
  broker_.create("q", o);
  ask_for(ExecutorKind::stream);
  kill_runner();
  exchange("q");
  EXPECT_EQ(broker_.stats().queues.at(0).executor, "stream");
  ask_for(ExecutorKind::persistent);
  kill_runner();
  exchange("q");
  EXPECT_EQ(broker_.stats().queues.at(0).executor, "persistent");
}

TEST_F(Recovery, KeepsTheChoiceOfTheBrokerOpenUntilItIsMadeForIt) {
  broker_.create("q", on_device());
  { auto p = session_.producer("q", {.cuda = true}); }  // brings the stream executor
  EXPECT_EQ(broker_.stats().queues.at(0).tombstones, 1u);
  kill_runner();
  exchange("q");
  EXPECT_EQ(broker_.stats().queues.at(0).executor, "persistent");
  { auto p = session_.producer("q", {.cuda = true}); }
  EXPECT_EQ(broker_.stats().queues.at(0).tombstones, 1u);
  ask_for(ExecutorKind::persistent);
  { auto p = session_.producer("q", {.cuda = true}); }
  EXPECT_EQ(broker_.stats().queues.at(0).tombstones, 2u);  // nothing was changed behind the asker's back
}

TEST_F(Recovery, AClientThatAttachesMeanwhileGetsTheNewQueue) {
  broker_.create("q", on_device());
  at_answer = [&] { kill_runner(); };
  auto p = session_.producer("q", {.wait_for = kBound});
  ASSERT_EQ(p.send("x", 1, kBound), Status::ok);
  at_answer = [&] { kill_runner(); };
  Session other = connect({.broker = name_});  // has no mapping yet
  auto c = other.consumer("q", {.wait_for = kBound});
  EXPECT_EQ(p.send("x", 1, kBound), Status::closed);
  p = session_.producer("q", {.wait_for = kBound});
  ASSERT_EQ(p.send("x", 1, kBound), Status::ok);
  EXPECT_TRUE(c.receive(kBound));
  EXPECT_EQ(broker_.stats().queues.at(0).endpoints.size(), 2u);
}

TEST_F(Recovery, AClientThatDoesNotWaitIsToldWhatHappens) {
  broker_.create("q", on_device());
  at_answer = [&] {
    start_no_runner();
    kill_runner();
  };
  EXPECT_THAT(error_of<NotFoundError>([&] { (void)session_.producer("q"); }),
              AllOf(HasSubstr("queue 'q'"), HasSubstr("created anew")));
}

// As when a container does not share /dev/shm with the broker.
TEST_F(Recovery, SegmentsThatAreElsewhereAreNotWaitedFor) {
  broker_.create("q", {.slots = 2});
  const std::filesystem::path segment = queue_segment();
  ASSERT_FALSE(segment.empty());
  std::filesystem::remove(segment);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THAT(error_of<NotFoundError>([&] { (void)session_.consumer("q", {.wait_for = kBound}); }),
              AllOf(HasSubstr("queue 'q'"), HasSubstr(segment.filename().string()), HasSubstr("/dev/shm")));
  EXPECT_LT(std::chrono::steady_clock::now() - start, kBound / 2);
  EXPECT_TRUE(broker_.stats().queues.at(0).endpoints.empty());
  // Nor is a producer that could not attach missed by consumers.
  (void)error_of<NotFoundError>([&] { (void)session_.producer("q"); });
  EXPECT_EQ(broker_.stats().queues.at(0).producers_lost, 0u);
}

// It leaves the stream as it found it: here another has still to end it.
TEST_F(Recovery, AProducerThatCouldNotAttachEndsNothing) {
  broker_.create("q", {.slots = 2, .size = 100});
  auto c = session_.consumer("q");
  const std::filesystem::path segment = queue_segment();
  const std::filesystem::path away = segment.string() + "-away";
  const auto fail = [&] {
    std::filesystem::rename(segment, away);
    Session other = connect({.broker = name_});  // has no mapping yet
    (void)error_of<NotFoundError>([&] { (void)other.producer("q"); });
    std::filesystem::rename(away, segment);
  };
  constexpr auto kMoment = 20ms;
  fail();
  EXPECT_EQ(c.receive(kMoment).status(), Status::timeout);  // no end: no producer has come
  {
    auto p = session_.producer("q");
    fail();
    EXPECT_EQ(c.receive(kMoment).status(), Status::timeout);
    p.break_off();
  }
  fail();
  EXPECT_EQ(broker_.stats().queues.at(0).producers_lost, 1u);
  {
    auto p = session_.producer("q");
    EXPECT_EQ(broker_.stats().queues.at(0).producers_lost, 0u);
  }
  EXPECT_EQ(c.receive(kBound).status(), Status::end);
  fail();
  EXPECT_EQ(c.receive(kBound).status(), Status::end);
}

}  // namespace
}  // namespace ipcq_test
