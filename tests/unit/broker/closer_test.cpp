// Sockets of clients are closed without waiting for what lies in them.
#include "broker/closer.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <optional>
#include <vector>

#include "base/peer.hpp"
#include "base/thread.hpp"
#include "control/control.hpp"
#include "eventually.hpp"
#include "process/raw_client.hpp"
#include "unit/temporary_directory.hpp"

namespace ipcq::detail {
namespace {

using ipcq_test::eventually;
using ipcq_test::Lingering;

class CloserTest : public testing::Test {
 protected:
  CloserTest() : listener_(listen_socket(path_, 0600, -1)) {}
  Fd accept() const { return Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK)); }
  // Whether the client has been told of the end.
  static bool is_told_of_end(const Fd& client) {
    pollfd p{client.get(), POLLRDHUP, 0};
    return ::poll(&p, 1, 0) == 1;
  }

  const ipcq_test::TemporaryDirectory directory_;
  const std::string path_ = directory_.at("s");
  const Request request_;
  Fd listener_;
};

TEST_F(CloserTest, AnEmptySocketIsClosedAtOnce) {
  Closer closer;
  const Fd client = connect_socket(path_);
  Fd socket = accept();
  const int number = socket.get();
  closer.hang_up(std::move(socket));
  EXPECT_TRUE(is_told_of_end(client));
  EXPECT_LT(::fcntl(number, F_GETFD), 0);
  closer.hang_up(Fd());  // nothing
}

TEST_F(CloserTest, EndsTheConnectionForWhoeverHasACopy) {
  Closer closer;
  const Fd client = connect_socket(path_);
  Fd socket = accept();
  const Fd copy = copy_of(socket, "socket");
  closer.hang_up(std::move(socket));
  EXPECT_TRUE(is_told_of_end(client));
}

TEST_F(CloserTest, WhatLiesUnreadIsTakenOutAndClosedAtOnce) {
  Closer closer;
  const Fd client = connect_socket(path_);
  Fd socket = accept();
  for (int i = 0; i < 5; ++i) ASSERT_TRUE(send_message(client.get(), &request_, sizeof request_));
  const int number = socket.get();
  closer.hang_up(std::move(socket));
  EXPECT_LT(::fcntl(number, F_GETFD), 0);
}

// Its close waits for a minute. Nobody else's does.
TEST_F(CloserTest, ADescriptorWhoseCloseBlocksHoldsNobodyUp) {
  const ipcq_test::Watchdog watchdog(ipcq_test::kBound, [] { return "a close blocks"; });
  Closer closer;
  Lingering lingering;
  const Fd client = connect_socket(path_);
  Fd socket = accept();
  ASSERT_TRUE(send_message(client.get(), &request_, sizeof request_));
  ASSERT_TRUE(send_message(client.get(), &request_, sizeof request_, lingering.get()));
  lingering.let_go();
  closer.hang_up(std::move(socket));
  EXPECT_TRUE(is_told_of_end(client));
  const Fd next = connect_socket(path_);
  closer.hang_up(accept());
  EXPECT_TRUE(is_told_of_end(next));
}

TEST_F(CloserTest, OnesWithDescriptorsAreClosedElsewhere) {
  Closer closer;
  std::vector<Fd> clients;
  std::vector<Fd> kept;
  for (int i = 0; i < 40; ++i) {  // more than it has threads
    clients.push_back(connect_socket(path_));
    Fd socket = accept();
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    kept.emplace_back(ends[0]);
    const Fd sent(ends[1]);
    ASSERT_TRUE(send_message(clients.back().get(), &request_, sizeof request_, sent.get()));
    closer.hang_up(std::move(socket));
  }
  for (const Fd& end : kept) {  // the last copy of its other end is closed with the socket
    EXPECT_TRUE(eventually([&] {
      pollfd p{end.get(), 0, 0};
      return ::poll(&p, 1, 0) == 1 && (p.revents & POLLHUP) != 0;
    }));
  }
}

TEST_F(CloserTest, AListenerIsClosedWithThoseThatNobodyAccepted) {
  Closer closer;
  Lingering lingering;
  const ipcq_test::Watchdog watchdog(ipcq_test::kBound, [] { return "a close blocks"; });
  const Fd quiet = connect_socket(path_);
  const Fd hostile = connect_socket(path_);
  ASSERT_TRUE(send_message(hostile.get(), &request_, sizeof request_, lingering.get()));
  lingering.let_go();
  const Fd copy = copy_of(listener_, "listener");
  closer.close_listener(std::move(listener_));
  EXPECT_TRUE(is_told_of_end(quiet));
  EXPECT_TRUE(is_told_of_end(hostile));
  EXPECT_FALSE(connect_socket(path_));
  EXPECT_EQ(errno, ECONNREFUSED);
  closer.close_listener(Fd());
}

}  // namespace
}  // namespace ipcq::detail
