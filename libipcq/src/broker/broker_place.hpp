// The place of a broker: one socket in one directory, however its path is spelled. The names of the broker's lock file,
// records and segments derive from it.
//
// Thread safety: constant after construction. Invariant: lock file and socket file are looked up through an open
// descriptor of the directory; only bind() and connect() use the path.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>

#include "base/os.hpp"

namespace ipcq::detail {

class BrokerPlace {
 public:
  // `serve`, for a NAME: creates the run directory, or takes the permission to write it from other users. A directory
  // that is named by a path is used as it is. `look` changes nothing.
  enum class Use { serve, look };

  // Of a name or a path. Throws UsageError, SystemError, PermissionError.
  BrokerPlace(const std::string& name_or_path, Use use);

  // NAME of a socket NAME.sock in the run directory, however it was asked for; else the socket's path.
  const std::string& name() const noexcept { return name_; }
  // Absolute, without links in its directory.
  const std::string& socket_path() const noexcept { return socket_path_; }
  std::string lock_path() const { return socket_path_ + kLockSuffix; }
  // A path of the socket that fits into a sockaddr_un: the absolute one if possible. With Use::look it may be a path
  // below /proc/self/fd, which holds in this process only.
  const std::string& address() const noexcept { return address_; }
  // The part of the names of segments and records that stands for this place.
  const std::string& tag() const noexcept { return tag_; }
  bool in_run_directory() const noexcept { return in_run_directory_; }
  // For the log: that other users could write the run directory. Empty if they could not.
  const std::string& closed() const noexcept { return closed_; }

  int directory() const noexcept { return directory_.get(); }
  const struct stat& directory_status() const noexcept { return directory_status_; }
  const std::string& socket_file() const noexcept { return socket_file_; }
  std::string lock_file() const { return socket_file_ + kLockSuffix; }

  // lstat() of a file in the directory; nullopt if there is none.
  std::optional<struct stat> status_of(const std::string& file) const;

  // Long, so that it is no other program's file: with `.lock`, a socket `Cargo` would meet `Cargo.lock`.
  static constexpr const char* kLockSuffix = ".ipcq-lock";

 private:
  std::string open_directory(const std::string& path, const std::string& asked);
  void close_to_others(const std::string& directory);
  void choose_address(const std::string& asked, Use use);

  std::string name_;
  std::string socket_path_;
  std::string socket_file_;
  std::string address_;
  std::string tag_;
  std::string closed_;
  bool in_run_directory_ = false;
  Fd directory_;
  struct stat directory_status_ {};
};

bool is_same_file(const struct stat& a, const struct stat& b) noexcept;
// "a regular file", "a directory", ...
const char* kind_of(const struct stat& status) noexcept;
// "control socket PATH is a directory of user N"; the caller continues the sentence.
std::string describe(const std::string& object, const struct stat& status);

// NAME of a socket that is NAME.sock in this directory; empty of any other.
std::string name_in(const std::string& directory, const std::string& socket_path);
// Its canonical path; empty when there is none.
std::string canonical_run_directory();

// Names of shared memory are "ipcq+UID+" TAG "+" KIND "+" ..., and a tag is a readable part, '+', and the hash of the
// socket's path. '+' cannot occur in a name, so no broker's prefix begins another's.
std::string user_prefix();
std::string tag_of(const std::string& socket_path);
inline constexpr const char* kRecordKind = "broker";
inline constexpr const char* kQueueKind = "queue";
inline constexpr const char* kPoolKind = "pool";
struct SegmentNameParts {
  std::string tag;
  std::string kind;
};
// Nullopt unless every part is as a broker of this user writes it. A name alone proves nothing.
std::optional<SegmentNameParts> parts_of(const std::string& segment);

}  // namespace ipcq::detail
