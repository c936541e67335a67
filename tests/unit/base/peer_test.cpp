#include "base/peer.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "base/poll_until.hpp"
#include "eventually.hpp"
#include "protocol/doorbell.hpp"
#include "unit/child.hpp"
#include "unit/temporary_directory.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::Child;
using ipcq_test::eventually;

// A listening socket and what connects to it.
class PeerTest : public testing::Test {
 protected:
  PeerTest() {
    std::strncpy(address_.sun_path, directory_.at("s").c_str(), sizeof address_.sun_path - 1);
    EXPECT_EQ(::bind(listener_.get(), generic(), sizeof address_), 0);
    EXPECT_EQ(::listen(listener_.get(), 8), 0);
  }
  const sockaddr* generic() const { return reinterpret_cast<const sockaddr*>(&address_); }
  static Fd make_socket() { return Fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)); }
  Fd connect() const {
    Fd fd = make_socket();
    if (::connect(fd.get(), generic(), sizeof address_) != 0) fd.reset();
    return fd;
  }
  Fd accept() const {
    pollfd p{listener_.get(), POLLIN, 0};
    if (poll_until(&p, 1, deadline_after(ipcq_test::kBound)) != 1) return {};
    return Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  }

  const ipcq_test::TemporaryDirectory directory_;
  sockaddr_un address_{.sun_family = AF_UNIX, .sun_path = {}};
  const Fd listener_ = make_socket();
};

TEST_F(PeerTest, IsWhoConnectedAndWhoListens) {
  Child child([&] {
    const Fd fd = connect();
    Peer listener;
    char byte = 0;
    const bool told = get_peer(fd.get(), listener) && listener.pid == ::getppid() && listener.uid == ::geteuid();
    (void)!::read(fd.get(), &byte, 1);
    ::_exit(told ? 0 : 1);
  });
  Fd accepted = accept();
  Peer peer;
  ASSERT_TRUE(get_peer(accepted.get(), peer));
  EXPECT_EQ(peer.pid, child.pid());
  EXPECT_EQ(peer.uid, ::geteuid());
  accepted.reset();
  EXPECT_EQ(child.exit_code(), 0);
}

TEST_F(PeerTest, IsInItsGroups) {
  const Fd connected = connect();
  const Fd accepted = accept();
  EXPECT_TRUE(peer_is_in_group(accepted.get(), ::getegid()));
  EXPECT_FALSE(peer_is_in_group(accepted.get(), ::getegid() + 4711));
  const int count = ::getgroups(0, nullptr);
  std::vector<gid_t> groups(static_cast<std::size_t>(std::max(count, 0)));
  ASSERT_EQ(::getgroups(count, groups.data()), count);
  for (const gid_t gid : groups) EXPECT_TRUE(peer_is_in_group(accepted.get(), gid)) << gid;
  EXPECT_FALSE(peer_is_in_group(-1, ::getegid()));
}

TEST_F(PeerTest, OfWhatIsNoConnectionThereIsNone) {
  Peer peer;
  EXPECT_FALSE(get_peer(-1, peer));
  EXPECT_EQ(errno, EBADF);
  EXPECT_FALSE(process_behind(-1));
  EXPECT_EQ(errno, EBADF);
  const Fd alone = make_socket();
  EXPECT_FALSE(process_behind(alone.get()));
}

TEST_F(PeerTest, ItsEndIsSeenThoughAChildOfItsKeepsTheSocket) {
  int ends[2];
  ASSERT_EQ(::pipe(ends), 0);
  Fd kept(ends[1]);
  const Fd waits(ends[0]);
  Child child([&] {
    const Fd fd = connect();
    char byte = 0;
    kept.reset();
    if (::fork() == 0) {
      ::alarm(60);
      (void)!::read(waits.get(), &byte, 1);  // until the test lets it go
      ::_exit(0);
    }
    (void)!::read(fd.get(), &byte, 1);
  });
  const Fd accepted = accept();
  const Fd process = process_behind(accepted.get());
  ASSERT_TRUE(process);
  EXPECT_FALSE(has_ended(process));
  ASSERT_EQ(::send(accepted.get(), "x", 1, 0), 1);
  EXPECT_TRUE(eventually([&] { return has_ended(process); }));
  EXPECT_FALSE(has_hung_up(accepted.get()));
}

TEST_F(PeerTest, ThatHasEndedIsToldApartFromAShortage) {
  Child child([&] { (void)connect(); });
  EXPECT_EQ(child.exit_code(), 0);
  const Fd accepted = accept();
  const Fd process = process_behind(accepted.get());
  if (process) {  // Linux 6.16 or later
    EXPECT_TRUE(has_ended(process));
  } else {
    EXPECT_EQ(errno, ESRCH);
  }
}

TEST_F(PeerTest, EachMessageTellsItsSenderOnceItIsAskedFor) {
  ASSERT_TRUE(ask_for_senders(listener_.get()));
  const Fd here = connect();
  const Fd accepted = accept();
  Child child([&] { (void)!::send(here.get(), "x", 1, 0); });  // with a socket that it inherited
  EXPECT_EQ(child.exit_code(), 0);
  char byte = 0;
  iovec io{&byte, 1};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(ucred))] = {};
  msghdr m{};
  m.msg_iov = &io;
  m.msg_iovlen = 1;
  m.msg_control = space;
  m.msg_controllen = sizeof space;
  ASSERT_EQ(::recvmsg(accepted.get(), &m, MSG_DONTWAIT), 1);
  const cmsghdr* const c = CMSG_FIRSTHDR(&m);
  ASSERT_NE(c, nullptr);
  ASSERT_EQ(c->cmsg_type, SCM_CREDENTIALS);
  ucred sender{};
  std::memcpy(&sender, CMSG_DATA(c), sizeof sender);
  EXPECT_EQ(sender.pid, child.pid());
  EXPECT_FALSE(ask_for_senders(-1));
}

}  // namespace
}  // namespace ipcq::detail
