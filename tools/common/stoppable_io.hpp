// Reads and writes that a stop request ends: a pipe, a fifo or a terminal may block for as long as nobody is at its
// other end.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <chrono>
#include <cstddef>
#include <optional>
#include <span>

#include "common/signals.hpp"

namespace ipcq::program {

// How long the writing of one whole goes on after a stop request: a second, however many writes it takes.
class StopGrace {
 public:
  // What is left of the second, which begins with the first call. Zero once it is over.
  std::chrono::milliseconds left();

 private:
  std::optional<std::chrono::steady_clock::time_point> until_;
};

// Both return the bytes done, at least one unless the other end has gone, or minus an errno; and wait also where `fd`
// is non-blocking.

// As read(2). -ECANCELED once a stop is requested.
ssize_t read_some(int fd, std::span<std::byte> into, const Signals& signals);

// As writev(2). After a stop request it goes on, so that what was begun can be finished, until `grace` is over: then
// -ECANCELED. The writes of one whole share it. Null: there is no stop.
ssize_t write_some(int fd, std::span<const iovec> parts, const Signals* signals, StopGrace& grace);

}  // namespace ipcq::program
