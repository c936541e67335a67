#include "broker_place.hpp"

#include <fcntl.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include "ipcq/error.hpp"

namespace ipcq::detail {
namespace {

constexpr const char* kSocketSuffix = ".sock";
constexpr std::size_t kSocketSuffixBytes = 5;

bool has_suffix(const std::string& text) {
  return text.size() > kSocketSuffixBytes &&
         text.compare(text.size() - kSocketSuffixBytes, kSocketSuffixBytes, kSocketSuffix) == 0;
}

std::string without_suffix(const std::string& text) {
  return has_suffix(text) ? text.substr(0, text.size() - kSocketSuffixBytes) : text;
}

std::string directory_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

std::string file_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

// Empty, with errno set, when there is none.
std::string canonical(const std::string& path) {
  char* const found = ::realpath(path.c_str(), nullptr);
  if (found == nullptr) return {};
  std::string text = found;
  std::free(found);
  return text;
}

// FNV-1a: every build of the library must come to the same.
std::uint64_t hash_of(const std::string& text) noexcept {
  std::uint64_t hash = 0xcbf29ce484222325U;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return hash;
}

// For the reader of /dev/shm; the hash tells brokers apart.
std::string readable_part(const std::string& file) {
  std::string text = without_suffix(file).substr(0, 63);
  for (char& c : text) {
    if (!is_name(std::string(1, c)) && c != '.' && c != '-') c = '_';
  }
  if (!text.empty() && !is_name(text)) text[0] = '_';
  return text;
}

}  // namespace

bool is_same_file(const struct stat& a, const struct stat& b) noexcept {
  return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

const char* kind_of(const struct stat& status) noexcept {
  if (S_ISREG(status.st_mode)) return "a regular file";
  if (S_ISDIR(status.st_mode)) return "a directory";
  if (S_ISLNK(status.st_mode)) return "a symbolic link";
  if (S_ISFIFO(status.st_mode)) return "a fifo";
  if (S_ISSOCK(status.st_mode)) return "a socket";
  return "a device";
}

std::string describe(const std::string& object, const struct stat& status) {
  return object + " is " + kind_of(status) + " of user " + std::to_string(status.st_uid);
}

std::string name_in(const std::string& directory, const std::string& socket_path) {
  const std::string file = file_of(socket_path);
  if (directory.empty() || directory_of(socket_path) != directory || !has_suffix(file)) return {};
  const std::string name = without_suffix(file);
  return is_name(name) ? name : std::string();
}

std::string canonical_run_directory() { return canonical(run_directory(false)); }

std::string user_prefix() { return "ipcq+" + std::to_string(geteuid()) + "+"; }

std::string tag_of(const std::string& socket_path) {
  char hash[24];
  std::snprintf(hash, sizeof hash, "+%016llx", static_cast<unsigned long long>(hash_of(socket_path)));
  return readable_part(file_of(socket_path)) + hash;
}

std::optional<SegmentNameParts> parts_of(const std::string& segment) {
  const std::string prefix = user_prefix();
  if (segment.rfind(prefix, 0) != 0) return std::nullopt;
  const auto hash = segment.find('+', prefix.size());
  const auto kind = hash == std::string::npos ? hash : segment.find('+', hash + 1);
  const auto rest = kind == std::string::npos ? kind : segment.find('+', kind + 1);
  if (rest == std::string::npos) return std::nullopt;
  return SegmentNameParts{segment.substr(prefix.size(), kind - prefix.size()),
                          segment.substr(kind + 1, rest - kind - 1)};
}

BrokerPlace::BrokerPlace(const std::string& name_or_path) {
  const bool is_path = name_or_path.find('/') != std::string::npos;
  if (!is_path) (void)run_directory(true);
  const std::string asked = socket_path_of(name_or_path);
  const std::string object = "broker name '" + printable(asked) + "'";
  socket_file_ = file_of(asked);
  if (socket_file_.empty() || socket_file_ == "." || socket_file_ == "..") {
    throw UsageError(object + ": names a directory; give a path of the control socket in it, such as " +
                     printable(asked) + (socket_file_.empty() ? "" : "/") + "video.sock");
  }
  const std::string directory = canonical(directory_of(asked));
  if (directory.empty() && (errno == ENOENT || errno == ENOTDIR)) {
    throw UsageError(object + ": there is no directory " + printable(directory_of(asked)) + "; make it first");
  }
  if (!directory.empty()) directory_ = Fd(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory_ || ::fstat(directory_.get(), &directory_status_) != 0) {
    throw_system(errno, "open(O_PATH)", "directory " + directory_of(asked) + " of broker '" + printable(asked) + "'");
  }
  socket_path_ = (directory == "/" ? "" : directory) + "/" + socket_file_;
  const std::string run = canonical_run_directory();
  in_run_directory_ = directory == run;
  name_ = name_in(run, socket_path_);
  if (name_.empty()) name_ = socket_path_;
  tag_ = tag_of(socket_path_);
  // In a deep directory a relative path may do.
  address_ =
      asked.size() < socket_path_.size() && socket_path_.size() >= sizeof(sockaddr_un::sun_path) ? asked : socket_path_;
  if (address_.size() >= sizeof(sockaddr_un::sun_path) || lock_file().size() > NAME_MAX) {
    throw UsageError("control socket " + printable(address_) + ": the path has " + std::to_string(address_.size()) +
                     " bytes, " + std::to_string(sizeof(sockaddr_un::sun_path) - 1) + " are possible; " +
                     (is_path ? "give the broker a shorter one" : "set XDG_RUNTIME_DIR to a shorter one"));
  }
}

std::optional<struct stat> BrokerPlace::status_of(const std::string& file) const {
  struct stat status {};
  if (::fstatat(directory_.get(), file.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) return status;
  if (errno == ENOENT) return std::nullopt;
  throw_system(errno, "stat", socket_path_.substr(0, socket_path_.size() - socket_file_.size()) + file);
}

}  // namespace ipcq::detail
