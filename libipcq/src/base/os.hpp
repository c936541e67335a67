// File descriptors with one owner, small system calls with their errno kept, and the names and paths of brokers.
// Includes fork.hpp, system_error.hpp and thread.hpp, which nearly every user of this header needs.
//
// The functions are thread-safe; an Fd is for one thread at a time. Every descriptor made here is close-on-exec.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>

#include "base/fork.hpp"
#include "base/system_error.hpp"
#include "base/thread.hpp"
#include "ipcq/export.hpp"

namespace ipcq::detail {

// Owns a file descriptor, and closes it.
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
  int release() noexcept { return std::exchange(fd_, -1); }  // it is not closed by this object any more

 private:
  int fd_ = -1;
};

// Opens /dev/null as each of the standard descriptors that is closed: else the next file that this process opens would
// become one of them, and what writes to standard error would write into that.
void reserve_standard_descriptors() noexcept;

// Takes the exclusive flock by which a process shows that it lives. Tries for 50 ms, since is_locked() of another
// process holds a shared lock for an instant. False if another process holds the lock (EWOULDBLOCK), or if the file
// cannot be locked (any other errno).
bool lock_file(int fd) noexcept;
// Whether a process holds that lock. True also where flock() fails for another reason.
bool is_locked(int fd) noexcept;

// A descriptor that becomes readable when the process ends. Invalid, with errno set, on failure.
Fd open_pidfd(pid_t pid) noexcept;
// Whether the process of a pidfd has ended.
bool has_ended(const Fd& pidfd) noexcept;
// Whether the other end of a connected Unix socket is closed in every process that had it, forked children included (or
// is shut down for sending, which looks the same).
bool has_hung_up(int socket) noexcept;
// Another descriptor of the same open file, close-on-exec. Throws SystemError with `object`.
Fd copy_of(const Fd& fd, const std::string& object);
// Whether a process is stopped (SIGSTOP, a debugger).
bool is_stopped(pid_t pid) noexcept;

// A non-blocking eventfd that wakes a poll loop: readable from signal_eventfd() until drain_eventfd().
Fd make_eventfd();
void signal_eventfd(int fd) noexcept;
void drain_eventfd(int fd) noexcept;

// The directory of sockets and locks of this user's brokers: $XDG_RUNTIME_DIR/ipcq, else /run/ipcq for root, else
// /tmp/ipcq-UID. `make`: creates it (mode 0700) if it is missing. Throws PermissionError when it belongs to a user
// other than this one and root, UsageError when it is a file of this user, SystemError when it cannot be made.
std::string run_directory(bool make);
// "$IPCQ_BROKER", else "default", for an empty name.
std::string broker_name_or_default(const std::string& name);
// The control socket's path for a broker name; a name with a slash is the path itself. Throws UsageError for a name
// that is not one, else as run_directory().
std::string socket_path_of(const std::string& broker);
// Of a broker, queue, pool or group, in characters. layout/text_field.cpp holds it to the fields that names lie in.
inline constexpr std::size_t kLongestName = 63;
// Whether it is 1 to kLongestName ASCII letters, digits, '.', '_' or '-', not beginning with '.' or '-'.
bool is_name(const std::string& name) noexcept;
// Throws UsageError unless is_name(name). `what` is the kind of object, for the message: "queue".
void check_name(const std::string& name, const char* what);
// Throws UsageError for a text with a zero byte, at which a system call would cut it off.
void check_c_string(const std::string& text, const char* what);
// The text with control characters as \xNN, for a message.
std::string printable(const std::string& text);
// An error's text that names its object: with "OBJECT: " before it, unless it begins with the object.
std::string naming(const std::string& object, const std::string& text);

// "512 B", "23.7 MiB".
std::string format_bytes(std::uint64_t bytes);

}  // namespace ipcq::detail
