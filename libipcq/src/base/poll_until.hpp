// poll(2) with a deadline. A signal does not begin the time anew: the deadline is computed once, by the caller.
#pragma once

#include <poll.h>

#include <cstdint>

namespace ipcq::detail {

// Waits until one of the descriptors has an event, or until `deadline` (now_ns(); kNever: no limit; 0: only looks).
// Returns how many have one; 0: the deadline has passed; -1 with errno set, never EINTR.
int poll_until(pollfd* entries, nfds_t count, std::uint64_t deadline) noexcept;

}  // namespace ipcq::detail
