#include "queue/segment.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <boost/crc.hpp>
#include <boost/interprocess/exceptions.hpp>
#include <boost/interprocess/mapped_region.hpp>
#include <boost/interprocess/permissions.hpp>
#include <boost/interprocess/shared_memory_object.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <thread>
#include <utility>

#include "base/os.hpp"
#include "base/system_error.hpp"
#include "ipcq/error.hpp"
#include "protocol/doorbell.hpp"
#include "queue/reservation.hpp"

namespace ipcq::detail {

namespace bip = boost::interprocess;

namespace {

constexpr std::uint64_t kLargeReservation = 256u << 20;  // 0.1 to 1 s

// Fills the page tables when mapping, so that no page fault occurs on the data path.
constexpr bip::map_options_t kMapOptions = MAP_POPULATE;

// The number of this process' mappings, if it is near the limit and therefore why mmap failed; else empty.
std::string mappings_text() {
  std::uint64_t most = 0;
  std::ifstream("/proc/sys/vm/max_map_count") >> most;
  std::ifstream maps("/proc/self/maps");
  const auto count = static_cast<std::uint64_t>(
      std::count(std::istreambuf_iterator<char>(maps), std::istreambuf_iterator<char>(), '\n'));
  if (most == 0 || count + 2 < most) return {};
  return "this process has " + std::to_string(count) + " of the " + std::to_string(most) +
         " mappings that vm.max_map_count allows";
}

std::uint64_t file_size(int fd) {
  struct stat st {};
  return ::fstat(fd, &st) == 0 ? static_cast<std::uint64_t>(st.st_size) : 0;
}

bool is_own_segment(const std::string& name) noexcept {
  struct stat status {};
  return ::lstat((std::string(kShmDirectory) + "/" + name).c_str(), &status) == 0 && S_ISREG(status.st_mode) &&
         status.st_uid == geteuid();
}

template <class Header>
std::uint32_t checksum_of(Header header) {
  header.segment.version.raw = kNotReady;
  header.segment.checksum = 0;
  boost::crc_32_type crc;
  crc.process_bytes(&header, sizeof header);
  return crc.checksum();
}

std::string object_of(const std::string& name) { return "segment " + name; }

[[noreturn]] void throw_damaged(const std::string& name, const std::string& what) {
  throw LayoutError(object_of(name) + ": damaged: " + what + "; restart its broker (ipcq clean removes leftovers)");
}

}  // namespace

struct Segment::Mapping {
  bip::shared_memory_object object;
  bip::mapped_region region;
};

Segment::Segment() noexcept = default;
Segment::Segment(Segment&& other) noexcept { *this = std::move(other); }
Segment& Segment::operator=(Segment&& other) noexcept {
  if (this != &other) {
    if (owner_) unlink();
    mapping_ = std::move(other.mapping_);
    data_ = std::exchange(other.data_, nullptr);
    size_ = std::exchange(other.size_, 0);
    name_ = std::move(other.name_);
    owner_ = std::exchange(other.owner_, false);
    epoch_ = other.epoch_;
  }
  return *this;
}
Segment::~Segment() {
  if (owner_) unlink();
}

void Segment::unlink() noexcept {
  if (fork_epoch() == epoch_) unlink_segment(name_);  // a forked child's copy owns nothing
  owner_ = false;
}

// Throws SystemError or PermissionError.
void Segment::map() {
  try {
    mapping_->region = bip::mapped_region(mapping_->object, bip::read_write, 0, size_, nullptr, kMapOptions);
  } catch (const bip::interprocess_exception& e) {
    const int code = e.get_native_error();
    throw_system(code, "mmap", object_of(name_), code == ENOMEM ? mappings_text() : "");
  }
  data_ = static_cast<std::byte*>(mapping_->region.get_address());
}

Segment Segment::create(const std::string& name, std::uint64_t bytes, const Access& access) {
  Segment s;
  s.name_ = name;
  s.size_ = bytes;
  s.mapping_ = std::make_unique<Mapping>();
  const std::string object = object_of(name);
  try {
    s.mapping_->object = bip::shared_memory_object(bip::create_only, name.c_str(), bip::read_write,
                                                   bip::permissions(static_cast<int>(access.mode)));
  } catch (const bip::interprocess_exception& e) {
    const int code = e.get_native_error();
    throw_system(code, "shm_open(O_CREAT)", object, code == ENOSPC ? shm_inodes_text() : "");
  }
  s.owner_ = true;
  const int fd = s.mapping_->object.get_mapping_handle().handle;
  if (!lock_file(fd)) throw_system(errno, "flock", object);
  if (access.gid >= 0 && ::fchown(fd, static_cast<uid_t>(-1), static_cast<gid_t>(access.gid)) != 0) {
    throw_system(errno, "fchown", object);
  }
  if (::fchmod(fd, access.mode) != 0) throw_system(errno, "fchmod", object);
  if (access.log && bytes >= kLargeReservation) {
    access.log(LogLevel::info,
               object + ": reserving " + format_bytes(bytes) + " of /dev/shm, which may take seconds per GiB");
  }
  reserve(fd, bytes, object);
  s.map();
  return s;
}

Segment Segment::open(const std::string& name, std::uint64_t magic, std::uint64_t deadline) {
  Segment s;
  s.name_ = name;
  s.mapping_ = std::make_unique<Mapping>();
  try {
    s.mapping_->object = bip::shared_memory_object(bip::open_only, name.c_str(), bip::read_write);
    const int fd = s.mapping_->object.get_mapping_handle().handle;
    for (;;) {
      const std::uint64_t size = file_size(fd);
      SegmentHeader header{};
      if (size >= kHeaderBytes) {
        // Read, not mapped: from a truncated object pread returns fewer bytes, where a mapping would raise SIGBUS.
        if (::pread(fd, &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header)) {
          throw_damaged(name, "its header cannot be read");
        }
        if (header.version.raw != kNotReady) {
          if (header.magic != magic) throw_damaged(name, "its magic number is wrong");
          if (header.version.raw != kAbiVersion) {
            throw LayoutError("segment " + name + ": wrong version: it has ABI " + std::to_string(header.version.raw) +
                              ", this library has ABI " + std::to_string(kAbiVersion) +
                              "; use one release of libipcq for the broker and its clients");
          }
          if (header.total_bytes != size) {
            throw_damaged(name, "it has " + std::to_string(size) + " bytes, its header says " +
                                    std::to_string(header.total_bytes));
          }
          s.size_ = size;
          break;
        }
      }
      if (now_ns() >= deadline) {
        throw LayoutError("segment " + name +
                          ": not ready: its broker has not finished creating it; try again, or if "
                          "the broker is gone, run ipcq clean");
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  } catch (const bip::interprocess_exception& e) {
    if (e.get_error_code() == bip::not_found_error) {
      throw NotFoundError("segment " + name +
                          ": does not exist; what it belongs to has ended, or its broker runs where /dev/shm is "
                          "another one (containers must share it)");
    }
    throw_system(e.get_native_error(), "shm_open", object_of(name));
  }
  s.map();
  s.mapping_->object = {};  // a mapping needs no descriptor, and a client may have many
  return s;
}

template <class Header>
void publish_header(Segment& segment, Header header) {
  header.segment.version.raw = kNotReady;
  header.segment.checksum = checksum_of(header);
  std::memcpy(segment.data(), &header, sizeof header);
  // SYNC segment-ready (release): the segment's content before the version. Pairs with: checked_header.
  reinterpret_cast<SegmentHeader*>(segment.data())->version.store(kAbiVersion, std::memory_order_release);
}

template <class Header>
Header checked_header(const Segment& segment) {
  // SYNC segment-ready (acquire): the opener observes the segment's content. Pairs with: publish_header.
  (void)reinterpret_cast<const SegmentHeader*>(segment.data())->version.load(std::memory_order_acquire);
  Header copy;
  std::memcpy(static_cast<void*>(&copy), segment.data(), sizeof copy);
  if (copy.segment.checksum != checksum_of(copy)) throw_damaged(segment.name(), "its header's checksum is wrong");
  if (copy.segment.total_bytes != segment.size()) throw_damaged(segment.name(), "its size changed");
  return copy;
}

template void publish_header(Segment&, QueueHeader);
template void publish_header(Segment&, PoolHeader);
template QueueHeader checked_header(const Segment&);
template PoolHeader checked_header(const Segment&);

std::vector<std::string> own_segments(const std::string& prefix) {
  std::vector<std::string> found;
  DIR* const dir = ::opendir(kShmDirectory);
  if (dir == nullptr) {
    if (errno == ENOENT) return found;
    throw_system(errno, "opendir", kShmDirectory);
  }
  while (const dirent* entry = ::readdir(dir)) {
    const std::string name = entry->d_name;
    if (name.rfind(prefix, 0) == 0 && is_own_segment(name)) found.push_back(name);
  }
  ::closedir(dir);
  return found;
}

Fd open_segment(const std::string& name) noexcept {
  return Fd(::open((std::string(kShmDirectory) + "/" + name).c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
}

std::vector<SegmentName> find_segments(const std::string& prefix) {
  std::vector<SegmentName> found;
  for (const auto& name : own_segments(prefix)) {
    SegmentName s{.name = name, .owned = true};
    const Fd fd = open_segment(name);
    if (fd) {
      s.bytes = file_size(fd.get());
      s.owned = is_locked(fd.get());
      SegmentHeader header{};
      const ssize_t size = ::pread(fd.get(), &header, sizeof header, 0);
      if (size >= 0) s.magic = header.magic;
      if (size == static_cast<ssize_t>(sizeof header) && header.version.raw == kAbiVersion) s.pid = header.broker_pid;
    }
    found.push_back(s);
  }
  return found;
}

void unlink_segment(const std::string& name) noexcept { bip::shared_memory_object::remove(name.c_str()); }

}  // namespace ipcq::detail
