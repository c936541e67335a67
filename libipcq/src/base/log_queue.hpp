// Lines on their way to a user's log callback. Who logs never waits for it: a thread of this object's own calls it, one
// line at a time and in order, and whoever has a lock may log. So a callback may ask the broker or session that logs,
// and one that never returns (a pipe that nobody reads) stops nothing but the log.
//
// The thread starts with the first line. While the callback is busy kCapacity lines wait; what comes then is counted,
// and the count told in its place. Thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>

#include "base/os.hpp"
#include "ipcq/options.hpp"

namespace ipcq::detail {

class LogQueue {
 public:
  static constexpr std::size_t kCapacity = 1024;
  // How long the end waits for the callback.
  static constexpr auto kPatience = std::chrono::seconds(1);

  explicit LogQueue(LogCallback callback);
  LogQueue(const LogQueue&) = delete;
  LogQueue& operator=(const LogQueue&) = delete;
  ~LogQueue();  // close()

  void add(LogLevel level, std::string text) noexcept;
  // Delivers what is there, for kPatience at most; no further call of the callback begins after that. Called by the
  // callback itself it waits for nothing.
  void close() noexcept;

 private:
  struct State;

  const std::uint32_t epoch_ = fork_epoch();
  std::shared_ptr<State> state_;  // null: nobody listens. The thread has it too: a call may outlast this object
  std::thread thread_;            // guarded by the state's mutex
};

}  // namespace ipcq::detail
