// Engine: where tasks come from and where their outcomes go. Its calls do not wait for the server; the bridge's loop
// polls its descriptors. For one thread.
#pragma once

#include <poll.h>

#include <cstddef>
#include <vector>

#include "tasks/task.hpp"

namespace ipcq::bridge {

class Engine {
 public:
  Engine() = default;
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  virtual ~Engine() = default;

  // Sends and receives what can be, connects anew where that is due. Appends the tasks that have come; at most what
  // there is room for beside those that it was told of by finish() as ended. Throws Failure where nothing but a change
  // by an administrator can help.
  virtual void step(Room room, std::vector<Task>& tasks) = 0;
  // Takes outcomes, which it writes until the server has confirmed them, whatever happens to the connection.
  virtual void finish(std::vector<Outcome>&& outcomes) = 0;
  // Tasks that it has handed out or is about to, and whose outcome the server has not confirmed.
  virtual std::size_t unfinished() const = 0;
  // Asks for no more tasks; those that were asked for may still come.
  virtual void stop_reading() = 0;
  // Whether nothing that was asked for is still to come, after stop_reading().
  virtual bool has_stopped() const = 0;
  // Whether no task was left anywhere after the last outcome was confirmed.
  virtual bool is_dry() const = 0;
  // What to poll for, and until when at most.
  virtual void add_descriptors(std::vector<pollfd>& descriptors) const = 0;
  virtual Clock::time_point due() const = 0;
};

}  // namespace ipcq::bridge
