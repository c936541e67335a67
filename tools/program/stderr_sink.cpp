#include "program/stderr_sink.hpp"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <mutex>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <spdlog/details/log_msg_buffer.h>
#include <spdlog/sinks/base_sink.h>

#include "program/printable.hpp"

namespace ipcq::program {
namespace {

// How long a caller waits for its line, and the destructor for all of them.
constexpr auto kMoment = std::chrono::milliseconds(200);
constexpr auto kPatience = std::chrono::seconds(1);

const char* colour_of(spdlog::level::level_enum level) {
  switch (level) {
    case spdlog::level::warn:
      return "\033[33m\033[1m";
    case spdlog::level::err:
    case spdlog::level::critical:
      return "\033[31m\033[1m";
    case spdlog::level::info:
      return "\033[32m";
    case spdlog::level::trace:
    case spdlog::level::debug:
    case spdlog::level::off:
    case spdlog::level::n_levels:
      break;
  }
  return "\033[36m";
}

class DescriptorSink final : public spdlog::sinks::base_sink<std::mutex> {
 public:
  DescriptorSink(int fd, bool coloured) : fd_(fd), coloured_(coloured) {}

 private:
  void sink_it_(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    const std::string payload = printable_message({message.payload.data(), message.payload.size()});
    spdlog::details::log_msg shown = message;
    shown.payload = payload;
    shown.color_range_start = shown.color_range_end = 0;
    formatter_->format(shown, line);
    std::string text(line.data(), line.size());
    if (coloured_ && shown.color_range_end > shown.color_range_start) {
      text.insert(shown.color_range_end, "\033[m");
      text.insert(shown.color_range_start, colour_of(shown.level));
    }
    for (std::size_t done = 0; done < text.size();) {
      const ssize_t n = ::write(fd_, text.data() + done, text.size() - done);
      if (n >= 0) {
        done += static_cast<std::size_t>(n);
      } else if (errno == EAGAIN) {  // another process has made the stream non-blocking
        pollfd p{fd_, POLLOUT, 0};
        (void)::poll(&p, 1, -1);
      } else if (errno != EINTR) {
        return;  // there is no other place to report it
      }
    }
  }
  void flush_() override {}

  const int fd_;
  const bool coloured_;
};

}  // namespace

std::shared_ptr<spdlog::sinks::sink> descriptor_sink(int fd, bool coloured) {
  return std::make_shared<DescriptorSink>(fd, coloured);
}

struct StderrSink::State {
  explicit State(std::shared_ptr<spdlog::sinks::sink> sink) : inner(std::move(sink)) {}

  void write(const spdlog::details::log_msg& message) noexcept {
    try {
      inner->log(message);
      inner->flush();
    } catch (...) {  // there is no other place to report it
    }
  }

  void write_next(std::unique_lock<std::mutex>& lock) {
    const bool gap = lines.empty();  // all that fitted are written: the next line is the count of those dropped
    spdlog::details::log_msg_buffer line;
    std::string text;
    if (gap) {
      text = fmt::format("{} lines were not logged: standard error was not read", std::exchange(dropped, 0));
    } else {
      line = std::move(lines.front());
      lines.pop_front();
    }
    writing = true;
    lock.unlock();
    if (gap) {
      write({program, spdlog::level::warn, text});
    } else {
      write(line);
    }
    lock.lock();
    writing = false;
    written += gap ? 0 : 1;
    stuck = false;
    progress.notify_all();
  }

  void run() noexcept {
    std::unique_lock lock(mutex);
    for (;;) {
      added.wait(lock, [this] { return closed || has_lines(); });
      if (!has_lines()) return;
      write_next(lock);
    }
  }

  bool has_lines() const noexcept { return !lines.empty() || dropped != 0; }

  const std::shared_ptr<spdlog::sinks::sink> inner;
  std::mutex mutex;
  std::condition_variable added;
  std::condition_variable progress;
  std::string program;
  std::deque<spdlog::details::log_msg_buffer> lines;
  std::uint64_t accepted = 0;
  std::uint64_t written = 0;
  std::uint64_t dropped = 0;  // lines after the last in `lines`, which takes no more until this count is written
  bool writing = false;       // the thread is in a write, of a line or of the count
  bool stuck = false;         // a write has taken longer than kMoment, and has not returned yet
  bool closed = false;
};

StderrSink::StderrSink(std::shared_ptr<spdlog::sinks::sink> inner)
    : state_(std::make_shared<State>(std::move(inner))) {}

void StderrSink::log(const spdlog::details::log_msg& message) {
  std::unique_lock lock(state_->mutex);
  if (!thread_.joinable()) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      thread_ = std::thread([state = state_] { state->run(); });
    } catch (const std::system_error&) {  // without a thread this caller writes, and may block
      state_->write(message);
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
    if (!thread_.joinable()) return;
  }
  if (state_->program.empty()) state_->program.assign(message.logger_name.data(), message.logger_name.size());
  if (state_->dropped != 0 || state_->lines.size() >= kCapacity) {
    ++state_->dropped;
    return;
  }
  state_->lines.emplace_back(message);
  const std::uint64_t mine = ++state_->accepted;
  state_->added.notify_one();
  if (state_->stuck) return;
  const bool done = state_->progress.wait_for(lock, kMoment, [&] { return state_->written >= mine || state_->stuck; });
  if (!done) state_->stuck = true;
}

void StderrSink::set_pattern(const std::string& pattern) { state_->inner->set_pattern(pattern); }
void StderrSink::set_formatter(std::unique_ptr<spdlog::formatter> formatter) {
  state_->inner->set_formatter(std::move(formatter));
}

StderrSink::~StderrSink() {
  if (!thread_.joinable()) return;
  std::unique_lock lock(state_->mutex);
  state_->closed = true;
  state_->added.notify_one();
  const bool told =
      state_->progress.wait_for(lock, kPatience, [&] { return !state_->writing && !state_->has_lines(); });
  lock.unlock();
  if (told) {
    thread_.join();
  } else {
    thread_.detach();  // its write does not return; the process is about to end
  }
}

}  // namespace ipcq::program
