// A broker's control socket without its control thread, and clients that connect to it by hand.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "broker/control_socket.hpp"
#include "broker/parts.hpp"
#include "process/raw_client.hpp"
#include "unit/temporary_directory.hpp"

namespace ipcq::detail {

class ControlSocketTest : public testing::Test {
 protected:
  ipcq_test::RawClient& connect() {
    return *others_.emplace_back(std::make_unique<ipcq_test::RawClient>(parts_.context.name.socket_path()));
  }
  // Connects and is accepted.
  ConnectedClient& accepted() {
    connect();
    const auto before = all().size();
    socket_.accept();
    EXPECT_EQ(all().size(), before + 1);
    return *all().back();
  }
  std::vector<ConnectedClient*> all() const {
    std::vector<ConnectedClient*> clients;
    for (const auto& c : parts_.clients) clients.push_back(c.get());
    return clients;
  }
  bool is_watched(int fd) const {
    const PollSet::Ready ready = parts_.context.polls.wait(0);
    return std::find(ready.begin(), ready.end(), fd) != ready.end();
  }

  const ipcq_test::TemporaryDirectory directory_;
  LogLines log_;
  Parts parts_{{.name = directory_.at("s"), .log = log_.callback()}};
  ControlSocket socket_{parts_.context, parts_.clients, parts_.closer, ""};
  std::vector<std::unique_ptr<ipcq_test::RawClient>> others_;
};

}  // namespace ipcq::detail
