// Bounded waits of tests for another thread, a process or a GPU; and a Watchdog for calls that hang nevertheless.
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

// Longer than anything takes in a test that passes, also under ThreadSanitizer on a busy machine.
inline constexpr ipcq::Duration kBound = std::chrono::seconds(20);
// Shorter than the longest time that a sleeper sleeps without a wake-up, so that a lost wake-up shows.
inline constexpr ipcq::Duration kPrompt = std::chrono::seconds(3);

// Waits until `done()` is true. False when it is not after `bound`.
template <class Done>
[[nodiscard]] bool eventually(Done done, ipcq::Duration bound = kBound) {
  const auto until = std::chrono::steady_clock::now() + bound;
  while (!done()) {
    if (std::chrono::steady_clock::now() > until) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

// The text of tell(), which runs in a thread of its own, since it asks a broker that may hang.
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

// Ends the process when this object lives longer than `bound`; prints the text of `tell` first.
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
