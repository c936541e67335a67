// A connection from its acceptance to its hello, and the socket's file. Limits: control_socket_limits_test.cpp.
#include "broker/control_socket.hpp"

#include <gmock/gmock.h>
#include <grp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "base/deadline.hpp"
#include "broker/control_socket_fixture.hpp"
#include "errors.hpp"
#include "eventually.hpp"
#include "ipcq/error.hpp"
#include "unit/child.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::Child;
using ipcq_test::error_of;
using ipcq_test::eventually;
using ipcq_test::RawClient;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// As if it had connected that long ago.
void say_nothing_for(ConnectedClient& client, std::uint64_t ns) { client.accepted_at_ns = now_ns() - ns; }

TEST_F(ControlSocketTest, AConnectionBecomesAHalfOpenClientThatIsWatched) {
  EXPECT_EQ(socket_.due_in_ms(), -1);
  const std::uint64_t before = now_ns();
  RawClient& there = connect();
  EXPECT_TRUE(is_watched(socket_.socket()));
  socket_.accept();
  EXPECT_FALSE(is_watched(socket_.socket())) << "nobody waits any more";
  ASSERT_EQ(all().size(), 1u);
  const ConnectedClient& client = *all().front();
  EXPECT_EQ(client.pid, ::getpid());
  EXPECT_EQ(client.uid, ::geteuid());
  EXPECT_GE(client.accepted_at_ns, before);
  EXPECT_FALSE(client.attached);
  EXPECT_FALSE(client.pidfd);
  EXPECT_TRUE(there.send({}));
  EXPECT_TRUE(is_watched(client.socket.get()));
}

TEST_F(ControlSocketTest, AClientIsNamedByTheProcessThatConnectedThoughItHasEnded) {
  Child child([&] { (void)connect_socket(parts_.context.name.socket_path()); });
  EXPECT_EQ(child.exit_code(), 0);
  socket_.accept();
  ASSERT_EQ(all().size(), 1u);
  EXPECT_EQ(all().front()->pid, child.pid());
}

TEST_F(ControlSocketTest, ARoundAcceptsSomeAndLeavesTheRestToTheNext) {
  for (int i = 0; i < 9; ++i) connect();
  socket_.accept();
  EXPECT_EQ(all().size(), 8u);
  EXPECT_TRUE(is_watched(socket_.socket()));
  socket_.accept();
  EXPECT_EQ(all().size(), 9u);
}

TEST_F(ControlSocketTest, OneThatIsTurnedAwayIsToldWhyAndTheLogNamesIt) {
  ConnectedClient& client = accepted();
  client.pid = 4711;
  socket_.turn_away(client, Refusal::permission, "not today");
  const Reply told = others_.back()->receive();
  EXPECT_EQ(told.refusal, Refusal::permission);
  EXPECT_EQ(told.serial, 0u);
  EXPECT_EQ(told.broker_pid, ::getpid());
  EXPECT_STREQ(told.text, "not today");
  EXPECT_TRUE(eventually([&] { return log_.has("not today (pid 4711 turned away)"); }));
  EXPECT_EQ(all().size(), 1u) << "the caller ends it";
  EXPECT_FALSE(has_hung_up(others_.back()->socket()));
}

TEST_F(ControlSocketTest, OneThatTakesNoWordIsTurnedAwayAllTheSame) {
  ConnectedClient& client = accepted();
  const Reply reply;
  while (send_message(client.socket.get(), &reply, sizeof reply)) {
  }
  socket_.turn_away(client, Refusal::usage, "full");
  EXPECT_TRUE(eventually([&] { return log_.has("full (pid"); }));
  others_.clear();
  EXPECT_NO_THROW(socket_.turn_away(client, Refusal::usage, "gone"));
}

