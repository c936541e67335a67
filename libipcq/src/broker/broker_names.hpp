// The names that a broker takes in the system (lock file, record, control socket, segments), and the removal of those
// that a dead broker left.
//
// Thread safety: any thread may call const functions of BrokerName. Invariant: the flock of the lock file says whether
// a name is taken: the broker holds it while it lives, and the kernel releases it when the broker dies. Where somebody
// has removed the file, the flock of the record says so.
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
  // Whether members of this group may search the directory of the socket.
  bool is_reachable_by(std::int64_t gid) const noexcept;
  // Gives the name up: removes socket, record and lock file where they are still this broker's. Call it before the
  // listening socket is closed: it recognises the socket's file by its inode number, which is not reused until then.
  // Idempotent; the destructor calls it.
  void release() noexcept;
  // Name of a new segment; `kind` is "queue" or "pool".
  std::string segment(const char* kind, const std::string& object, std::uint64_t generation) const;
  // For the log: that other users could write the run directory, and no longer can. Empty if they could not.
  const std::string& closed() const noexcept { return place_.closed(); }
  // For the log: what a dead broker had left and was removed. Empty if there was nothing.
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

// Takes the lock of a place and removes what a dead broker left there. Throws Obstacle, or another UsageError if a live
// broker has the place. `removed`: what was removed, in words.
BrokerLock take_over(const BrokerPlace& place, std::string& removed);
// Objects in shared memory whose names have the tag, whatever created them.
std::vector<SegmentName> find_segments_of(const std::string& tag);
// Those among them that are pools and queues of brokers of this user.
std::vector<SegmentName> only_brokers(std::vector<SegmentName> segments, const std::vector<FoundRecord>& records);
// A segment that a live broker owns, if the tag has no record: somebody has removed the record.
std::optional<SegmentName> owner_without_record(const std::string& tag, const std::vector<SegmentName>& segments,
                                                const std::vector<FoundRecord>& records);
// The process that listens at a socket. A child of a dead broker that still has the socket open counts as nobody.
// `no_broker`: a socket of another type.
struct Listener {
  enum class Kind { nobody, no_broker, somebody } kind = Kind::nobody;
  std::int32_t pid = 0;  // 0: not known
};
Listener listener_at(const BrokerPlace& place);

}  // namespace ipcq::detail
