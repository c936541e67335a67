#include "announce.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <ipcq/error.hpp>

#include <fmt/format.h>

#include "program/exit_code.hpp"
#include "program/file_descriptor.hpp"
#include "program/inherited_descriptors.hpp"
#include "program/logging.hpp"
#include "program/stoppable_io.hpp"

namespace ipcq::program {

namespace {

constexpr timeval kNotifyPatience{5, 0};

}  // namespace

void require_announceable(int fd) {
  if (!can_write_inherited(fd)) {
    throw UsageError(
        fmt::format("--ready-fd {}: not a descriptor that was open for writing when the broker started; "
                    "open it where the broker is started, as in `ipcq-broker ... --ready-fd {} {}>FILE`",
                    fd, fd, fd));
  }
  if (fd > STDERR_FILENO) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
}

void announce_on_descriptor(int fd, const Signals& signals) {
  char newline = '\n';
  const iovec part{&newline, 1};
  StopGrace grace;
  const ssize_t count = write_some(fd, {&part, 1}, &signals, grace);
  if (count < 0 && count != -ECANCELED) {
    throw Failure(kUsage,
                  fmt::format("--ready-fd {}: cannot write there: {}", fd, std::strerror(static_cast<int>(-count))));
  }
  if (fd > STDERR_FILENO) ::close(fd);
}

void notify_service_manager(const char* state) noexcept {
  const char* path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (*path != '/' && *path != '@')) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, path, length);
  if (*path == '@') address.sun_path[0] = '\0';  // abstract name
  const FileDescriptor socket(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  ::setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &kNotifyPatience, sizeof kNotifyPatience);
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  if (!socket.valid() || ::sendto(socket.get(), state, std::strlen(state), MSG_NOSIGNAL,
                                  reinterpret_cast<const sockaddr*>(&address), size) < 0) {
    log::warn("cannot notify the service manager at {}: {}", path, std::strerror(errno));
  }
}

}  // namespace ipcq::program
