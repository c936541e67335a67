// A client that sends messages of the control protocol by hand, right or wrong ones.
#pragma once

#include <arpa/inet.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <string>

#include "base/poll_until.hpp"
#include "control/connection.hpp"
#include "protocol/doorbell.hpp"

namespace ipcq_test {

using ipcq::detail::Fd;

class RawClient {
 public:
  explicit RawClient(const std::string& path) : to_{ipcq::detail::connect_socket(path), {}} {
    EXPECT_TRUE(to_.socket) << path << ": " << std::strerror(errno);
  }
  int socket() const { return to_.socket.get(); }
  bool send(ipcq::detail::Request r, int fd = -1) {
    r.serial = ++serial_;
    return ipcq::detail::send_message(socket(), &r, sizeof r, fd);
  }
  ipcq::detail::Reply receive() {
    Fd unused;
    return ipcq::detail::receive_reply(to_, "raw", unused, ipcq::detail::answer_deadline());
  }
  ipcq::detail::Reply ask(const ipcq::detail::Request& r) {
    EXPECT_TRUE(send(r));
    return receive();
  }
  ipcq::detail::Reply hello() { return ask({}); }
  // Waits for the broker to hang up. False if it sends anything before.
  bool ends() {
    pollfd p{socket(), POLLIN, 0};
    char byte = 0;
    if (ipcq::detail::poll_until(&p, 1, ipcq::detail::deadline_after(std::chrono::seconds(15))) != 1) return false;
    const ssize_t got = ::recv(socket(), &byte, 1, MSG_DONTWAIT);
    return got == 0 || (got < 0 && errno == ECONNRESET);  // a reset: it had not read all that was sent
  }

 private:
  ipcq::detail::Connection to_;
  std::uint32_t serial_ = 0;
};

// A TCP socket whose close takes a minute (SO_LINGER with data that is not read).
class Lingering {
 public:
  Lingering() {
    listener_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    EXPECT_EQ(::bind(listener_.get(), generic, sizeof address), 0);
    EXPECT_EQ(::getsockname(listener_.get(), generic, &size), 0);
    EXPECT_EQ(::listen(listener_.get(), 8), 0);
    socket_ = Fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_EQ(::connect(socket_.get(), generic, sizeof address), 0);
    const char block[65536] = {};
    while (::send(socket_.get(), block, sizeof block, MSG_DONTWAIT) > 0) {  // nobody reads it
    }
    const linger minute{1, 60};
    EXPECT_EQ(::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &minute, sizeof minute), 0);
  }
  int get() const { return socket_.get(); }
  // Closes this process' descriptor: the process that the socket was sent to is then the last to close it.
  void let_go() { socket_.reset(); }

 private:
  Fd socket_;
  Fd listener_;  // closed first: that resets the connection, and nothing lingers on
};

}  // namespace ipcq_test
