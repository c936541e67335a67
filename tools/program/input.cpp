#include "program/input.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include <fmt/format.h>

#include "program/exit_code.hpp"
#include "program/inherited_descriptors.hpp"
#include "program/stoppable_io.hpp"

namespace ipcq::program {

namespace {

[[noreturn]] void refuse(const std::string& path, int error) {
  throw Failure(error == EACCES || error == EPERM ? kPermission : kUsage,
                fmt::format("cannot read input '{}': {}", path, std::strerror(error)));
}

}  // namespace

Input::Input(const std::string& path, const Signals& signals)
    : name_(path == "-" ? "standard input" : path), signals_(signals) {
  if (path == "-" ? !can_read_inherited(STDIN_FILENO) : leads_to_unreadable_descriptor(path)) {
    throw Failure(kUsage, fmt::format("cannot read {}: it was not open for reading when this program started", name_));
  }
  fd_ = FileDescriptor(path == "-" ? STDIN_FILENO : ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  if (!fd_.valid()) refuse(path, errno);
  struct stat status {};
  if (::fstat(fd_.get(), &status) == 0 && S_ISDIR(status.st_mode)) refuse(path, EISDIR);
}

std::size_t Input::read(std::span<std::byte> into) {
  const ssize_t count = read_some(fd_.get(), into, signals_);
  if (count >= 0) return static_cast<std::size_t>(count);
  if (count == -ECANCELED) return 0;
  throw Failure(kFailure, fmt::format("cannot read {}: {}", name_, std::strerror(static_cast<int>(-count))));
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
