// Finisher: writes what has become of tasks, in batches on a connection of its own, by one script that does it
// once for each task (bridge/scripts/outcomes.lua). Outcomes are kept until the server has confirmed them: after a lost
// connection they are sent again, and those that had been written count for nothing then.
//
// For one thread.
#pragma once

#include <cstddef>
#include <deque>
#include <random>
#include <string>
#include <vector>

#include "counters.hpp"
#include "redis/connection.hpp"
#include "redis/scripts.hpp"
#include "settings.hpp"
#include "tasks/held_tasks.hpp"
#include "tasks/task.hpp"

namespace ipcq::bridge {

class Finisher {
 public:
  Finisher(const EngineSettings& settings, Counters& counters, HeldTasks& held);

  void attach(Connection& connection);
  void add(std::vector<Outcome>&& outcomes);
  // Takes confirmations, and sends what waits. At most two batches are under way, so that they grow while the server is
  // busy.
  void step();
  Clock::time_point due() const noexcept;
  // When the server has last confirmed an outcome, which may have become a delayed task.
  Clock::time_point confirmed_at() const noexcept { return confirmed_at_; }

 private:
  struct Batch {
    std::size_t source = 0;
    std::vector<Outcome> outcomes{};
  };
  struct Repeat {
    Clock::time_point due{};
    Outcome outcome{};
  };

  Batch next_batch(std::size_t source);
  void send(Batch&& batch);
  void append_record(const Outcome& outcome, std::vector<std::string>& arguments, std::vector<std::string>& keys);
  void confirm(ReplyView reply, Batch&& batch);
  void count(const Outcome& outcome, std::int64_t answer);
  bool is_last_attempt(const Outcome& outcome) const;
  std::uint64_t delay_of(const Outcome& outcome);
  void refuse(Batch&& batch, ReplyView error);
  void repeat(std::size_t source, std::vector<Outcome>&& outcomes, std::string_view why);

  const EngineSettings& settings_;
  Counters& counters_;
  HeldTasks& held_;
  const std::string owner_;  // the first argument of the script: a stream's group, or the kind of source
  Script finish_;
  Connection* connection_ = nullptr;
  std::vector<std::deque<Outcome>> waiting_{};  // by source
  std::deque<Repeat> repeats_;                  // what the server has refused, each by itself, by time
  std::deque<Batch> sent_;
  std::size_t next_source_ = 0;
  Clock::time_point last_warning_{}, confirmed_at_{};
  std::minstd_rand random_{std::random_device{}()};
};

}  // namespace ipcq::bridge
