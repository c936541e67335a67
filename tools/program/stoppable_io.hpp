// Reads and writes that a stop request ends: a pipe, a fifo or a terminal may block without limit while its other end
// does nothing. For one thread at a time (Signals::Interruptible).
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>

#include "program/signals.hpp"

namespace ipcq::program {

// The time that is left after a stop request to finish one unit of output, such as a message: a second, however many
// writes it takes.
class StopGrace {
 public:
  // The rest of the second, which begins with the first call; then zero.
  std::chrono::milliseconds left();

 private:
  std::optional<std::chrono::steady_clock::time_point> until_;
};

// Both return the number of bytes, at least one unless the other end is closed, or minus an errno. They wait even if
// `fd` is non-blocking.

// As read(2). -ECANCELED once a stop is requested.
ssize_t read_some(int fd, std::span<std::byte> into, const Signals& signals);

// As writev(2). After a stop request it continues until `grace` is over, so that the unit of output can be finished,
// and then returns -ECANCELED. All writes of one unit share a `grace`. `signals` null: no stop request ends it.
ssize_t write_some(int fd, std::span<const iovec> parts, const Signals* signals, StopGrace& grace);

}  // namespace ipcq::program
