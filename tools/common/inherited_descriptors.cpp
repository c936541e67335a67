#include "common/inherited_descriptors.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace ipcq::program {
namespace {

// Of descriptors 0 to 2, written once, before there is a second thread.
std::array<bool, STDERR_FILENO + 1> was_closed{};

// Everything that programs and library open is close-on-exec, and nothing is that has come through an exec.
bool is_inherited(int fd) noexcept {
  if (fd < 0 || (fd <= STDERR_FILENO && was_closed[static_cast<std::size_t>(fd)])) return false;
  const int flags = ::fcntl(fd, F_GETFD);
  return flags >= 0 && (flags & FD_CLOEXEC) == 0;
}

bool is_open_for(int fd, int mode) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  if (flags < 0 || (flags & O_PATH) != 0) return false;
  return (flags & O_ACCMODE) == mode || (flags & O_ACCMODE) == O_RDWR;
}

}  // namespace

void open_standard_descriptors() noexcept {
  constexpr std::array<int, STDERR_FILENO + 1> kModes{O_WRONLY, O_RDONLY, O_WRONLY};  // of 0 and 1 the wrong ones
  for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; ++fd) {
    if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    const auto index = static_cast<std::size_t>(fd);
    was_closed[index] = true;
    if (::open("/dev/null", kModes[index]) == fd) continue;  // the lowest free number
    const char* const error = std::strerror(errno);
    std::fprintf(stderr, "descriptor %d is closed, and /dev/null cannot be opened in its place: %s\n", fd, error);
    std::_Exit(EXIT_FAILURE);
  }
}

bool can_read_inherited(int fd) noexcept { return is_inherited(fd) && is_open_for(fd, O_RDONLY); }
bool can_write_inherited(int fd) noexcept { return is_inherited(fd) && is_open_for(fd, O_WRONLY); }

int descriptor_named(std::string_view path) noexcept {
  if (path == "/dev/stdin") return STDIN_FILENO;
  if (path == "/dev/stdout") return STDOUT_FILENO;
  if (path == "/dev/stderr") return STDERR_FILENO;
  for (const std::string_view folder : {"/dev/fd/", "/proc/self/fd/"}) {
    if (!path.starts_with(folder)) continue;
    int fd = -1;
    const char* const end = path.data() + path.size();
    const auto [stop, error] = std::from_chars(path.data() + folder.size(), end, fd);
    return error == std::errc() && stop == end ? fd : -1;
  }
  return -1;
}

}  // namespace ipcq::program
