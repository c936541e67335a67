// Processes that fork: a child leaves what it inherited alone and connects anew; a broker's child does not make the
// broker live on.
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <functional>
#include <optional>
#include <thread>

#include "eventually.hpp"
#include "process/peers.hpp"

namespace ipcq_test {
namespace {

class Forked : public ProcessTest {
 protected:
  // Runs `child` in a fork, whose exit code says which expectation failed (no gtest there), and waits for it.
  using Expect = std::function<void(bool)>;
  static void in_child(const std::function<void(const Expect&)>& child) {
    const pid_t pid = fork();
    ASSERT_NE(pid, -1);
    if (pid == 0) {
      alarm(20);
      int failed = 0;
      int number = 0;
      child([&](bool good) {
        ++number;
        if (!good && failed == 0) failed = number;
      });
      _exit(failed);
    }
    int status = 0;
    ASSERT_TRUE(eventually([&] { return waitpid(pid, &status, WNOHANG) == pid; })) << kill(pid, SIGKILL);
    EXPECT_TRUE(WIFEXITED(status)) << "signal " << WTERMSIG(status);
    EXPECT_EQ(WEXITSTATUS(status), 0) << "an expectation of the child";
  }

  // A broker in a process that has a child, to whom `ready` says that it serves. Both are gone at the test's end.
  void start_broker_with_a_child(const std::function<void(Broker&)>& then) {
    int ready[2];
    ASSERT_EQ(::pipe(ready), 0);
    broker_ = fork();
    ASSERT_NE(broker_, -1);
    if (broker_ == 0) {
      alarm(30);
      sigset_t set;
      sigemptyset(&set);
      sigaddset(&set, SIGUSR1);
      sigprocmask(SIG_BLOCK, &set, nullptr);  // for `then`
      Broker broker({.name = name_});
      broker.create("q", {.slots = 2, .size = 100});
      const pid_t child = fork();
      if (child == 0) {
        alarm(30);
        for (;;) pause();
      }
      if (::write(ready[1], &child, sizeof child) != sizeof child) _exit(1);
      then(broker);
      for (;;) pause();
    }
    ASSERT_EQ(::read(ready[0], &child_, sizeof child_), static_cast<ssize_t>(sizeof child_));
    ::close(ready[0]);
    ::close(ready[1]);
  }
  void TearDown() override {
    if (child_ > 0) ::kill(child_, SIGKILL);
    if (broker_ > 0) {
      ::kill(broker_, SIGKILL);
      ::waitpid(broker_, nullptr, 0);
      // Its locks go with the child; a successor removes what is left.
      EXPECT_TRUE(eventually([&] {
        try {
          Broker successor({.name = name_});
          return true;
        } catch (const UsageError&) {
          return false;
        }
      }));
    }
  }

  // Of all threads of the process so far.
  static double cpu_seconds(pid_t pid) {
    clockid_t clock = 0;
    timespec t{};
    EXPECT_EQ(::clock_getcpuclockid(pid, &clock), 0);
    EXPECT_EQ(::clock_gettime(clock, &t), 0);
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_nsec) * 1e-9;
  }

