#include "broker/broker_record.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cinttypes>
#include <cstdio>

#include "ipcq/error.hpp"
#include "protocol/doorbell.hpp"
#include "queue/segment.hpp"

namespace ipcq::detail {
namespace {

std::uint64_t mount_namespace() noexcept {
  struct stat status {};
  return ::stat("/proc/self/ns/mnt", &status) == 0 ? status.st_ino : 0;
}

std::string file_name(const std::string& path) { return path.substr(path.rfind('/') + 1); }

std::string text_of(const BrokerPlace& place) {
  char head[128];
  std::snprintf(head, sizeof head, "ipcq-broker %d %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", static_cast<int>(getpid()),
                std::uint64_t{place.directory_status().st_dev}, std::uint64_t{place.directory_status().st_ino},
                mount_namespace());
  return head + place.socket_path();  // last: a path may contain any byte
}

// False for a file that no broker wrote.
bool read_record(int fd, FoundRecord& record) {
  std::string text(8192, '\0');
  const ssize_t size = ::pread(fd, text.data(), text.size(), 0);
  text.resize(size > 0 ? static_cast<std::size_t>(size) : 0);
  if (size == 0) return true;  // its broker has not written it yet
  const auto line_end = text.find('\n');
  int pid = 0;
  if (line_end == std::string::npos || std::sscanf(text.c_str(), "ipcq-broker %d %" SCNu64 " %" SCNu64 " %" SCNu64,
                                                   &pid, &record.device, &record.inode, &record.mounts) != 4) {
    return false;
  }
  record.pid = pid;
  record.socket_path = text.substr(line_end + 1);
  return tag_of(record.socket_path) == record.tag;
}

}  // namespace

BrokerRecord::BrokerRecord(const BrokerPlace& place) {
  const std::string text = text_of(place);
  for (;;) {
    char generation[24];
    std::snprintf(generation, sizeof generation, "%" PRIx64, now_ns());
    name_ = user_prefix() + place.tag() + "+" + kRecordKind + "+" + generation;
    const std::string object = "record " + name_;
    fd_ = Fd(::shm_open(name_.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600));
    if (!fd_ && errno == EEXIST) continue;
    if (!fd_) throw_system(errno, "shm_open(O_CREAT)", object);
    if (!lock_file(fd_.get())) throw_system(errno, "flock", object);
    if (::pwrite(fd_.get(), text.data(), text.size(), 0) != static_cast<ssize_t>(text.size())) {
      const int error = errno;
      remove();
      throw_system(error, "write", object);
    }
    // Another process may have removed it as a dead broker's before it was locked.
    struct stat status {};
    if (::fstat(fd_.get(), &status) == 0 && status.st_nlink != 0) return;
  }
}

void BrokerRecord::remove() noexcept {
  if (!fd_ || fork_epoch() != epoch_) return;  // a forked child's copy owns nothing
  ::shm_unlink(name_.c_str());
  fd_.reset();
}

std::vector<FoundRecord> find_records() {
  std::vector<FoundRecord> found;
  for (const auto& segment : own_segments(user_prefix())) {
    const auto parts = parts_of(segment);
    if (!parts || parts->kind != kRecordKind) continue;
    FoundRecord record;
    record.segment = segment;
    record.tag = parts->tag;
    const Fd fd = open_segment(segment);
    record.alive = !fd || is_locked(fd.get());
    if (!fd || read_record(fd.get(), record)) found.push_back(record);
  }
  return found;
}

bool is_at(const FoundRecord& record, const BrokerPlace& place) {
  const bool same_directory =
      record.device == place.directory_status().st_dev && record.inode == place.directory_status().st_ino;
  if (same_directory) return file_name(record.socket_path) == place.socket_file();
  // The directory may have been removed and created anew: then the path counts, within one mount namespace.
  return record.socket_path == place.socket_path() && record.mounts != 0 && record.mounts == mount_namespace();
}

void remove_dead(const FoundRecord& record) noexcept {
  const Fd fd = open_segment(record.segment);
  if (fd && lock_file(fd.get())) ::shm_unlink(record.segment.c_str());  // its creator checks for that once it is locked
}

}  // namespace ipcq::detail
