// The broker's end of the control socket, by which a test answers in the broker's place.
#pragma once

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>

#include "base/poll_until.hpp"
#include "control/control.hpp"
#include "eventually.hpp"
#include "protocol/doorbell.hpp"
#include "unit/temporary_directory.hpp"

namespace ipcq_test {

class FakeBroker {
 public:
  FakeBroker() : listener_(ipcq::detail::listen_socket(path(), 0600, -1)) {}

  std::string path() const { return directory_.at("s"); }
  std::string at(const std::string& file) const { return directory_.at(file); }
  void stop_listening() { listener_.reset(); }

  // Waits for the next connection; invalid when none comes.
  ipcq::detail::Fd accept() const { return accept_within(kBound); }
  ipcq::detail::Fd accept_within(ipcq::Duration time) const {
    if (!comes(listener_, time)) return {};
    return ipcq::detail::Fd(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  }
  // Waits for the next request; its serial is 0 when none comes.
  static ipcq::detail::Request take(const ipcq::detail::Fd& connection) {
    ipcq::detail::Request r;
    ipcq::detail::Fd unused;
    if (!comes(connection) || receive(connection, &r, sizeof r) != static_cast<ssize_t>(sizeof r)) r = {};
    return r;
  }
  static void answer(const ipcq::detail::Fd& connection, ipcq::detail::Reply reply, std::uint32_t serial, int fd = -1) {
    reply.serial = serial;
    EXPECT_TRUE(ipcq::detail::send_message(connection.get(), &reply, sizeof reply, fd));
  }

 private:
  static bool comes(const ipcq::detail::Fd& fd, ipcq::Duration time = kBound) {
    pollfd p{fd.get(), POLLIN, 0};
    return ipcq::detail::poll_until(&p, 1, ipcq::detail::deadline_after(time)) == 1;
  }
  // Without control data: the kernel adds senders' credentials, which are dropped here.
  static ssize_t receive(const ipcq::detail::Fd& fd, void* into, std::size_t bytes) {
    return ::recv(fd.get(), into, bytes, MSG_DONTWAIT);
  }

  const TemporaryDirectory directory_;
  ipcq::detail::Fd listener_;
};

}  // namespace ipcq_test
