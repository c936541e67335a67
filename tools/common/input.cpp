#include "common/input.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "common/exit_code.hpp"

namespace ipcq::program {

Input::Input(const std::string& path, const Signals& signals)
    : name_(path == "-" ? "standard input" : path), signals_(signals) {
  fd_ = FileDescriptor(path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd_.valid()) {
    const int error = errno;
    throw Failure(error == EACCES || error == EPERM ? kPermission : kUsage,
                  fmt::format("cannot open input '{}': {}", path, std::strerror(error)));
  }
  struct stat status {};
  may_block_ = ::fstat(fd_.get(), &status) != 0 || !S_ISREG(status.st_mode);
}

std::size_t Input::read(std::span<std::byte> into) {
  for (;;) {
    if (signals_.stop_requested()) return 0;
    if (may_block_) {
      pollfd entries[2] = {{fd_.get(), POLLIN, 0}, {signals_.stop_fd(), POLLIN, 0}};
      if (::poll(entries, 2, -1) < 0 || entries[1].revents != 0) continue;
    }
    const ssize_t count = ::read(fd_.get(), into.data(), into.size());
    if (count >= 0) return static_cast<std::size_t>(count);
    if (errno != EINTR && errno != EAGAIN) {
      throw Failure(kFailure, fmt::format("cannot read {}: {}", name_, std::strerror(errno)));
    }
  }
}

std::size_t Input::read_fully(std::span<std::byte> into) {
  std::size_t done = 0;
  while (done < into.size()) {
    const std::size_t count = read(into.subspan(done));
    if (count == 0) break;
    done += count;
  }
  return done;
}

}  // namespace ipcq::program
