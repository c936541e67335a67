// StreamKeeper: a thread with a connection of its own that renews the tasks of this bridge, however long the bridge is
// busy, puts delayed tasks into their streams when they are due, and trims streams.
//
// Thread-safe, but for construction and destruction, which ends the thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>
#include <thread>

#include "counters.hpp"
#include "redis/connection.hpp"
#include "redis/scripts.hpp"
#include "settings.hpp"
#include "streams/held_tasks.hpp"

namespace ipcq::bridge {

class StreamKeeper {
 public:
  StreamKeeper(const EngineSettings& settings, Counters& counters, const HeldTasks& held);

  // Whether tasks wait for their time, as of the last look.
  bool has_delayed() const noexcept { return delayed_.load(std::memory_order_relaxed); }
  // Goes on with another server of a cluster.
  void move_to(const Address& address);
  void stop_moving() noexcept { moving_ = false; }

 private:
  void run(const std::stop_token& stop);
  void connect();
  void renew(Clock::time_point now);
  void move();
  void trim();
  Reply run_script(const Script& script, const Command& keys_and_arguments);

  const EngineSettings& settings_;
  Counters& counters_;
  const HeldTasks& held_;
  Script renew_{"renew"}, move_{"move"}, trim_{"trim"};
  std::unique_ptr<Connection> connection_;
  std::atomic<bool> delayed_{true};
  std::atomic<bool> moving_{true};
  Clock::time_point next_renewal_{}, next_move_{}, next_trim_{};
  std::mutex mutex_;  // guards the next two
  std::condition_variable_any wake_;
  Address address_;
  std::jthread thread_;  // last: uses all of the above
};

}  // namespace ipcq::bridge
