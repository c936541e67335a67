#include "output.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "common/exit_code.hpp"

namespace ipcq::program {

Output::Output(const std::string& path) : name_(path == "-" ? "standard output" : "'" + path + "'") {
  fd_ = FileDescriptor(path == "-" ? STDOUT_FILENO
                                   : ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
  if (!fd_.valid()) {
    const int error = errno;
    throw Failure(error == EACCES || error == EPERM ? kPermission : kUsage,
                  fmt::format("cannot create output '{}': {}", path, std::strerror(error)));
  }
}

bool Output::write(std::span<Message> messages, const std::function<void(const Message&)>& count) {
  written_ = 0;
  const int error = write_all(messages);
  // A status other than ok means that the broker is gone; the next receive says so.
  for (Message& message : messages.first(written_)) {
    count(message);
    static_cast<void>(message.release());
  }
  for (Message& message : messages.subspan(written_)) static_cast<void>(message.nack());
  if (error == 0) return true;
  if (error == EPIPE) return false;
  throw Failure(kFailure, fmt::format("cannot write to {}: {}; the messages not written went back to the queue", name_,
                                      std::strerror(error)));
}

// Counts written_ up to the messages written whole; returns an errno, or 0 when that is all of them.
int Output::write_all(std::span<Message> messages) {
  std::size_t skip = 0;  // bytes of the first unwritten message that are out already
  while (written_ < messages.size()) {
    std::array<iovec, 64> parts;
    const auto rest = messages.subspan(written_, std::min(parts.size(), messages.size() - written_));
    for (std::size_t i = 0; i < rest.size(); ++i) {
      const auto bytes = rest[i].bytes().subspan(i == 0 ? skip : 0);
      parts[i] = {const_cast<std::byte*>(bytes.data()), bytes.size()};  // NOLINT: writev only reads
    }
    const ssize_t count = ::writev(fd_.get(), parts.data(), static_cast<int>(rest.size()));
    if (count < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN) return errno;
      pollfd entry{fd_.get(), POLLOUT, 0};  // somebody made the pipe non-blocking
      ::poll(&entry, 1, -1);
      continue;
    }
    skip += static_cast<std::size_t>(count);
    while (written_ < messages.size() && skip >= messages[written_].bytes().size()) {
      skip -= messages[written_].bytes().size();
      ++written_;
    }
  }
  return 0;
}

void Output::close() {
  if (fd_.get() <= STDERR_FILENO) return;
  if (::close(fd_.release()) != 0) {
    throw Failure(kFailure, fmt::format("cannot finish {}: {}", name_, std::strerror(errno)));
  }
}

}  // namespace ipcq::program
