#include "base/os.hpp"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>

#include "ipcq/error.hpp"

namespace ipcq::detail {

void Fd::reset(int fd) noexcept {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

void reserve_standard_descriptors() noexcept {
  for (const int fd : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (::fcntl(fd, F_GETFD) >= 0 || errno != EBADF) continue;
    (void)::open("/dev/null", O_RDWR);  // becomes the lowest that is free, which is this one
  }
}

bool lock_file(int fd) noexcept {
  constexpr int kTries = 50;
  for (int i = 0; i < kTries; ++i) {
    if (::flock(fd, LOCK_EX | LOCK_NB) == 0) return true;
    if (errno != EWOULDBLOCK && errno != EINTR) return false;
    ::usleep(1000);
  }
  errno = EWOULDBLOCK;
  return false;
}

bool is_locked(int fd) noexcept {
  if (::flock(fd, LOCK_SH | LOCK_NB) != 0) return true;
  ::flock(fd, LOCK_UN);
  return false;
}

Fd open_pidfd(pid_t pid) noexcept { return Fd(static_cast<int>(syscall(SYS_pidfd_open, pid, 0))); }

bool has_ended(const Fd& pidfd) noexcept {
  pollfd p{pidfd.get(), POLLIN, 0};
  return ::poll(&p, 1, 0) == 1;
}

bool has_hung_up(int socket) noexcept {
  pollfd p{socket, POLLRDHUP, 0};
  return ::poll(&p, 1, 0) == 1;
}

Fd copy_of(const Fd& fd, const std::string& object) {
  Fd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy) throw_system(errno, "dup", object);
  return copy;
}

bool is_stopped(pid_t pid) noexcept {
  std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
  std::string line;
  std::getline(stat, line);
  const auto name_end = line.rfind(')');
  if (name_end == std::string::npos || name_end + 2 >= line.size()) return false;
  const char state = line[name_end + 2];
  return state == 'T' || state == 't';
}

Fd make_eventfd() {
  Fd fd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!fd) throw_system(errno, "eventfd", "libipcq");
  return fd;
}

void signal_eventfd(int fd) noexcept {
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(fd, &one, sizeof one);  // EAGAIN: full, so signalled already
}

void drain_eventfd(int fd) noexcept {
  std::uint64_t count = 0;
  [[maybe_unused]] const auto read = ::read(fd, &count, sizeof count);
}

namespace {

// Refuses what belongs to a user other than this one and root, who could replace the sockets in it.
void check_run_directory(const std::string& dir) {
  struct stat st {};
  if (::lstat(dir.c_str(), &st) != 0) return;
  const bool is_mine = st.st_uid == geteuid();
  if (S_ISDIR(st.st_mode) && (is_mine || st.st_uid == 0)) return;
  const std::string own = "set XDG_RUNTIME_DIR to a directory of this user (uid " + std::to_string(geteuid()) + ")";
  if (is_mine) throw UsageError(dir + ": is no directory; remove it, or " + own);
  throw PermissionError(dir + ": belongs to another user (uid " + std::to_string(st.st_uid) + "); " + own +
                        ", or ask that user or root to remove it");
}

}  // namespace

std::string run_directory(bool make) {
  std::string dir;
  const char* xdg = std::getenv("XDG_RUNTIME_DIR");
  if (xdg != nullptr && *xdg != '\0') {
    dir = std::string(xdg) + "/ipcq";
  } else if (geteuid() == 0) {
    dir = "/run/ipcq";
  } else {
    dir = "/tmp/ipcq-" + std::to_string(geteuid());
  }
  if (make && ::mkdir(dir.c_str(), 0700) != 0 && errno != EEXIST) {
    throw_system(errno, "mkdir", dir);
  }
  check_run_directory(dir);
  return dir;
}

std::string broker_name_or_default(const std::string& name) {
  if (!name.empty()) return name;
  const char* env = std::getenv("IPCQ_BROKER");
  return env != nullptr && *env != '\0' ? env : "default";
}

std::string socket_path_of(const std::string& broker) {
  if (broker.find('/') != std::string::npos) {
    check_c_string(broker, "broker name");
    return broker;
  }
  check_name(broker, "broker");
  return run_directory(false) + "/" + broker + ".sock";
}

bool is_name(const std::string& name) noexcept {
  const auto is_allowed = [](char c) {  // isalnum() would depend on the locale, and strchr() would find the zero byte
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  };
  return !name.empty() && name.size() <= kLongestName && name[0] != '.' && name[0] != '-' &&
         std::all_of(name.begin(), name.end(), is_allowed);
}

void check_name(const std::string& name, const char* what) {
  if (is_name(name)) return;
  throw UsageError(std::string(what) + " name '" + printable(name) + "': use 1 to " + std::to_string(kLongestName) +
                   " letters, digits, '.', '_' or '-', not starting with '.' or '-'");
}

void check_c_string(const std::string& text, const char* what) {
  if (text.find('\0') == std::string::npos) return;
  throw UsageError(std::string(what) + " '" + printable(text) + "': holds a zero byte, which nothing can be called");
}

std::string naming(const std::string& object, const std::string& text) {
  return text.rfind(object, 0) == 0 ? text : object + ": " + text;
}

std::string printable(const std::string& text) {
  std::string shown;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    char code[8];
    std::snprintf(code, sizeof code, "\\x%02x", byte);
    shown += byte < 0x20 || byte == 0x7f ? std::string(code) : std::string(1, c);
  }
  return shown;
}

std::string format_bytes(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  auto value = static_cast<double>(bytes);
  unsigned unit = 0;
  constexpr double kShowsAs1024 = 1023.95;  // with one decimal
  while (value >= (unit == 0 ? 1024 : kShowsAs1024) && unit < 4) value /= 1024, ++unit;
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", value, kUnits[unit]);
  return text;
}

}  // namespace ipcq::detail
