// What the construction of a broker takes, what its functions say before, during and after its end, and what a forked
// child does. Its end: broker_stop_test.cpp.
#include "broker/broker_core.hpp"

#include <gmock/gmock.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "broker/core_fixture.hpp"
#include "errors.hpp"
#include "ipcq/admin.hpp"
#include "ipcq/broker.hpp"
#include "ipcq/error.hpp"
#include "unit/child.hpp"

namespace ipcq::detail {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using ipcq_test::Child;
using ipcq_test::error_of;
using ipcq_test::kBound;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

class BrokerCoreTest : public BrokerCoreFixture {};

TEST(BrokerCoreName, OneThatCannotBeIsRefusedBeforeAnythingIsMade) {
  const ipcq_test::TemporaryDirectory directory;
  const std::pair<BrokerOptions, std::string> cases[] = {
      {{.name = "two words"}, "broker name 'two words'"},
      {{.name = ".b"}, "broker name '.b'"},
      {{.name = std::string(64, 'b')}, std::string(64, 'b')},
      {{.name = directory.path() + "/"}, "names a directory"},
      {{.name = directory.at(std::string(200, 'b'))}, "the path has"},
      {{.name = directory.at("none/s")}, "there is no directory " + directory.at("none")},
      {{.name = directory.at("s"), .group = "no such"}, "unix group 'no such': does not exist"},
  };
  for (const auto& [options, says] : cases) {
    EXPECT_THAT(error_of<UsageError>([&o = options] { const BrokerCore core(o); }), HasSubstr(says)) << options.name;
  }
  EXPECT_TRUE(fs::is_empty(directory.path()));
}

TEST_F(BrokerCoreTest, ATakenNameIsRefusedAndItsOwnerGoesOn) {
  create_unread();
  const std::vector<std::string> before = names();
  EXPECT_THAT(error_of<UsageError>([&] { const BrokerCore second(options()); }),
              HasSubstr("pid " + std::to_string(::getpid())));
  EXPECT_EQ(names(), before);
  EXPECT_EQ(fetch_stats(path_).queues.size(), 1u);
  EXPECT_TRUE(consumer_.receive(kBound));
}

TEST_F(BrokerCoreTest, AStoppedBrokersNameIsFreeWhileTheObjectLives) {
  stop(Deadline::none());
  EXPECT_EQ(core_->socket_path(), path_);
  BrokerCore second(options());
  EXPECT_EQ(fetch_stats(path_).name, path_);
  core_.reset();
  EXPECT_EQ(fetch_stats(path_).name, path_) << "it has nothing left to remove";
}

TEST_F(BrokerCoreTest, ADestructorStopsAtOnce) {
  create_unread();
  core_.reset();
  EXPECT_THAT(names(), IsEmpty());
  EXPECT_EQ(consumer_.receive(kBound).status(), Status::closed);
  EXPECT_THAT(log_, Contains("queue 'q': stopped with 3 messages left"));
}

TEST_F(BrokerCoreTest, StatisticsTellBeforeDuringAndAfterAStop) {
  EXPECT_THAT(core_->stats().queues, IsEmpty());
  create_unread();
  EXPECT_EQ(core_->stats().queues.at(0).published, kUnread);
  EXPECT_EQ(state(), "open");
  Stop stopping = begin_stop();
  EXPECT_EQ(fetch_stats(path_).queues.at(0).state, "draining") << "clients are served while it drains";
  EXPECT_THAT(core_->dump("q"), HasSubstr("cursor: next 3"));
  ASSERT_TRUE(consumer_.receive(kBound));
  stop(Deadline::none());
  EXPECT_EQ(left_by(stopping), kUnread - 1);
  const BrokerStats last = core_->stats();
  EXPECT_NE(last.clients, 0u) << "as when it had drained";
  EXPECT_EQ(last.queues.at(0).state, "closed");
  EXPECT_EQ(last.queues.at(0).groups.at(0).waiting, kUnread - 1);
  EXPECT_EQ(core_->stats().uptime_ns, last.uptime_ns) << "nothing changes any more";
}

TEST_F(BrokerCoreTest, ADumpNeedsAQueueThatThereIs) {
  EXPECT_THAT(error_of<NotFoundError>([&] { (void)core_->dump("q"); }),
              AllOf(HasSubstr("queue 'q'"), HasSubstr("broker '" + path_ + "'"), HasSubstr("it has none")));
  create_unread();
  EXPECT_THAT(core_->dump("q"), AllOf(HasSubstr("queue q: 4 lines"), HasSubstr("cursor: next 3")));
  EXPECT_THAT(error_of<NotFoundError>([&] { (void)core_->dump("r"); }), HasSubstr("it has q"));
  stop(Deadline::none());
  EXPECT_THAT(error_of<NotFoundError>([&] { (void)core_->dump("q"); }), HasSubstr("it has none"));
}

TEST_F(BrokerCoreTest, AStreamThatIsEndedEndsBehindItsMessagesUntilTheQueueIsGone) {
  EXPECT_THAT(error_of<NotFoundError>([&] { core_->end_of_stream("q"); }), HasSubstr("queue 'q'"));
  create_unread();
  producer_.break_off();
  for (std::uint64_t i = 0; i < kUnread; ++i) ASSERT_TRUE(consumer_.receive(kBound));
  EXPECT_EQ(consumer_.receive(20ms).status(), Status::timeout) << "another producer may go on";
  core_->end_of_stream("q");
  EXPECT_EQ(consumer_.receive(kBound).status(), Status::end);
  stop(Deadline::none());
  EXPECT_THAT(error_of<NotFoundError>([&] { core_->end_of_stream("q"); }), HasSubstr("it has none"));
}

TEST_F(BrokerCoreTest, AForkedChildKnowsThatTheBrokerIsTheParentsAndStopsNothing) {
  create_unread();
  const auto before = names();
  Child child([&] {
    const bool knows = core_->is_forked_child();
    ::_exit(knows && stop(Deadline::none()) == 0 && stop(Deadline(kForever)) == 0 ? 0 : 1);
  });
  EXPECT_EQ(child.exit_code(), 0);
  EXPECT_FALSE(core_->is_forked_child());
  EXPECT_EQ(names(), before);
  EXPECT_EQ(state(), "open");
  EXPECT_EQ(producer_.send("more", kBound), Status::ok);
  EXPECT_EQ(stop(Deadline::none()), kUnread + 1);
}

// The core itself must not be destroyed in a child, since its threads cannot be joined there: its owner sees to that.
TEST_F(BrokerCoreTest, ABrokersDestructorInAForkedChildRemovesNothing) {
  auto broker = std::make_unique<Broker>(BrokerOptions{.name = directory_.at("owned")});
  broker->create("q", {.slots = 4, .size = 64});
  Child child([&] { broker.reset(); });
  EXPECT_EQ(child.exit_code(), 0);
  EXPECT_EQ(fetch_stats(directory_.at("owned")).queues.size(), 1u);
}

}  // namespace
}  // namespace ipcq::detail
