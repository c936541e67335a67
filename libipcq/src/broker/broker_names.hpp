// Names that a broker takes in the system: its lock, its record, its control socket, its segments; and what a dead one
// left.
//
// The lock file is the truth about a name: its flock is held while the broker lives and goes with it. Where a cleaner
// removed the file, the record's flock is.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>
#include <vector>

#include "base/os.hpp"
#include "broker/broker_lock.hpp"
#include "broker/broker_place.hpp"
#include "broker/broker_record.hpp"
#include "queue/segment.hpp"

namespace ipcq::detail {

class BrokerName {
 public:
  // Takes the name and removes what a dead broker of that name left. Throws UsageError, and has changed nothing, when a
  // live one has it or when something lies there that no broker of this user left.
  explicit BrokerName(const std::string& name_or_path);
  ~BrokerName();
  BrokerName(const BrokerName&) = delete;
  BrokerName& operator=(const BrokerName&) = delete;

  // NAME in the run directory, else the socket's path.
  const std::string& name() const noexcept { return place_.name(); }
  const std::string& socket_path() const noexcept { return place_.address(); }
  // Makes the control socket. Throws SystemError, PermissionError.
  Fd listen(std::uint32_t mode, std::int64_t gid);
  // Whether members of this group may look for the socket in its directory.
  bool is_reachable_by(std::int64_t gid) const noexcept;
  // Gives the name up: removes what is still its own of socket, record and lock. To be called before the listening
  // socket is closed, whose file it tells by its number. Idempotent; the destructor calls it.
  void release() noexcept;
  // Name of a new segment; `kind` is "queue" or "pool".
  std::string segment(const char* kind, const std::string& object, std::uint64_t generation) const;
  // That others could write the run directory and cannot any more, for the log; empty when they could not.
  const std::string& closed() const noexcept { return place_.closed(); }
  // What was found and removed, for the log; empty when there was nothing.
  const std::string& leftovers() const noexcept { return leftovers_; }

 private:
  const BrokerPlace place_;
  std::string leftovers_;
  BrokerLock lock_;
  std::optional<BrokerRecord> record_;
  std::optional<struct stat> socket_;
  bool released_ = false;
  const std::uint32_t epoch_ = fork_epoch();
};

// The lock of a place where no broker lives any more, and nothing that one left. Throws UsageError: Obstacle, or
// another where a live broker has it. `removed`: what was, in words.
BrokerLock take_over(const BrokerPlace& place, std::string& removed);
// What is called as something of the tag, whoever made it.
std::vector<SegmentName> find_segments_of(const std::string& tag);
// Those of them that are segments of brokers of this user.
std::vector<SegmentName> only_brokers(std::vector<SegmentName> segments, const std::vector<FoundRecord>& records);
// One of the tag's segments that has a live owner of whom there is no record: somebody removed that.
std::optional<SegmentName> owner_without_record(const std::string& tag, const std::vector<SegmentName>& segments,
                                                const std::vector<FoundRecord>& records);
// Who listens at a socket. A child of a dead broker's may, but counts for nothing. `no_broker`: it is another kind of
// socket.
struct Listener {
  enum class Kind { nobody, no_broker, somebody } kind = Kind::nobody;
  std::int32_t pid = 0;  // 0: not known
};
Listener listener_at(const BrokerPlace& place);

}  // namespace ipcq::detail