TEST_F(ControlSocketTest, OnlyAConnectionThatNeitherSaidHelloNorAsksIsLate) {
  EXPECT_THAT(socket_.late_for_hello(), IsEmpty());
  ConnectedClient& silent = accepted();
  ConnectedClient& fresh = accepted();
  ConnectedClient& asks = accepted();
  ConnectedClient& attached = accepted();
  asks.asking = true;
  attached.attached = true;
  EXPECT_THAT(socket_.late_for_hello(), IsEmpty());
  for (ConnectedClient* c : {&silent, &asks, &attached}) say_nothing_for(*c, kHelloWithinNs);
  EXPECT_THAT(socket_.late_for_hello(), ElementsAre(&silent));
  say_nothing_for(fresh, kHelloWithinNs - 4'000'000'000);
  asks.asking = false;
  EXPECT_THAT(socket_.late_for_hello(), ElementsAre(&silent, &asks)) << "its answer is no hello";
}

TEST_F(ControlSocketTest, TheSoonestHelloSaysWhenToLookAgain) {
  ConnectedClient& first = accepted();
  ConnectedClient& second = accepted();
  EXPECT_GT(socket_.due_in_ms(), 4000);
  EXPECT_LE(socket_.due_in_ms(), 5001);
  say_nothing_for(second, kHelloWithinNs - 1'000'000'000);
  EXPECT_GT(socket_.due_in_ms(), 0);
  EXPECT_LE(socket_.due_in_ms(), 1001);
  say_nothing_for(second, kHelloWithinNs + 1);
  EXPECT_EQ(socket_.due_in_ms(), 0);
  second.asking = true;
  EXPECT_GT(socket_.due_in_ms(), 1001);
  first.attached = true;
  EXPECT_EQ(socket_.due_in_ms(), -1) << "the broker sleeps until the answer";
  second.asking = false;
  second.attached = true;
  EXPECT_THAT(socket_.late_for_hello(), IsEmpty());
  EXPECT_EQ(socket_.due_in_ms(), -1);
  accepted();
  EXPECT_GT(socket_.due_in_ms(), 4000);
}

TEST_F(ControlSocketTest, IsTheOwnersAlone) {
  struct stat status {};
  ASSERT_EQ(::stat(parts_.context.name.socket_path().c_str(), &status), 0);
  EXPECT_TRUE(S_ISSOCK(status.st_mode));
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  EXPECT_EQ(status.st_uid, ::geteuid());
}

TEST_F(ControlSocketTest, ThatIsTakenIsTheCallersToClose) {
  RawClient& waits = connect();
  EXPECT_GE(socket_.socket(), 0);
  parts_.closer.close_listener(socket_.take_socket());
  EXPECT_LT(socket_.socket(), 0);
  EXPECT_TRUE(waits.ends());
}

// A broker whose socket a Unix group may use, with this mode of the directory that the socket is in.
class GroupSocketTest : public testing::Test {
 protected:
  GroupSocketTest() {
    if (const ::group* const own = ::getgrgid(::getegid())) group_ = own->gr_name;
  }
  void serve(mode_t directory_mode) {
    ASSERT_EQ(::chmod(directory_.path().c_str(), directory_mode), 0);
    Parts parts{{.name = directory_.at("s"), .group = group_, .log = log_.callback()}};
    const ControlSocket socket(parts.context, parts.clients, parts.closer, group_);
    ASSERT_EQ(::stat(directory_.at("s").c_str(), &status_), 0);
    parts.context.close_log();
  }

  const ipcq_test::TemporaryDirectory directory_;
  LogLines log_;
  std::string group_;
  struct stat status_ {};
};

TEST_F(GroupSocketTest, IsTheGroupsAsWell) {
  if (group_.empty()) GTEST_SKIP() << "this process' group has no name";
  serve(0710);
  EXPECT_EQ(status_.st_mode & 07777, 0660u);
  EXPECT_EQ(status_.st_gid, ::getegid());
  EXPECT_FALSE(log_.has("is closed to members of group"));
}

TEST_F(GroupSocketTest, InADirectoryThatIsClosedToTheGroupTheLogSaysSo) {
  if (group_.empty()) GTEST_SKIP() << "this process' group has no name";
  serve(0700);
  EXPECT_TRUE(log_.has("the directory of " + directory_.at("s") + " is closed to members of group '" + group_ + "'"));
}

TEST_F(GroupSocketTest, OfAGroupThatDoesNotExistIsRefusedBeforeAnythingIsMade) {
  const std::string said =
      error_of<UsageError>([&] { const Parts parts({.name = directory_.at("s"), .group = "no-such-group"}); });
  EXPECT_THAT(said, AllOf(HasSubstr("unix group 'no-such-group'"), HasSubstr("does not exist")));
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

}  // namespace
}  // namespace ipcq::detail
