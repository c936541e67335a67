// Mover: puts delayed tasks into their sources when they are due. For the keeper's thread.
#pragma once

#include <string>

#include "counters.hpp"
#include "redis/connection.hpp"
#include "redis/scripts.hpp"
#include "settings.hpp"
#include "tasks/task.hpp"

namespace ipcq::bridge {

class Mover {
 public:
  Mover(const EngineSettings& settings, Counters& counters);

  void attach(Connection& connection) { script_.load(connection); }
  // Moves all that is due. Returns whether there were any, due or not.
  bool run(Connection& connection, Clock::time_point now);
  Clock::time_point due() const noexcept { return due_; }

 private:
  const EngineSettings& settings_;
  Counters& counters_;
  Script script_;
  Clock::time_point due_{};
};

void warn_seldom(const std::string& text);
// Runs a script; logs its error, if it ends with one.
Reply run_script(Connection& connection, const Script& script, const Command& keys_and_arguments);

}  // namespace ipcq::bridge
