// poll(2) with a deadline, which a signal does not move: the caller computes it once. Thread-safe.
#pragma once

#include <poll.h>

#include <cstdint>

namespace ipcq::detail {

// Waits until one of the descriptors has an event, or until `deadline` (ns of now_ns(); kNever: no limit; 0: does not
// wait). Returns the number of descriptors with an event; 0 after the deadline; -1 with errno set, never EINTR.
int poll_until(pollfd* entries, nfds_t count, std::uint64_t deadline) noexcept;

}  // namespace ipcq::detail
