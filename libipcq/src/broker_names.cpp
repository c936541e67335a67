#include "broker_names.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <functional>

#include "ipcq/admin.hpp"
#include "ipcq/error.hpp"
#include "segment.hpp"

namespace ipcq {
namespace detail {
namespace {

// '+' cannot occur in a name, so no broker's prefix begins another's.
std::string user_prefix() { return "ipcq+" + std::to_string(geteuid()) + "+"; }

// A broker on a path of its own goes by the path's hash.
std::string tag_of_broker(const std::string& broker) {
  if (broker.find('/') == std::string::npos) return broker;
  char text[24];
  std::snprintf(text, sizeof text, "path-%016zx", std::hash<std::string>{}(broker));
  return text;
}

std::string lock_path_of(const std::string& socket_path) {
  const std::string suffix = ".sock";
  const bool plain = socket_path.size() > suffix.size() &&
                     socket_path.compare(socket_path.size() - suffix.size(), suffix.size(), suffix) == 0;
  return (plain ? socket_path.substr(0, socket_path.size() - suffix.size()) : socket_path) + ".lock";
}

std::int32_t pid_in(const std::string& lock_path) {
  std::FILE* f = std::fopen(lock_path.c_str(), "re");
  if (f == nullptr) return 0;
  int pid = 0;
  if (std::fscanf(f, "%d", &pid) != 1) pid = 0;
  std::fclose(f);
  return pid;
}

// Opens and locks the file that has this path at the end: another may be removing it meanwhile.
Fd take_lock(const std::string& path) {
  for (;;) {
    Fd fd(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (!fd) throw_system(errno, "open", "lock file " + path);
    if (!lock_file(fd.get())) return {};
    struct stat held = {};
    struct stat named = {};
    if (::fstat(fd.get(), &held) == 0 && ::stat(path.c_str(), &named) == 0 && held.st_ino == named.st_ino) return fd;
  }
}

std::string remove_leftovers_of(const std::string& broker, const std::string& socket_path) {
  std::uint64_t bytes = 0;
  unsigned count = 0;
  for (const auto& s : find_segments(segment_prefix(broker))) {
    if (s.owned) continue;
    unlink_segment(s.name);
    bytes += s.bytes;
    ++count;
  }
  const bool had_socket = ::unlink(socket_path.c_str()) == 0;
  if (count == 0 && !had_socket) return {};
  return std::to_string(count) + " segments (" + format_bytes(bytes) + ")" + (had_socket ? " and its socket" : "");
}

}  // namespace

std::string segment_prefix(const std::string& broker) { return user_prefix() + tag_of_broker(broker) + "+"; }

BrokerName::BrokerName(const std::string& name_or_path) : name_(broker_name_or_default(name_or_path)) {
  if (name_.find('/') == std::string::npos) (void)run_directory(true);
  socket_path_ = socket_path_of(name_);
  lock_path_ = lock_path_of(socket_path_);
  lock_ = take_lock(lock_path_);
  if (!lock_) {
    throw UsageError("broker '" + name_ + "': a live broker has this name (pid " + std::to_string(pid_in(lock_path_)) +
                     ", " + socket_path_ + "); stop it, or choose another --name");
  }
  leftovers_ = remove_leftovers_of(name_, socket_path_);
  const std::string pid = std::to_string(getpid()) + "\n";
  if (::ftruncate(lock_.get(), 0) != 0 || ::pwrite(lock_.get(), pid.data(), pid.size(), 0) < 0) {
    throw_system(errno, "write", "lock file " + lock_path_);
  }
}

BrokerName::~BrokerName() { release(); }

void BrokerName::release() noexcept {
  if (!lock_ || fork_epoch() != epoch_) return;  // a forked child's copy owns nothing
  ::unlink(socket_path_.c_str());
  ::unlink(lock_path_.c_str());
  lock_.reset();
}

std::string BrokerName::segment(const char* kind, const std::string& object, std::uint64_t generation) const {
  char text[24];
  std::snprintf(text, sizeof text, "+%llx", static_cast<unsigned long long>(generation));
  return segment_prefix(name_) + kind + "+" + object + text;
}

}  // namespace detail

std::string run_directory() { return detail::run_directory(false); }

std::vector<BrokerEntry> list_brokers() {
  using namespace detail;
  std::vector<BrokerEntry> entries;
  const auto entry_of = [&](const std::string& name) -> BrokerEntry& {
    for (auto& e : entries) {
      if (e.name == name) return e;
    }
    entries.emplace_back();
    entries.back().name = name;
    return entries.back();
  };
  const std::string dir_path = run_directory(false);
  if (DIR* dir = ::opendir(dir_path.c_str())) {
    while (const dirent* file = ::readdir(dir)) {
      const std::string name = file->d_name;
      const auto dot = name.rfind('.');
      if (dot == std::string::npos || (name.substr(dot) != ".lock" && name.substr(dot) != ".sock")) continue;
      BrokerEntry& e = entry_of(name.substr(0, dot));
      e.socket_path = dir_path + "/" + e.name + ".sock";
      const std::string lock_path = lock_path_of(e.socket_path);
      Fd fd(::open(lock_path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
      e.alive = fd && is_locked(fd.get());
      e.pid = e.alive ? pid_in(lock_path) : 0;
    }
    ::closedir(dir);
  }
  const std::string prefix = user_prefix();
  for (const auto& s : find_segments(prefix)) {
    BrokerEntry& e = entry_of(s.name.substr(prefix.size(), s.name.find('+', prefix.size()) - prefix.size()));
    e.segments.push_back(s.name);
    e.segment_bytes += s.bytes;
    e.alive = e.alive || s.owned;
    if (e.pid == 0 && s.owned) e.pid = s.pid;
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return entries;
}

void remove_leftovers(const BrokerEntry& entry) {
  using namespace detail;
  if (entry.socket_path.empty()) {  // segments alone: their flock says whether they are owned
    for (const auto& s : find_segments(user_prefix() + entry.name + "+")) {
      if (s.owned) {
        throw UsageError("broker '" + entry.name + "': segment " + s.name +
                         " has a live owner; stop that broker first");
      }
      unlink_segment(s.name);
    }
    return;
  }
  const BrokerName taken(entry.name);  // removes them, and the names it took itself at the end
}

}  // namespace ipcq