  pid_t broker_ = -1;
  pid_t child_ = -1;
};

TEST_F(Forked, AChildDropsWhatItInheritedAndConnectsAnew) {
  Broker& broker = embed_broker();
  broker.create("q", {.slots = 4, .size = 100, .handler = "identity"});
  Session session = connect({.broker = name_});
  Producer p = session.producer("q");
  Consumer c = session.consumer("q");
  ASSERT_EQ(p.send("one", 3, kBound), Status::ok);
  auto held = c.receive(kBound);
  auto loan = p.loan(kBound);
  ASSERT_TRUE(held && loan);
  in_child([&](const Expect& expect) {
    expect(p.send("x", 1) == Status::closed);
    expect(loan->publish(10) == Status::closed);
    bool refused = false;
    try {
      (void)broker.stats();
    } catch (const UsageError&) {
      refused = true;
    }
    expect(refused);
    // The child's first thread may bear the id of one that it inherited.
    std::thread own([] { std::this_thread::sleep_for(200ms); });
    Session anew = connect({.broker = name_, .wait_for = kBound});
    Producer mine = anew.producer("q");
    {
      const Loan drop_loan = std::move(*loan);
      const Message drop_message = std::move(*held);
      const Producer drop_producer = std::move(p);
      const Consumer drop_consumer = std::move(c);
      const Session drop_session = std::move(session);
      const Broker drop_broker = std::move(broker);
    }
    own.join();
    expect(mine.send("two", 3, kBound) == Status::ok);
    mine.close();
  });
  EXPECT_EQ(loan->publish(10, kBound), Status::ok);
  EXPECT_EQ(held->release(), Status::ok);
  for (unsigned n = 0; n < 2; ++n) {
    auto m = c.receive(kBound);
    ASSERT_TRUE(m) << to_string(m.status());
  }
  EXPECT_EQ(broker.stats().clients, 1u);
}

TEST_F(Forked, TheBrokersDeathIsSeenThoughAChildOfItsLives) {
  start_broker_with_a_child([](Broker&) {});
  ASSERT_FALSE(HasFailure());
  Session session = connect({.broker = name_, .wait_for = kBound});
  Consumer c = session.consumer("q");
  ASSERT_EQ(c.receive(kMoment).status(), Status::timeout);
  ::kill(broker_, SIGKILL);
  EXPECT_EQ(c.receive(kPrompt).status(), Status::peer_dead);
  EXPECT_FALSE(session.connected());
  // Its socket still takes connections, which nobody will ever answer.
  const auto start = std::chrono::steady_clock::now();
  EXPECT_THROW((void)connect({.broker = name_, .wait_for = kMoment}), NotFoundError);
  EXPECT_THROW((void)fetch_stats(name_), NotFoundError);
  EXPECT_LT(std::chrono::steady_clock::now() - start, kPrompt);
  EXPECT_EQ(::kill(child_, 0), 0);
}

TEST_F(Forked, TheBrokersStopIsSeenThoughAChildOfItsLives) {
  start_broker_with_a_child([](Broker& broker) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    int signal = 0;
    sigwait(&set, &signal);
    broker.stop();
  });
  ASSERT_FALSE(HasFailure());
  Session session = connect({.broker = name_, .wait_for = kBound});
  Consumer c = session.consumer("q");
  ::kill(broker_, SIGUSR1);
  EXPECT_EQ(c.receive(kPrompt).status(), Status::closed);
  EXPECT_TRUE(eventually([&] { return !session.connected(); }, kPrompt));
  EXPECT_EQ(::kill(child_, 0), 0);
}

// The child has the connections of clients that were there when it was forked, for as long as it lives.
TEST_F(Forked, ABrokerWithAChildSleepsWhenItsClientsAreGone) {
  int forked[2];
  ASSERT_EQ(::pipe(forked), 0);
  start_broker_with_a_child([&](Broker&) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    int signal = 0;
    sigwait(&set, &signal);
    const pid_t late_child = fork();
    if (late_child == 0) {
      alarm(30);
      for (;;) pause();
    }
    if (::write(forked[1], &late_child, sizeof late_child) != sizeof late_child) _exit(1);
  });
  ASSERT_FALSE(HasFailure());
  std::optional<Session> leaves = connect({.broker = name_, .wait_for = kBound});
  const pid_t dies = fork();
  ASSERT_NE(dies, -1);
  if (dies == 0) {
    alarm(20);
    const Session session = connect({.broker = name_, .wait_for = kBound});
    for (;;) pause();
  }
  EXPECT_TRUE(eventually([&] { return fetch_stats(name_).clients == 2; }));
  ::kill(broker_, SIGUSR1);
  pid_t late_child = -1;
  ASSERT_EQ(::read(forked[0], &late_child, sizeof late_child), static_cast<ssize_t>(sizeof late_child));
  leaves.reset();
  ::kill(dies, SIGKILL);
  ::waitpid(dies, nullptr, 0);
  EXPECT_TRUE(eventually([&] { return fetch_stats(name_).clients == 0; }));
  const double before = cpu_seconds(broker_);
  std::this_thread::sleep_for(500ms);
  EXPECT_LT(cpu_seconds(broker_) - before, 0.1) << "it spins";
  ::kill(late_child, SIGKILL);
}

}  // namespace
}  // namespace ipcq_test
