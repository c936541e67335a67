#include "announce.hpp"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "common/exit_code.hpp"
#include "common/file_descriptor.hpp"

namespace ipcq::program {

void announce_on_descriptor(int fd) {
  if (::write(fd, "\n", 1) != 1) {
    throw Failure(kUsage, fmt::format("--ready-fd {}: cannot write there: {}", fd, std::strerror(errno)));
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
  const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length);
  if (!socket.valid() || ::sendto(socket.get(), state, std::strlen(state), MSG_NOSIGNAL,
                                  reinterpret_cast<const sockaddr*>(&address), size) < 0) {
    spdlog::warn("cannot notify the service manager at {}: {}", path, std::strerror(errno));
  }
}

}  // namespace ipcq::program
