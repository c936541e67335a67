#include "program/print.hpp"

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <string>

#include <fmt/format.h>

#include "program/exit_code.hpp"
#include "program/inherited_descriptors.hpp"
#include "program/stoppable_io.hpp"

namespace ipcq::program {
namespace {

std::atomic<bool> was_printed{false};  // anything, to standard output

// Throws Failure unless `error` is EPIPE.
void throw_unless_reader_gone(int error, int fd) {
  if (error == EPIPE) return;
  throw Failure(kFailure, fmt::format("cannot write to standard {}: {}", fd == STDERR_FILENO ? "error" : "output",
                                      error == ECANCELED ? "it is full, and nobody reads it" : std::strerror(error)));
}

}  // namespace

bool print(std::string_view text, int fd) {
  if (fd == STDOUT_FILENO) was_printed.store(true, std::memory_order_relaxed);
  if (fd == STDERR_FILENO && was_closed_at_start(fd)) return true;  // lost, like the lines of the log
  StopGrace grace;
  while (!text.empty()) {
    const iovec part{const_cast<char*>(text.data()), text.size()};  // NOLINT: writev only reads
    const ssize_t count = write_some(fd, {&part, 1}, Signals::current(), grace);
    if (count < 0) {
      throw_unless_reader_gone(static_cast<int>(-count), fd);
      return false;
    }
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

bool print_json(const Json& object, int fd) { return print(object.text() + "\n", fd); }

void finish_standard_output() {
  if (std::fflush(stdout) != 0) throw_unless_reader_gone(errno, STDOUT_FILENO);
  if (!was_printed.load(std::memory_order_relaxed)) return;
  // The close of any descriptor of the file reports such an error, so that of a copy does.
  const int copy = ::dup(STDOUT_FILENO);
  if (copy >= 0 && ::close(copy) != 0 && errno != EINTR) throw_unless_reader_gone(errno, STDOUT_FILENO);
}

}  // namespace ipcq::program
