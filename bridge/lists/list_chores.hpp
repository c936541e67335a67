// ListChores: says that this consumer lives, puts back what consumers had that do not, and delayed tasks into their
// lists or sorted sets. For the keeper's thread.
#pragma once

#include "counters.hpp"
#include "redis/scripts.hpp"
#include "settings.hpp"
#include "tasks/chores.hpp"
#include "tasks/mover.hpp"

namespace ipcq::bridge {

class ListChores final : public Chores {
 public:
  ListChores(const EngineSettings& settings, Counters& counters);

  void attach(Connection& connection) override;
  Clock::time_point run(Connection& connection, Clock::time_point now) override;
  void leave(Connection& connection) override;

 private:
  void say_alive(Connection& connection, Clock::time_point now);
  void recover(Connection& connection);
  bool has_rest(Connection& connection) const;

  const EngineSettings& settings_;
  Counters& counters_;
  Mover mover_;
  Script alive_{"alive"}, recover_{"recover"}, leave_{"leave"}, rest_{"rest"};
  Clock::time_point next_sign_{}, next_recovery_{};
};

}  // namespace ipcq::bridge
