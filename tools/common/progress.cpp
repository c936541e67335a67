#include "common/progress.hpp"

#include <unistd.h>

#include <cstdio>

#include <fmt/format.h>

#include "common/format.hpp"

namespace ipcq::program {

Progress::Progress(std::string label)
    : label_(std::move(label)), active_(isatty(STDERR_FILENO) == 1), last_(std::chrono::steady_clock::now()) {}

void Progress::finish() noexcept {
  if (drawn_) std::fputs("\r\033[K", stderr);
  drawn_ = false;
}

void Progress::draw_if_due(std::uint64_t messages, std::uint64_t bytes) {
  const auto now = std::chrono::steady_clock::now();
  const double seconds = std::chrono::duration<double>(now - last_).count();
  if (seconds < 0.2) return;
  const double rate = static_cast<double>(messages - last_messages_) / seconds;
  const double byte_rate = static_cast<double>(bytes - last_bytes_) / seconds;
  fmt::print(stderr, "\r\033[K{}: {} messages, {}/s, {:.2f} GB/s", label_, messages, human_rate(rate), byte_rate / 1e9);
  std::fflush(stderr);
  drawn_ = true;
  last_ = now;
  last_messages_ = messages;
  last_bytes_ = bytes;
}

}  // namespace ipcq::program
