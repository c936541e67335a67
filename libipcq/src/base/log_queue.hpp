// Delivers lines to a user's log callback from a thread of its own, one at a time and in order. add() never waits for
// the callback, so it may be called under a lock; the callback may call the broker or session that logs; and a callback
// that never returns (writing to a pipe that is not read) stops only the log.
//
// The thread starts with the first line. While the callback is busy kCapacity lines wait; further lines are counted,
// and the count is logged instead. Thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>

#include "base/os.hpp"
#include "ipcq/log.hpp"

namespace ipcq::detail {

class LogQueue {
 public:
  static constexpr std::size_t kCapacity = 1024;
  // How long close() waits for the callback.
  static constexpr auto kPatience = std::chrono::seconds(1);

  explicit LogQueue(LogCallback callback);
  LogQueue(const LogQueue&) = delete;
  LogQueue& operator=(const LogQueue&) = delete;
  ~LogQueue();  // close()

  void add(LogLevel level, std::string text) noexcept;
  // Delivers the lines that wait, for kPatience at most; afterwards no call of the callback begins. Does not wait when
  // called by the callback itself.
  void close() noexcept;

 private:
  struct State;

  const std::uint32_t epoch_ = fork_epoch();
  std::shared_ptr<State> state_;  // null: no callback. Shared with the thread, whose call may outlast this object
  std::thread thread_;            // guarded by the state's mutex
};

}  // namespace ipcq::detail
