#include "base/peer.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <new>
#include <vector>

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

bool peer_is_in_group(int socket, gid_t gid) noexcept {
  ucred credentials{};
  socklen_t size = sizeof credentials;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0 && credentials.gid == gid) return true;
  gid_t few[64];
  size = sizeof few;
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, few, &size) == 0) {
    return std::find(few, few + size / sizeof *few, gid) != few + size / sizeof *few;
  }
  if (errno != ERANGE) return false;
  std::vector<gid_t> many;  // size has been set to what they need
  try {
    many.resize(size / sizeof(gid_t));
  } catch (const std::bad_alloc&) {
    return false;
  }
  if (::getsockopt(socket, SOL_SOCKET, SO_PEERGROUPS, many.data(), &size) != 0) return false;
  return std::find(many.begin(), many.end(), gid) != many.end();
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
