// A broker's control thread at work on its parts, which a test looks at under the mutex.
#pragma once

#include <gtest/gtest.h>
#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iterator>
#include <set>
#include <string>

#include "broker/parts.hpp"
#include "broker/server.hpp"
#include "control/control.hpp"
#include "eventually.hpp"

namespace ipcq::detail {

inline Request request_for_q(Op op, std::uint32_t client = 0) {
  Request r;
  r.op = op;
  r.client = client;
  set_text(r.name, sizeof r.name, std::string("q"));
  set_text(r.group, sizeof r.group, std::string("default"));
  return r;
}

// Threads of this process, by their ids.
inline std::set<pid_t> threads_of_process() {
  std::set<pid_t> all;
  for (const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    all.insert(std::atoi(task.path().filename().c_str()));
  }
  return all;
}

class ServerTest : public testing::Test {
 protected:
  ~ServerTest() override {
    {
      const Lock lock(parts_.context.mutex);
      parts_.context.quitting = true;
    }
    signal_eventfd(parts_.context.quit.get());
    server_.join_control();
    server_.join_answers();
  }
  const std::string& path() const { return parts_.context.name.socket_path(); }
  // What `look` returns of the broker's records.
  template <class Look>
  auto with_mutex(Look look) {
    const Lock lock(parts_.context.mutex);
    return look();
  }
  // Waits until it is true of the broker's records.
  template <class Is>
  bool becomes(Is is) {
    return ipcq_test::eventually([&] { return with_mutex(is); });
  }
  // The following are for with_mutex() and becomes().
  std::size_t clients() const {
    return static_cast<std::size_t>(std::distance(parts_.clients.begin(), parts_.clients.end()));
  }
  ConnectedClient& last() const { return **std::prev(parts_.clients.end()); }
  std::uint64_t deaths() const { return scan(parts_.statistics.view()).deaths; }
  bool has_suspect() const {
    for (const auto& c : parts_.clients) {
      if (c->suspect) return true;
    }
    return false;
  }

  const std::set<pid_t> threads_before_ = threads_of_process();
  LogLines log_;
  Parts parts_{{.log = log_.callback()}};
  QueueEntry& q_ = parts_.create("q", Parts::small());
  Server server_{parts_, ""};
};

}  // namespace ipcq::detail
