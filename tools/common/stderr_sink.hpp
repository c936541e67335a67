// Standard error as a place for log lines that may have no reader: a full pipe or a stopped terminal must not stop the
// program. A thread writes; who logs waits for its line for a moment, so that output stays in order and nothing is lost
// while somebody reads, and no longer once a write has not come back. Lines beyond kCapacity are counted, and the count
// told in their place. At the end what waits is written, for a second at most. Thread-safe.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <thread>

#include <spdlog/sinks/sink.h>

namespace ipcq::program {

// Writes lines to a descriptor, each message as one printable() line, without stdio, whose lock a write that does not
// come back would keep from the process' exit. Thread-safe.
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
  std::shared_ptr<State> state_;  // the thread's too, which may outlast this object in a write
  std::thread thread_;
};

}  // namespace ipcq::program
