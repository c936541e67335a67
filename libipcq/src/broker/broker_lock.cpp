#include "broker/broker_lock.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <optional>

namespace ipcq::detail {
namespace {

constexpr const char* kMark = "ipcq-broker ";

// The pid in a marked file; 0 for an empty one, whose creator has not called mark(); nullopt for any other content.
std::optional<std::int32_t> pid_in(int fd) noexcept {
  char text[64] = {};
  const ssize_t size = ::pread(fd, text, sizeof text - 1, 0);
  if (size == 0) return 0;
  int pid = 0;
  int end = 0;
  if (size < 0 || std::sscanf(text, "ipcq-broker %d%n", &pid, &end) != 1) return std::nullopt;
  if (end + 1 != size || text[end] != '\n') return std::nullopt;
  return pid;
}

bool is_ours(const struct stat& status) noexcept { return S_ISREG(status.st_mode) && status.st_uid == geteuid(); }

}  // namespace

Obstacle::Obstacle(const BrokerPlace& place, const std::string& what, const std::string& remedy)
    : UsageError("broker '" + printable(place.name()) + "': " + what + "; nothing was changed: " + remedy +
                 ", or choose another --name"),
      broker_(printable(place.name())),
      what_(what),
      remedy_(remedy) {}

std::string Obstacle::to_cleaner() const {
  return "broker '" + broker_ + "': its socket is left: " + what_ + "; " + remedy_ + ", and clean again";
}

BrokerLock::BrokerLock(const BrokerPlace& place) : place_(&place) {
  try {
    take();
  } catch (...) {
    if (made_) remove();
    throw;
  }
}

BrokerLock::~BrokerLock() {
  if (made_) remove();
}

void BrokerLock::refuse(const std::string& what) const {
  throw Obstacle(*place_, what + ", no lock file of a broker", "move it away");
}

// False when another process has created or removed the file in between: try again.
bool BrokerLock::open() {
  const auto there = place_->status_of(place_->lock_file());
  if (there && !is_ours(*there)) refuse(describe(printable(place_->lock_path()), *there));
  // The kernel may refuse O_CREAT on what exists in a directory that all may write to. Mode 0600, since another user
  // that could open the file could lock it.
  const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | (there ? 0 : O_CREAT | O_EXCL);
  fd_ = Fd(::openat(place_->directory(), place_->lock_file().c_str(), flags, 0600));
  if (!fd_ && errno == (there ? ENOENT : EEXIST)) return false;
  if (!fd_) throw_system(errno, "open", "lock file " + place_->lock_path());
  made_ = !there;
  return true;
}

void BrokerLock::take() {
  for (;;) {
    if (!open()) continue;
    struct stat held {};
    if (::fstat(fd_.get(), &held) != 0) throw_system(errno, "fstat", "lock file " + place_->lock_path());
    const auto pid = pid_in(fd_.get());
    if (!is_ours(held)) refuse(describe(printable(place_->lock_path()), held));
    if (!pid) refuse(describe(printable(place_->lock_path()), held) + " with another content");
    if (!lock_file(fd_.get())) {
      made_ = false;
      if (errno != EWOULDBLOCK) throw_system(errno, "flock", "lock file " + place_->lock_path());
      throw UsageError("broker '" + printable(place_->name()) + "': a live broker has this name (pid " +
                       std::to_string(pid_in(fd_.get()).value_or(0)) + ", " + printable(place_->socket_path()) +
                       "); stop it, or choose another --name");
    }
    // Another process may have removed the file before it was locked.
    const auto named = place_->status_of(place_->lock_file());
    if (!named || !is_same_file(*named, held)) continue;
    was_left_ = *pid != 0;
    if ((held.st_mode & 077) != 0) (void)::fchmod(fd_.get(), 0600);
    return;
  }
}

void BrokerLock::mark() {
  const std::string text = kMark + std::to_string(getpid()) + "\n";
  if (::ftruncate(fd_.get(), 0) != 0 ||
      ::pwrite(fd_.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
    throw_system(errno, "write", "lock file " + place_->lock_path());
  }
  made_ = false;
}

void BrokerLock::remove() noexcept {
  if (!fd_ || fork_epoch() != epoch_) return;  // a forked child's copy owns nothing
  struct stat held {};
  struct stat named {};
  if (::fstat(fd_.get(), &held) == 0 &&
      ::fstatat(place_->directory(), place_->lock_file().c_str(), &named, AT_SYMLINK_NOFOLLOW) == 0 &&
      is_same_file(held, named)) {
    ::unlinkat(place_->directory(), place_->lock_file().c_str(), 0);
  }
  fd_.reset();
}

LockState read_lock_state(const BrokerPlace& place) {
  const Fd fd(::openat(place.directory(), place.lock_file().c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  struct stat status {};
  if (!fd || ::fstat(fd.get(), &status) != 0 || !is_ours(status)) return {};
  const auto pid = pid_in(fd.get());
  if (!pid) return {};
  return {true, is_locked(fd.get()), *pid};
}

}  // namespace ipcq::detail
