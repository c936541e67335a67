#include "broker/clients.hpp"

#include <gmock/gmock.h>

#include "broker/parts.hpp"
#include "child.hpp"

namespace ipcq::detail {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Clients, AreFoundBySocketPidfdAndNumber) {
  Parts parts;
  ConnectedClient& a = parts.connect();
  ConnectedClient& b = parts.connect();
  EXPECT_EQ(parts.clients.at_socket(b.socket.get()), &b);
  EXPECT_EQ(parts.clients.at_pidfd(a.pidfd.get()), &a);
  EXPECT_EQ(parts.clients.numbered(b.number), &b);
  EXPECT_NE(a.number, b.number);
  EXPECT_EQ(parts.clients.at_socket(b.pidfd.get()), nullptr);
  EXPECT_EQ(parts.clients.numbered(b.number + 1), nullptr);
}

TEST(Clients, OneThatIsRemovedIsHungUpOn) {
  Parts parts;
  ConnectedClient& a = parts.connect();
  const int its_end = parts.other_ends.front().get();
  EXPECT_FALSE(has_hung_up(its_end));
  const std::uint64_t number = a.number;
  parts.clients.remove(a);
  EXPECT_TRUE(has_hung_up(its_end));
  EXPECT_EQ(parts.clients.numbered(number), nullptr);
}

TEST(Clients, SessionsOfAProcessEndTogetherAndOnlyThose) {
  Parts parts;
  ConnectedClient& ours = parts.connect();
  ConnectedClient& first = parts.connect();
  ConnectedClient& second = parts.connect();
  ConnectedClient& half_open = parts.connect();
  ipcq_test::Child child([] { ::pause(); });
  for (ConnectedClient* c : {&first, &second, &half_open}) {
    c->pid = child.pid();
    c->pidfd = open_pidfd(child.pid());
  }
  half_open.attached = false;
  EXPECT_THAT(parts.clients.ended_sessions(child.pid()), IsEmpty());
  ::kill(child.pid(), SIGKILL);
  child.reap();
  EXPECT_THAT(parts.clients.ended_sessions(child.pid()), ElementsAre(&first, &second));
  EXPECT_THAT(parts.clients.ended_sessions(ours.pid), IsEmpty());
}

TEST(Clients, CountAsLoadByUserAndHello) {
  Parts parts;
  ConnectedClient& attached = parts.connect();
  ConnectedClient& half_open = parts.connect();
  ConnectedClient& foreign = parts.connect();
  half_open.attached = false;
  foreign.uid = attached.uid + 4711;
  foreign.attached = false;
  const Load load = parts.clients.load_of(attached.uid);
  EXPECT_EQ(load.half_open, 1u);
  EXPECT_EQ(load.foreign_connections, 1u);
  EXPECT_EQ(parts.clients.load_of(foreign.uid).half_open, 1u);
}

}  // namespace
}  // namespace ipcq::detail
