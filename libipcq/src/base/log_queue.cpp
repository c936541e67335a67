#include "base/log_queue.hpp"

#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <utility>

namespace ipcq::detail {

struct LogQueue::State {
  struct Line {
    LogLevel level;
    std::string text;
  };

  explicit State(LogCallback c) : callback(std::move(c)) {}

  // Passes the waiting lines to the callback, and then the number of those dropped. Unlocks the mutex for each call.
  void deliver(std::unique_lock<std::mutex>& lock) noexcept {
    std::deque<Line> batch = std::exchange(lines, {});
    if (const std::uint64_t n = std::exchange(dropped, 0); n != 0) {
      batch.push_back({LogLevel::warning, std::to_string(n) + (n == 1 ? " line was" : " lines were") +
                                              " not logged: the log was not taken in time"});
    }
    busy = true;
    for (; !batch.empty() && !abandoned; batch.pop_front()) {
      lock.unlock();
      try {
        callback(batch.front().level, batch.front().text);
      } catch (...) {  // an error of the log callback cannot be logged
      }
      lock.lock();
    }
    busy = false;
    idle.notify_all();
  }

  void run() noexcept {
    std::unique_lock lock(mutex);
    for (;;) {
      added.wait(lock, [this] { return closed || has_lines(); });
      if (!has_lines()) return;
      deliver(lock);
    }
  }

  bool has_lines() const noexcept { return !lines.empty() || dropped != 0; }

  const LogCallback callback;
  std::mutex mutex;
  std::condition_variable added;
  std::condition_variable idle;
  std::deque<Line> lines;
  std::uint64_t dropped = 0;
  bool busy = false;
  bool closed = false;
  bool abandoned = false;  // close() has stopped waiting: the remaining lines are not delivered
};

LogQueue::LogQueue(LogCallback callback) {
  if (callback) state_ = std::make_shared<State>(std::move(callback));
}

void LogQueue::add(LogLevel level, std::string text) noexcept {
  if (!state_ || fork_epoch() != epoch_) return;
  try {
    const std::scoped_lock lock(state_->mutex);
    if (state_->closed) return;
    // If the system refuses a thread the lines stay: the next add() tries again, and close() delivers them itself.
    (void)start_thread(thread_, [state = state_] { state->run(); });
    if (state_->lines.size() >= kCapacity) {
      ++state_->dropped;
      return;
    }
    state_->lines.push_back({level, std::move(text)});
  } catch (const std::exception&) {  // no memory
    return;
  }
  state_->added.notify_one();
}

void LogQueue::close() noexcept {
  if (!state_ || fork_epoch() != epoch_) return;
  std::unique_lock lock(state_->mutex);
  if (std::exchange(state_->closed, true)) return;
  state_->added.notify_one();
  if (!thread_.joinable()) return state_->deliver(lock);
  if (thread_.get_id() == std::this_thread::get_id()) {
    thread_.detach();  // it delivers the remaining lines, and ends
    return;
  }
  const bool told = state_->idle.wait_for(lock, kPatience, [this] { return !state_->busy && !state_->has_lines(); });
  state_->abandoned = !told;
  state_->lines.clear();
  state_->dropped = 0;
  lock.unlock();
  if (told) {
    thread_.join();
  } else {
    thread_.detach();
  }
}

LogQueue::~LogQueue() {
  if (fork_epoch() != epoch_) {
    forget_thread(thread_);
    keep_for_ever(std::move(state_));
    return;
  }
  close();
}

}  // namespace ipcq::detail
