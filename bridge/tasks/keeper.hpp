// Keeper: a thread with a connection of its own that does a bridge's chores (chores.hpp), and measures its sources.
//
// Thread-safe, but for construction and destruction, which ends the thread.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <stop_token>
#include <thread>

#include "redis/connection.hpp"
#include "settings.hpp"
#include "tasks/chores.hpp"
#include "tasks/meter.hpp"

namespace ipcq::bridge {

class Keeper {
 public:
  Keeper(const EngineSettings& settings, std::unique_ptr<Chores> chores, Counters& counters);

  Chores::Looks looks() const { return chores_->looks(); }
  void stop_moving() noexcept { chores_->stop_moving(); }
  // Goes on with the server that the bridge is connected to now.
  void move_to(const Address& address);

 private:
  void run(const std::stop_token& stop);
  void connect(const std::stop_token& stop);
  bool has_moved();

  const Milliseconds patience_;
  std::unique_ptr<Chores> chores_;
  Meter meter_;
  std::unique_ptr<Connection> connection_;
  std::mutex mutex_;  // guards the next three
  bool has_moved_ = false;
  std::condition_variable_any wake_;
  Address address_;
  std::jthread thread_;  // last: uses all of the above
};

}  // namespace ipcq::bridge
