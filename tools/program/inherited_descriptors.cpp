#include "program/inherited_descriptors.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace ipcq::program {
namespace {

// For descriptors 0 to 2. Written before a second thread starts.
std::array<bool, STDERR_FILENO + 1> was_closed{};

// An inherited descriptor has come through an exec, so it is not close-on-exec; all that programs and library open is.
bool is_inherited(int fd) noexcept {
  if (fd < 0 || was_closed_at_start(fd)) return false;
  const int flags = ::fcntl(fd, F_GETFD);
  return flags >= 0 && (flags & FD_CLOEXEC) == 0;
}

bool is_open_for(int fd, int mode) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_PATH) != 0) return false;
  return (flags & O_ACCMODE) == mode || (flags & O_ACCMODE) == O_RDWR;
}

// The number of the descriptor that a path names; -1 for other paths.
int descriptor_named(const std::string& path) {
  const std::string plain = std::filesystem::path(path).lexically_normal();
  if (plain == "/dev/stdin") return STDIN_FILENO;
  if (plain == "/dev/stdout") return STDOUT_FILENO;
  if (plain == "/dev/stderr") return STDERR_FILENO;
  const std::string own = "/proc/" + std::to_string(::getpid()) + "/fd/";
  for (const std::string& folder :
       {std::string("/dev/fd/"), std::string("/proc/self/fd/"), std::string("/proc/thread-self/fd/"), own}) {
    if (!plain.starts_with(folder)) continue;
    int fd = -1;
    const char* const end = plain.data() + plain.size();
    const auto [stop, error] = std::from_chars(plain.data() + folder.size(), end, fd);
    return error == std::errc() && stop == end ? fd : -1;
  }
  return -1;
}

bool is_stand_in(const std::string& path) noexcept {
  const auto closed = std::find(was_closed.begin(), was_closed.end(), true);
  if (closed == was_closed.end()) return false;
  struct stat here {
  }, there{};
  return ::fstat(static_cast<int>(closed - was_closed.begin()), &here) == 0 && ::stat(path.c_str(), &there) == 0 &&
         here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

}  // namespace

void open_standard_descriptors() noexcept {
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    was_closed[static_cast<std::size_t>(fd)] = true;
    if (::open("/", O_PATH | O_DIRECTORY) == fd) continue;  // the lowest free number
    const char* const error = std::strerror(errno);
    std::fprintf(stderr, "descriptor %d is closed, and nothing can be opened in its place: %s\n", fd, error);
    std::_Exit(EXIT_FAILURE);
  }
}

bool was_closed_at_start(int fd) noexcept {
  return fd >= 0 && fd <= STDERR_FILENO && was_closed[static_cast<std::size_t>(fd)];
}
bool can_read_inherited(int fd) noexcept { return is_inherited(fd) && is_open_for(fd, O_RDONLY); }
bool can_write_inherited(int fd) noexcept { return is_inherited(fd) && is_open_for(fd, O_WRONLY); }

bool leads_to_unreadable_descriptor(const std::string& path) {
  const int fd = descriptor_named(path);
  return (fd >= 0 && !can_read_inherited(fd)) || is_stand_in(path);
}
bool leads_to_unwritable_descriptor(const std::string& path) {
  const int fd = descriptor_named(path);
  return (fd >= 0 && !can_write_inherited(fd)) || is_stand_in(path);
}

}  // namespace ipcq::program
