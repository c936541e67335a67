// Chores: what is to be done now and then for the sources of one kind, however busy the bridge is: renew what it has,
// put delayed tasks back, take over what others have left. The keeper's thread does them.
#pragma once

#include <atomic>
#include <mutex>

#include "redis/connection.hpp"
#include "tasks/task.hpp"

namespace ipcq::bridge {

class Chores {
 public:
  // Between signs of life of a bridge whose name might be another one's, too.
  static constexpr Milliseconds kSign{1000};

  Chores() = default;
  Chores(const Chores&) = delete;
  Chores& operator=(const Chores&) = delete;
  virtual ~Chores() = default;

  // Before the first run() on a connection.
  virtual void attach(Connection& connection) = 0;
  // Does what is due, and returns when there is more. Waits for the server, as Connection::call().
  virtual Clock::time_point run(Connection& connection, Clock::time_point now) = 0;
  // The bridge ends, and leaves nothing behind that it does not need to.
  virtual void leave(Connection& connection) = 0;

  // What the last looks at delayed tasks have found.
  struct Looks {
    Clock::time_point last{};         // when it began
    Clock::time_point quiet_since{};  // the first one since which none has found or moved any; max: the last one did
  };

  // From any thread.
  Looks looks() const {
    const std::scoped_lock lock(mutex_);
    return looks_;
  }
  // Delayed tasks are to stay where they are from now on.
  void stop_moving() noexcept { moving_.store(false, std::memory_order_relaxed); }

 protected:
  bool is_moving() const noexcept { return moving_.load(std::memory_order_relaxed); }
  void set_look(Clock::time_point began, bool found_any) {
    const std::scoped_lock lock(mutex_);
    const bool was_quiet = looks_.quiet_since != Clock::time_point::max();
    looks_.last = began;
    if (found_any) {
      looks_.quiet_since = Clock::time_point::max();
    } else if (!was_quiet) {
      looks_.quiet_since = began;
    }
  }

 private:
  mutable std::mutex mutex_;
  Looks looks_{.last = {}, .quiet_since = Clock::time_point::max()};
  std::atomic<bool> moving_{true};
};

}  // namespace ipcq::bridge
