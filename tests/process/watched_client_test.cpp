// How the broker comes to watch a client's process, on kernels and below tools that offer less; and what is said when
// the broker lacks something, or the client does.
#include <signal.h>

#include "errors.hpp"
#include "process/peers.hpp"

namespace ipcq_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

// What the broker and its client have to do without, by commas.
struct Missing {
  const char* name;
  const char* broker;
  const char* client;
};

class WatchedClient : public ProcessTest, public testing::WithParamInterface<Missing> {};
INSTANTIATE_TEST_SUITE_P(, WatchedClient,
                         testing::Values(Missing{"Nothing", "", ""},
                                         Missing{"ClientWithoutPidfdOpen", "", "pidfd_open"},
                                         Missing{"ClientWithoutPidfds", "", "pidfd_open,peerpidfd"},
                                         Missing{"BrokerWithoutPidfdOpen", "pidfd_open", "pidfd_open"},
                                         Missing{"KernelBeforeSixFive", "peerpidfd", "peerpidfd"},
                                         Missing{"BrokerWithoutProc", "proc", ""},
                                         Missing{"OldKernelAndBrokerWithoutProc", "proc,peerpidfd", "pidfd_open"}),
                         [](const auto& info_) { return std::string(info_.param.name); });

TEST_P(WatchedClient, WorksAndItsDeathIsNoticed) {
  Peer& broker = spawn_broker({std::string("without=") + GetParam().broker});
  if (broker.ended() && end_of(broker) == "exit 77") GTEST_SKIP() << "cannot do without " << GetParam().broker;
  const std::string without = std::string("without=") + GetParam().client;
  EXPECT_EQ(end_of(spawn("producer", {"id=1", "count=3", without})), "exit 0");
  Peer& holder = spawn("consumer", {"count=2", "batch=2", "hold=1", "at_end=pause", without});
  bounded("the consumer to hold two", [&] { return group_stats().held == 2; });
  EXPECT_EQ(fetch_stats(name_).deaths, 0u);
  holder.signal(SIGKILL);
  bounded("the broker to notice", [&] { return fetch_stats(name_).deaths == 1; });
  Peer& consumer = spawn("consumer", {});
  EXPECT_EQ(end_of(consumer), "exit 0");
  check_group({&holder, &consumer}, {{1, 3, 3}});
  EXPECT_EQ(group_stats().redelivered, 2u);
}

// It relies on its socket alone where it has no pidfd of the broker.
TEST_P(WatchedClient, LearnsOfTheBrokersDeath) {
  Peer& broker = spawn_broker({std::string("without=") + GetParam().broker});
  if (broker.ended() && end_of(broker) == "exit 77") GTEST_SKIP() << "cannot do without " << GetParam().broker;
  Peer& consumer = spawn_ready("consumer", {std::string("without=") + GetParam().client});
  broker.signal(SIGKILL);
  EXPECT_EQ(end_of(consumer), "exit " + std::to_string(100 + static_cast<int>(Status::peer_dead)));
}

class BrokerInNeed : public ProcessTest {
 protected:
  // A client whom the broker cannot take is not accused, but told what is wrong there.
  void expect_blame(const std::string& text) const {
    EXPECT_THAT(text,
                AllOf(HasSubstr("broker '" + name_ + "'"), Not(HasSubstr("vouches")), Not(HasSubstr("process -1"))));
  }
};

TEST_F(BrokerInNeed, WithoutPidfdsSaysSo) {
  Peer& broker = spawn_broker({"without=pidfd_open,peerpidfd"});
  const auto text = error_of<SystemError>([&] { (void)connect({.broker = name_}); });
  expect_blame(text);
  EXPECT_THAT(text, AllOf(HasSubstr("cannot watch"), HasSubstr("Linux 5.3"), HasSubstr("seccomp")));
  bounded("the broker's log", [&] { return broker.output().find("cannot watch") != std::string::npos; });
  EXPECT_NO_THROW((void)fetch_stats(name_));
}

TEST_F(BrokerInNeed, WithoutDescriptorsSaysSoAndStillAnswersItsOwner) {
  if (kChecksNeedDescriptors) GTEST_SKIP() << "the sanitizer's own checks need descriptors";
  Peer& broker = spawn_broker({"nofile=24"});
  std::vector<Session> sessions;
  const auto text = error_of<SystemError>([&] {
    for (int i = 0; i < 24; ++i) sessions.push_back(connect({.broker = name_}));
  });
  expect_blame(text);
  EXPECT_THAT(text, HasSubstr("ulimit -n"));
  EXPECT_FALSE(sessions.empty());
  bounded("the broker's log", [&] { return broker.output().find("ulimit -n") != std::string::npos; });
  for (int i = 0; i < 20; ++i) EXPECT_EQ(fetch_stats(name_).pid, broker.pid());
  EXPECT_NO_THROW((void)fetch_dump("q", name_));
  EXPECT_NO_THROW((void)sessions.front().producer("q"));
  sessions.clear();
  bounded("the broker to take clients again", [&] {
    try {
      (void)connect({.broker = name_});
      return true;
    } catch (const SystemError&) {
      return false;
    }
  });
}

}  // namespace
}  // namespace ipcq_test
