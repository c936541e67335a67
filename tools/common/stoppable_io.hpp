// Reads and writes that a stop request ends: a pipe, a fifo or a terminal may block for as long as nobody is at its
// other end.
#pragma once

#include <sys/types.h>
#include <sys/uio.h>

#include <cstddef>
#include <span>

#include "common/signals.hpp"

namespace ipcq::program {

// Both return the bytes done, at least one unless the other end has gone, or minus an errno; and wait also where `fd`
// is non-blocking.

// As read(2). -ECANCELED once a stop is requested.
ssize_t read_some(int fd, std::span<std::byte> into, const Signals& signals);

// As writev(2). After a stop request it goes on, so that what was begun can be finished, until `fd` takes nothing for a
// second: then -ECANCELED. Null: there is no stop.
ssize_t write_some(int fd, std::span<const iovec> parts, const Signals* signals);

}  // namespace ipcq::program
