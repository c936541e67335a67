#include "base/peer.hpp"

#include <sys/socket.h>

#include <cerrno>

namespace ipcq::detail {
namespace {

constexpr int kPeerPidfd = 77;  // SO_PEERPIDFD of Linux 6.5, which older headers lack

}  // namespace

bool get_peer(int socket, Peer& peer) noexcept {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return false;
  peer = {credentials.pid, credentials.uid};
  return true;
}

bool ask_for_senders(int socket) noexcept {
  const int on = 1;
  return ::setsockopt(socket, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) == 0;
}

Fd process_behind(int socket) noexcept {
  Peer peer;
  if (!get_peer(socket, peer)) return {};
  if (peer.pid <= 0) {
    errno = 0;
    return {};
  }
  int pidfd = -1;
  socklen_t size = sizeof pidfd;
  if (::getsockopt(socket, SOL_SOCKET, kPeerPidfd, &pidfd, &size) == 0) return Fd(pidfd);
  // Before Linux 6.16 the kernel gives no pidfd of a process that has been reaped.
  if (errno == EINVAL || errno == ENODATA) errno = ESRCH;
  if (errno != ENOPROTOOPT) return {};
  return open_pidfd(peer.pid);
}

}  // namespace ipcq::detail
