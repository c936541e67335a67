// One POSIX shared memory object, created or opened through Boost.Interprocess and mapped whole.
//
// The creator holds an exclusive flock on the object as long as it lives, so the kernel says whether the owner is
// alive, also across PID namespaces. A Segment is for one thread at a time; its mapping lives as long as it does.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/os.hpp"
#include "ipcq/log.hpp"
#include "layout/layout.hpp"

namespace ipcq::detail {

class Segment {
 public:
  // Access rights of a created object.
  struct Access {
    std::uint32_t mode = 0600;
    std::int64_t gid = -1;  // group that gets the object; -1: unchanged
    LogCallback log{};      // told before a large reservation, which may take seconds
  };

  // Creates the object exclusively, locks it, reserves all of its space (reservation.hpp) and maps it. The destructor
  // unlinks the object, except in a forked child. Throws SystemError, PermissionError.
  static Segment create(const std::string& name, std::uint64_t bytes, const Access& access);
  // Maps an existing object of the kind `magic` whose header passes the checks. Waits until `deadline` (ns of now_ns())
  // for one that is not ready. Throws LayoutError, which says whether it is not ready, of the wrong version, or
  // damaged; NotFoundError, PermissionError, SystemError.
  static Segment open(const std::string& name, std::uint64_t magic, std::uint64_t deadline);

  Segment() noexcept;
  Segment(Segment&&) noexcept;
  Segment& operator=(Segment&&) noexcept;
  ~Segment();

  std::byte* data() const noexcept { return data_; }
  std::uint64_t size() const noexcept { return size_; }
  const std::string& name() const noexcept { return name_; }
  // Removes the object's name now. Mappings of it stay valid.
  void unlink() noexcept;

 private:
  void map();

  struct Mapping;
  std::unique_ptr<Mapping> mapping_;
  std::byte* data_ = nullptr;
  std::uint64_t size_ = 0;
  std::string name_;
  bool owner_ = false;
  std::uint32_t epoch_ = fork_epoch();
};

// Writes the creator's header with its checksum, then stores the version, which makes the segment ready.
template <class Header>
void publish_header(Segment& segment, Header header);
// Copies the header of an opened segment and verifies the copy. Throws LayoutError ("damaged").
template <class Header>
Header checked_header(const Segment& segment);

extern template void publish_header(Segment&, QueueHeader);
extern template void publish_header(Segment&, PoolHeader);
extern template QueueHeader checked_header(const Segment&);
extern template PoolHeader checked_header(const Segment&);

// The names in /dev/shm that begin with `prefix`, and whether each has a live owner. Throws SystemError or
// PermissionError if the directory cannot be read.
struct SegmentName {
  std::string name;
  std::uint64_t bytes = 0;
  bool owned = false;
  std::int32_t pid = 0;                  // of the broker that created it; 0: not known
  std::optional<std::uint64_t> magic{};  // its first 8 bytes; none if it cannot be read
};
std::vector<SegmentName> find_segments(const std::string& prefix);
// Only the names. Only regular files of this user, because any user may create an object with such a name.
std::vector<std::string> own_segments(const std::string& prefix);
// The opened object, not mapped; no descriptor if it cannot be opened.
Fd open_segment(const std::string& name) noexcept;
void unlink_segment(const std::string& name) noexcept;

}  // namespace ipcq::detail
