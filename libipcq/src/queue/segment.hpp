// One POSIX shared memory object, created or opened through Boost.Interprocess, and mapped whole.
//
// The creator keeps an exclusive flock on the object while it lives: whether the owner is alive is a fact the kernel
// knows, also across PID namespaces.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/os.hpp"
#include "ipcq/options.hpp"
#include "layout/layout.hpp"

namespace ipcq::detail {

class Segment {
 public:
  // What a creator decides about access, and whom it tells that a large one takes its time.
  struct Access {
    std::uint32_t mode = 0600;
    std::int64_t gid = -1;  // group to give the object to; -1: leave
    LogCallback log{};
  };

  // Creates exclusively, reserves all space (reservation.hpp), maps and locks. The object is unlinked by the
  // destructor. Throws SystemError, PermissionError.
  static Segment create(const std::string& name, std::uint64_t bytes, const Access& access);
  // Maps an existing object whose header passes the checks. `magic` tells the kind. Waits until `deadline` (now_ns) for
  // one that is not ready yet. Throws LayoutError saying which: not ready, wrong version, damaged; NotFoundError,
  // PermissionError.
  static Segment open(const std::string& name, std::uint64_t magic, std::uint64_t deadline);

  Segment() noexcept;
  Segment(Segment&&) noexcept;
  Segment& operator=(Segment&&) noexcept;
  ~Segment();

  std::byte* data() const noexcept { return data_; }
  std::uint64_t size() const noexcept { return size_; }
  const std::string& name() const noexcept { return name_; }
  // Removes the name now; mappings stay.
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

// Completes a header written by a creator: checksum, then the version, last.
template <class Header>
void publish_header(Segment& segment, Header header);
// Copies and verifies the header of an opened segment. Throws LayoutError ("damaged").
template <class Header>
Header checked_header(const Segment& segment);

extern template void publish_header(Segment&, QueueHeader);
extern template void publish_header(Segment&, PoolHeader);
extern template QueueHeader checked_header(const Segment&);
extern template PoolHeader checked_header(const Segment&);

// Names in shared memory that begin with `prefix`, and whether a live owner has each. Throws SystemError or
// PermissionError when that cannot be read.
struct SegmentName {
  std::string name;
  std::uint64_t bytes = 0;
  bool owned = false;
  std::int32_t pid = 0;                  // of the broker that made it; 0: not known
  std::optional<std::uint64_t> magic{};  // what it begins with; none when it cannot be read
};
std::vector<SegmentName> find_segments(const std::string& prefix);
// The names alone. Only regular files of this user: anybody may make something else with such a name.
std::vector<std::string> own_segments(const std::string& prefix);
// None when it cannot be opened. Not mapped.
Fd open_segment(const std::string& name) noexcept;
void unlink_segment(const std::string& name) noexcept;

}  // namespace ipcq::detail
