// Owners of system handles, and names of objects in the system. Brings errors of the system, forks and threads along.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <utility>

#include "base/fork.hpp"
#include "base/system_error.hpp"
#include "base/thread.hpp"
#include "ipcq/export.hpp"

namespace ipcq::detail {

// A file descriptor, closed at the end.
class Fd {
 public:
  Fd() noexcept = default;
  explicit Fd(int fd) noexcept : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  ~Fd() { reset(); }
  int get() const noexcept { return fd_; }
  explicit operator bool() const noexcept { return fd_ >= 0; }
  void reset(int fd = -1) noexcept;

 private:
  int fd_ = -1;
};

// Takes the exclusive flock that says that the owner lives. False if another process keeps it (EWOULDBLOCK; one that
// only tests with is_locked() unlocks at once), or if the file cannot be locked (any other errno).
bool lock_file(int fd) noexcept;
// Whether a process has that lock.
bool is_locked(int fd) noexcept;

// A descriptor that becomes readable when the process ends. Invalid (errno set) when there is none.
Fd open_pidfd(pid_t pid) noexcept;
// Whether the process of a pidfd has ended.
bool has_ended(const Fd& pidfd) noexcept;
// Whether no process has the other end of a connected Unix socket any more, not even a forked child.
bool has_hung_up(int socket) noexcept;
// Another descriptor of the same open file, close-on-exec. Throws SystemError with `object`.
Fd copy_of(const Fd& fd, const std::string& object);
// Whether a process is stopped (SIGSTOP, a debugger).
bool is_stopped(pid_t pid) noexcept;

// Signals a poll loop; readable until drained.
Fd make_eventfd();
void signal_eventfd(int fd) noexcept;
void drain_eventfd(int fd) noexcept;

// Where sockets and locks of this user's brokers are; made if missing (make).
std::string run_directory(bool make);
// "$IPCQ_BROKER", else "default", for an empty name.
std::string broker_name_or_default(const std::string& name);
// Control socket of a broker name; a name with a slash is the path itself.
std::string socket_path_of(const std::string& broker);
// Whether it is 1 to 63 letters, digits, '.', '_' or '-', not beginning with '.' or '-'.
bool is_name(const std::string& name) noexcept;
// Throws UsageError unless it is one. `what` names the kind of object.
void check_name(const std::string& name, const char* what);
// Throws UsageError when a zero byte would cut off what a system call is given.
void check_c_string(const std::string& text, const char* what);
// The text with control characters as \xNN, for a message.
std::string printable(const std::string& text);

std::string format_bytes(std::uint64_t bytes);

}  // namespace ipcq::detail
