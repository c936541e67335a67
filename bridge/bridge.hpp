// Bridge: the loop that moves tasks from an engine into a queue and their outcomes back. One thread, which polls and
// never waits for one side while the other has something to do.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <deque>
#include <optional>
#include <string>
#include <vector>

#include "counters.hpp"
#include "program/progress.hpp"
#include "program/signals.hpp"
#include "tasks/engine.hpp"
#include "work.hpp"

namespace ipcq::bridge {

struct LoopSettings {
  bool until_dry = false;                                    // end when no task is left
  std::optional<std::chrono::duration<double>> drain_for{};  // the longest that a stop waits for what runs
  std::string label{};                                       // of the progress line
};

class Bridge {
 public:
  Bridge(Engine& engine, Work& work, Counters& counters, LoopSettings settings);

  // Until a stop is requested: then reads nothing more, and returns when what it has is done and confirmed. A second
  // request, or the end of drain_for, ends it at once; tasks that are not confirmed are taken over by others then.
  void run(const program::Signals& signals, const std::atomic<int>& stops);

  // From the first task read to the last outcome confirmed.
  std::chrono::duration<double> working_time() const { return last_end_ - first_read_; }

 private:
  void step();
  void begin_to_stop();
  // Whether what is left is given up.
  bool is_late();
  bool is_done() const;
  void wait(int stop_fd) const;
  std::size_t room() const;

  Engine& engine_;
  Work& work_;
  Counters& counters_;
  LoopSettings settings_;
  program::Progress progress_;
  std::deque<Task> waiting_;  // read, and not yet in the queue
  bool stopping_ = false;
  bool busy_ = false;  // the last step moved something
  Clock::time_point first_read_{}, last_end_{};
  Clock::time_point stopped_at_{}, told_at_{};
};

}  // namespace ipcq::bridge
