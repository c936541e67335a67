// The process at the other end of a connected Unix socket, as the kernel states it. Nothing here trusts what that
// process says, and nothing needs /proc.
#pragma once

#include <sys/types.h>

#include "base/os.hpp"

namespace ipcq::detail {

struct Peer {
  pid_t pid = 0;  // as this process' PID namespace sees it; 0: not at all
  uid_t uid = static_cast<uid_t>(-1);
};
// Who connected to this end, or who listens at the other. False with errno set.
bool get_peer(int socket, Peer& peer) noexcept;

// From now on each message that this socket, or one accepted from it, receives says which process sent it.
bool ask_for_senders(int socket) noexcept;

// A pidfd of that process. Else none, and errno says why:
//   ESRCH           it has ended
//   0               this process' PID namespace does not see it
//   ENOSYS, EPERM   the kernel is older than Linux 5.3; or valgrind or a seccomp profile older than that stands between
//   EMFILE and others: this process lacks something
Fd process_behind(int socket) noexcept;

}  // namespace ipcq::detail
