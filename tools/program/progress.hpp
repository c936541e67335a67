// Progress: one line on stderr that is rewritten as the work goes on; nothing when stderr is not a terminal. For one
// thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace ipcq::program {

class Progress {
 public:
  explicit Progress(const std::string& label);
  ~Progress() { finish(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  bool active() const noexcept { return active_; }
  // Takes the totals so far; draws at most five times a second.
  void update(std::uint64_t messages, std::uint64_t bytes) {
    if (active_) draw_if_due(messages, bytes);
  }
  // Removes the line.
  void finish() noexcept;

 private:
  void draw_if_due(std::uint64_t messages, std::uint64_t bytes);

  std::string label_;
  bool active_;
  bool drawn_ = false;
  std::chrono::steady_clock::time_point last_;
  std::uint64_t last_messages_ = 0;
  std::uint64_t last_bytes_ = 0;
};

}  // namespace ipcq::program
