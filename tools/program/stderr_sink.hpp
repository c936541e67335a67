// Log sinks for standard error, whose reader may have stopped: a full pipe or a stopped terminal must not stop the
// program.
//
// A thread of StderrSink writes the lines. A caller waits up to 200 ms for its own line, so that output stays in order
// and none is lost while the stream is read; once a write has taken longer, callers do not wait until it returns. Lines
// beyond kCapacity are counted, and a line with the count replaces them. The destructor waits a second at most for the
// lines that are left. Thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <thread>

#include <spdlog/sinks/sink.h>

namespace ipcq::program {

// Writes each message, as printable_message(), to a descriptor. Not by stdio: a write that never returns would keep its
// lock, which exit() needs. Thread-safe.
std::shared_ptr<spdlog::sinks::sink> descriptor_sink(int fd, bool coloured);

class StderrSink final : public spdlog::sinks::sink {
 public:
  static constexpr std::size_t kCapacity = 1024;

  // `inner` writes, and may block.
  explicit StderrSink(std::shared_ptr<spdlog::sinks::sink> inner);
  ~StderrSink() override;

  void log(const spdlog::details::log_msg& message) override;
  void flush() override {}  // each line is
  void set_pattern(const std::string& pattern) override;
  void set_formatter(std::unique_ptr<spdlog::formatter> formatter) override;

 private:
  struct State;
  std::shared_ptr<State> state_;  // shared with the thread, which may outlast this object in a write
  std::thread thread_;
};

}  // namespace ipcq::program
