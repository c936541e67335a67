// Identifies the process at the other end of a connected Unix socket. All comes from the kernel: nothing here relies on
// what that process sends, or on /proc. Thread-safe.
#pragma once

#include <sys/types.h>

#include "base/os.hpp"

namespace ipcq::detail {

struct Peer {
  pid_t pid = 0;  // in this process' PID namespace; 0: not visible in it
  uid_t uid = static_cast<uid_t>(-1);
};
// The process that called connect(), for an accepted socket, or listen(), for a connecting one: as it was at that call.
// False with errno set.
bool get_peer(int socket, Peer& peer) noexcept;

// Whether that process was a member of the group, as of then: by its effective or a supplementary group.
bool peer_is_in_group(int socket, gid_t gid) noexcept;

// From now on the kernel adds the sender's credentials (SCM_CREDENTIALS) to each message that this socket, or one
// accepted from it, receives. False with errno set.
bool ask_for_senders(int socket) noexcept;

// A pidfd of the process of get_peer(). Otherwise none, with errno:
//   ESRCH           the process has ended
//   0               the process is not visible in this process' PID namespace
//   ENOSYS, EPERM   the kernel is older than Linux 5.3, or a seccomp profile (or valgrind) refuses the call
//   EMFILE, others  this process lacks a resource
Fd process_behind(int socket) noexcept;

}  // namespace ipcq::detail
