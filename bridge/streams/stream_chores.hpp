// StreamChores: renews entries, puts delayed tasks into their streams, trims streams. For the keeper's thread.
#pragma once

#include <string>

#include "counters.hpp"
#include "redis/scripts.hpp"
#include "settings.hpp"
#include "tasks/chores.hpp"
#include "tasks/held_tasks.hpp"
#include "tasks/mover.hpp"

namespace ipcq::bridge {

class StreamChores final : public Chores {
 public:
  StreamChores(const EngineSettings& settings, Counters& counters, const HeldTasks& held);

  void attach(Connection& connection) override;
  Clock::time_point run(Connection& connection, Clock::time_point now) override;
  void leave(Connection& connection) override { forget_consumers(connection, settings_.consumer); }

 private:
  void sign(Connection& connection, Clock::time_point now);
  void renew(Connection& connection, Clock::time_point now);
  bool has_pending(Connection& connection) const;
  void trim(Connection& connection, Clock::time_point now);
  void forget_consumers(Connection& connection, const std::string& leaving);

  const EngineSettings& settings_;
  Counters& counters_;
  const HeldTasks& held_;
  Mover mover_;
  Script renew_{"renew_entries"}, trim_{"trim_stream"}, forget_{"forget_consumers"};
  Clock::time_point next_sign_{}, next_renewal_{}, next_trim_{}, next_forgetting_{};
};

}  // namespace ipcq::bridge
