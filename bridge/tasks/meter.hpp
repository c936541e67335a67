// Meter: asks the server now and then how many tasks there are (bridge/scripts/sizes.lua), for the metrics. For the
// keeper's thread.
#pragma once

#include "counters.hpp"
#include "redis/connection.hpp"
#include "redis/scripts.hpp"
#include "settings.hpp"
#include "tasks/task.hpp"

namespace ipcq::bridge {

class Meter {
 public:
  // Asks nothing unless settings.measure.
  Meter(const EngineSettings& settings, Counters& counters) : settings_(settings), counters_(counters) {}

  void attach(Connection& connection);
  // Asks if it is due; the time at which it is again.
  Clock::time_point run(Connection& connection, Clock::time_point now);
  // The server has gone.
  void lose() { counters_.sizes.forget(); }

 private:
  const EngineSettings& settings_;
  Counters& counters_;
  Script script_{"sizes"};
  Clock::time_point due_{};
};

}  // namespace ipcq::bridge
