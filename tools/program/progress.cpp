#include "program/progress.hpp"

#include <unistd.h>

#include <exception>
#include <utility>

#include <fmt/format.h>

#include "program/format.hpp"
#include "program/print.hpp"
#include "program/printable.hpp"

namespace ipcq::program {
namespace {

// An error of the terminal does not end the program; a stop request ends a wait for a stopped one.
void draw(const std::string& text) noexcept {
  try {
    print(text, STDERR_FILENO);
  } catch (const std::exception&) {
  }
}

}  // namespace

Progress::Progress(const std::string& label)
    : label_(printable(label)), active_(isatty(STDERR_FILENO) == 1), last_(std::chrono::steady_clock::now()) {}

void Progress::finish() noexcept {
  if (std::exchange(drawn_, false)) draw("\r\033[K");
}

void Progress::draw_if_due(std::uint64_t messages, std::uint64_t bytes) {
  const auto now = std::chrono::steady_clock::now();
  const double seconds = std::chrono::duration<double>(now - last_).count();
  if (seconds < 0.2) return;
  const double rate = static_cast<double>(messages - last_messages_) / seconds;
  const double byte_rate = static_cast<double>(bytes - last_bytes_) / seconds;
  draw(fmt::format("\r\033[K{}: {} messages, {}/s, {:.2f} GB/s", label_, messages, human_rate(rate), byte_rate / 1e9));
  drawn_ = true;
  last_ = now;
  last_messages_ = messages;
  last_bytes_ = bytes;
}

}  // namespace ipcq::program
