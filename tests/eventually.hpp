// How tests wait for what another thread, a process or a GPU is about to do: within bounds. A call that hangs all the
// same is ended by a Watchdog.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <functional>
#include <future>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "ipcq/wait.hpp"

namespace ipcq_test {

// Far beyond anything that goes right, also under ThreadSanitizer on a busy machine.
inline constexpr ipcq::Duration kBound = std::chrono::seconds(20);
// Shorter than the longest time that a sleeper sleeps by itself: a wake-up that was lost shows.
inline constexpr ipcq::Duration kPrompt = std::chrono::seconds(3);

// False when `done()` is still false after `bound`.
template <class Done>
[[nodiscard]] bool eventually(Done done, ipcq::Duration bound = kBound) {
  const auto until = std::chrono::steady_clock::now() + bound;
  while (!done()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// What `tell` says of a broker. It speaks on a thread of its own: what hangs may be the broker.
inline std::string promptly(const std::function<std::string()>& tell) {
  auto text = std::make_shared<std::promise<std::string>>();
  auto ready = text->get_future();
  std::thread([text, tell] {
    try {
      text->set_value(tell());
    } catch (const std::exception& e) {
      text->set_value(e.what());
    }
  }).detach();
  return ready.wait_for(kPrompt) == std::future_status::ready ? ready.get() : "the broker does not answer\n";
}

// Ends the process when the scope lasts longer than `bound`, after `tell` has said what it can.
class Watchdog {
 public:
  Watchdog(ipcq::Duration bound, std::function<std::string()> tell)
      : thread_([this, bound, tell = std::move(tell)] {
          std::unique_lock lock(mutex_);
          if (done_.wait_for(lock, bound, [this] { return over_; })) return;
          std::cerr << "watchdog: the test hangs\n" << promptly(tell) << std::endl;
          std::_Exit(1);
        }) {}
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;
  ~Watchdog() {
    {
      const std::scoped_lock lock(mutex_);
      over_ = true;
    }
    done_.notify_all();
    thread_.join();
  }

 private:
  std::mutex mutex_;
  std::condition_variable done_;
  bool over_ = false;
  std::thread thread_;
};

}  // namespace ipcq_test
