// Reader: takes tasks out of the sources of one kind, on a connection of its own. For one thread.
#pragma once

#include <cstddef>
#include <optional>
#include <vector>

#include "redis/connection.hpp"
#include "settings.hpp"
#include "tasks/task.hpp"

namespace ipcq::bridge {

class Reader {
 public:
  Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  virtual ~Reader() = default;

  // Goes on with this connection, which may be another server's. Throws UsageError and PermissionError where a source
  // is no source or may not be read.
  virtual void attach(Connection& connection) = 0;
  // How long the server has heard nothing of a bridge with this one's name; none: there is none. Behind attach() on the
  // same server, by another connection. Waits for the server, as Connection::call().
  virtual std::optional<Milliseconds> unheard_of(Connection& connection) const = 0;
  // Appends what has come, at most what there is room for, and asks for more if there is room. What is no task comes as
  // an outcome. Does not wait.
  virtual void step(Room room, std::vector<Task>& tasks, std::vector<Outcome>& refused) = 0;
  // Somebody says that there are tasks.
  virtual void wake() = 0;
  virtual void stop() = 0;
  // Whether nothing is still to come, after stop().
  virtual bool has_stopped() const = 0;
  // When it asked the question by which it has found every source empty; long ago where it has found tasks since.
  virtual Clock::time_point empty_at() const = 0;
  // When step() is to be called though nothing has come.
  virtual Clock::time_point due() const = 0;
};

}  // namespace ipcq::bridge
