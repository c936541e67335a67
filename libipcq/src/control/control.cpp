#include "control/control.hpp"

#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/peer.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

bool fill_address(const std::string& path, sockaddr_un& address) noexcept {
  if (path.size() >= sizeof address.sun_path) return false;
  address = {};
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  return true;
}

// Removes the name of the socket again unless listen() has succeeded.
struct UnlinkUnless {
  const std::string& path;
  bool done = false;
  ~UnlinkUnless() {
    if (!done) ::unlink(path.c_str());
  }
};

}  // namespace

bool send_message(int socket, const void* message, std::size_t bytes, int fd) noexcept {
  iovec io{const_cast<void*>(message), bytes};
  msghdr m{};
  m.msg_iov = &io;
  m.msg_iovlen = 1;
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {};
  if (fd >= 0) {
    m.msg_control = space;
    m.msg_controllen = sizeof space;
    cmsghdr* c = CMSG_FIRSTHDR(&m);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
  }
  for (;;) {
    const ssize_t sent = ::sendmsg(socket, &m, MSG_NOSIGNAL);
    if (sent == static_cast<ssize_t>(bytes)) return true;
    if (sent >= 0 || errno != EINTR) return false;
  }
}

int receive_message(int socket, void* message, std::size_t bytes, Fd& fd) noexcept {
  iovec io{message, bytes};
  msghdr m{};
  m.msg_iov = &io;
  m.msg_iovlen = 1;
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(int))] = {};
  m.msg_control = space;
  m.msg_controllen = CMSG_LEN(sizeof(int));  // room for one descriptor; more set MSG_CTRUNC
  ssize_t got = -1;
  do {
    got = ::recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
  } while (got < 0 &&
           (errno == EINTR || errno == ECONNRESET));  // reset, once: what the peer sent before is still there
  if (got < 0) return -1;
  for (cmsghdr* c = CMSG_FIRSTHDR(&m); c != nullptr; c = CMSG_NXTHDR(&m, c)) {
    if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
      int received = -1;
      std::memcpy(&received, CMSG_DATA(c), sizeof received);
      fd.reset(received);
    }
  }
  if (got == 0) return 0;
  const bool wrong_size = got != static_cast<ssize_t>(bytes) || (m.msg_flags & MSG_TRUNC) != 0;
  if (wrong_size || (m.msg_flags & MSG_CTRUNC) != 0) {
    errno = wrong_size || fd ? EPROTO : EMFILE;  // the kernel drops a descriptor that it finds no number for
    return -1;
  }
  return 1;
}

Peek peek_next(int socket, void* into, std::size_t bytes, Incoming& message) noexcept {
  iovec io{into, bytes};
  alignas(cmsghdr) char space[CMSG_SPACE(sizeof(ucred))] = {};  // room for the sender; a descriptor sets MSG_CTRUNC
  msghdr m{};
  m.msg_iov = &io;
  m.msg_iovlen = 1;
  ssize_t got = -1;
  do {
    m.msg_control = space;
    m.msg_controllen = sizeof space;
    got = ::recvmsg(socket, &m, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
  } while (got < 0 &&
           (errno == EINTR || errno == ECONNRESET));  // reset, once: what the peer sent before is still there
  if (got < 0) return errno == EAGAIN ? Peek::nothing : Peek::closed;
  const cmsghdr* const c = CMSG_FIRSTHDR(&m);
  if (c == nullptr) return Peek::closed;  // every message states its sender, even an empty one
  ucred sender{};
  if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS) {
    std::memcpy(&sender, CMSG_DATA(c), sizeof sender);
  }
  message = {static_cast<std::size_t>(got), (m.msg_flags & MSG_CTRUNC) != 0, sender.pid};
  return Peek::message;
}

void drop_next(int socket) noexcept {
  while (::recv(socket, nullptr, 0, MSG_DONTWAIT) < 0 && errno == EINTR) {
  }
}

Fd connect_socket(const std::string& path) noexcept {
  sockaddr_un address{};
  if (!fill_address(path, address)) {
    errno = ENAMETOOLONG;
    return {};
  }
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  while (fd && ::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    const int error = errno;
    if (error == EINTR) continue;
    fd.reset();
    errno = error;
  }
  return fd;
}

Fd listen_socket(const std::string& path, std::uint32_t mode, std::int64_t gid) {
  sockaddr_un address{};
  if (!fill_address(path, address)) {
    throw UsageError("control socket " + path + ": the path has " + std::to_string(path.size()) + " bytes, " +
                     std::to_string(sizeof address.sun_path - 1) + " are possible; use a shorter XDG_RUNTIME_DIR");
  }
  Fd fd(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) throw_system(errno, "socket", "control socket " + path);
  if (::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    throw_system(errno, "bind", "control socket " + path);
  }
  UnlinkUnless made{path};
  const std::string object = "control socket " + path;
  if (gid >= 0 && ::chown(path.c_str(), static_cast<uid_t>(-1), static_cast<gid_t>(gid)) != 0) {
    throw_system(errno, "chown", object);
  }
  if (::chmod(path.c_str(), mode) != 0) throw_system(errno, "chmod", object);
  if (!ask_for_senders(fd.get())) throw_system(errno, "setsockopt(SO_PASSCRED)", object);
  if (::listen(fd.get(), 128) != 0) throw_system(errno, "listen", object);
  made.done = true;
  return fd;
}

Reply refuse(Refusal why, const std::string& text) {
  Reply r;
  r.refusal = why;
  set_text(r.text, sizeof r.text, text);
  return r;
}

Fd make_memfd(const std::string& content) {
  Fd fd(memfd_create("ipcq-answer", MFD_CLOEXEC));
  if (!fd) throw_system(errno, "memfd_create", "broker answer");
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = ::write(fd.get(), content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) throw_system(errno, "write", "broker answer");
    done += static_cast<std::size_t>(n);
  }
  return fd;
}

std::string read_memfd(int fd, const std::string& object) {
  struct stat st {};
  if (::fstat(fd, &st) != 0) throw_system(errno, "fstat", object);
  std::string content(static_cast<std::size_t>(st.st_size), '\0');
  std::size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = ::pread(fd, content.data() + done, content.size() - done, static_cast<off_t>(done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) throw_system(n == 0 ? EIO : errno, "pread", object);
    done += static_cast<std::size_t>(n);
  }
  return content;
}

}  // namespace ipcq::detail
