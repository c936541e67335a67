#include "broker/broker_place.hpp"

#include <fcntl.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <vector>

#include "base/fnv1a.hpp"
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

// For people who look into /dev/shm; only the hash tells brokers apart.
std::string readable_part(const std::string& file) {
  std::string text = without_suffix(file).substr(0, kLongestName);
  for (char& c : text) {
    if (!is_name(std::string(1, c)) && c != '.' && c != '-') c = '_';
  }
  if (!text.empty() && !is_name(text)) text[0] = '_';
  return text;
}

bool is_hexadecimal(const std::string& text) noexcept {
  return !text.empty() && text.size() <= 16 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

[[noreturn]] void refuse_directory(const std::string& asked, const std::string& what) {
  throw UsageError("broker name '" + printable(asked) + "': " + what);
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
  std::snprintf(hash, sizeof hash, "+%016llx", static_cast<unsigned long long>(fnv1a(socket_path)));
  return readable_part(file_of(socket_path)) + hash;
}

std::optional<SegmentNameParts> parts_of(const std::string& segment) {
  const std::string prefix = user_prefix();
  if (segment.rfind(prefix, 0) != 0) return std::nullopt;
  std::vector<std::string> parts;
  std::istringstream text(segment.substr(prefix.size()) + "+");
  for (std::string part; std::getline(text, part, '+');) parts.push_back(part);
  if (parts.size() < 4 || !is_name(parts[0]) || parts[1].size() != 16 || !is_hexadecimal(parts[1])) return std::nullopt;
  const std::string& kind = parts[2];
  const bool is_record = kind == kRecordKind && parts.size() == 4;
  const bool is_segment = (kind == kQueueKind || kind == kPoolKind) && parts.size() == 5 && is_name(parts[3]);
  if ((!is_record && !is_segment) || !is_hexadecimal(parts.back())) return std::nullopt;
  return SegmentNameParts{parts[0] + "+" + parts[1], kind};
}

BrokerPlace::BrokerPlace(const std::string& name_or_path, Use use) {
  const bool is_path = name_or_path.find('/') != std::string::npos;
  const bool makes = !is_path && use == Use::serve;
  if (!is_path) (void)run_directory(makes);
  const std::string asked = socket_path_of(name_or_path);
  const std::string object = "broker name '" + printable(asked) + "'";
  socket_file_ = file_of(asked);
  if (socket_file_.empty() || socket_file_ == "." || socket_file_ == "..") {
    throw UsageError(object + ": names a directory; give a path of the control socket in it, such as " +
                     printable(asked) + (socket_file_.empty() ? "" : "/") + "video.sock");
  }
  const std::string directory = open_directory(directory_of(asked), asked);
  if (makes) close_to_others(directory);
  socket_path_ = (directory == "/" ? "" : directory) + "/" + socket_file_;
  const std::string run = canonical_run_directory();
  in_run_directory_ = directory == run;
  name_ = name_in(run, socket_path_);
  if (name_.empty()) name_ = socket_path_;
  tag_ = tag_of(socket_path_);
  choose_address(asked, use);
  if (address_.size() >= sizeof(sockaddr_un::sun_path) || lock_file().size() > NAME_MAX) {
    throw UsageError("control socket " + printable(address_) + ": the path has " + std::to_string(address_.size()) +
                     " bytes, " + std::to_string(sizeof(sockaddr_un::sun_path) - 1) + " are possible; " +
                     (is_path ? "give the broker a shorter one" : "set XDG_RUNTIME_DIR to a shorter one"));
  }
}

// Returns its canonical path.
std::string BrokerPlace::open_directory(const std::string& path, const std::string& asked) {
  std::string directory = canonical(path);
  const int error = directory.empty() ? errno : 0;
  struct stat status {};
  if (error == 0 && ::stat(directory.c_str(), &status) == 0 && !S_ISDIR(status.st_mode)) {
    refuse_directory(asked, describe(printable(directory), status) + ", no directory; choose another place");
  }
  const std::string shown = printable(path);
  if (error == ENOENT) refuse_directory(asked, "there is no directory " + shown + "; make it first");
  if (error == ENOTDIR) refuse_directory(asked, "a part of " + shown + " is no directory; choose another place");
  if (error == ELOOP) refuse_directory(asked, "links of " + shown + " lead in a circle; name the directory itself");
  if (error == ENAMETOOLONG) refuse_directory(asked, "a name in " + shown + " is too long; choose a shorter one");
  if (error == 0) directory_ = Fd(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!directory_ || ::fstat(directory_.get(), &directory_status_) != 0) {
    throw_system(error != 0 ? error : errno, "open(O_PATH)",
                 "directory " + path + " of broker '" + printable(asked) + "'");
  }
  return directory;
}

// Users that can write the directory could put files there that keep a broker from starting. Whether they can read it
// is left to its owner.
void BrokerPlace::close_to_others(const std::string& directory) {
  constexpr mode_t kOthersWrite = S_IWGRP | S_IWOTH;
  const mode_t found = directory_status_.st_mode & 07777;
  if ((found & kOthersWrite) == 0 || directory_status_.st_uid != geteuid()) return;
  char mode[16];
  std::snprintf(mode, sizeof mode, "mode %04o", static_cast<unsigned>(found));
  const std::string object = "run directory " + directory;
  if (::chmod(directory.c_str(), found & ~kOthersWrite) != 0) {
    throw_system(errno, "chmod", object, std::string(mode) + " lets others write");
  }
  if (::fstat(directory_.get(), &directory_status_) != 0 || (directory_status_.st_mode & kOthersWrite) != 0) {
    throw_system(EPERM, "chmod", object, std::string(mode) + " lets others write, and stays");
  }
  closed_ = printable(object) + " could be written by others (" + mode + "); that permission is taken away now";
}

void BrokerPlace::choose_address(const std::string& asked, Use use) {
  const auto fits = [](const std::string& path) { return path.size() < sizeof(sockaddr_un::sun_path); };
  address_ = socket_path_;
  // In a deep directory a relative path may do.
  if (!fits(address_) && asked.size() < address_.size()) address_ = asked;
  if (!fits(address_) && use == Use::look) {
    address_ = "/proc/self/fd/" + std::to_string(directory_.get()) + "/" + socket_file_;
  }
}

std::optional<struct stat> BrokerPlace::status_of(const std::string& file) const {
  struct stat status {};
  if (::fstatat(directory_.get(), file.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0) return status;
  if (errno == ENOENT) return std::nullopt;
  throw_system(errno, "stat", socket_path_.substr(0, socket_path_.size() - socket_file_.size()) + file);
}

}  // namespace ipcq::detail
