// A broker's record in shared memory: which socket it serves. The broker holds its flock while it lives, so the record
// proves that it lives where somebody has removed the lock file, and tells `ipcq list` of sockets outside the run
// directory.
//
// Thread safety: none. Invariant: a forked child's copy of a BrokerRecord owns nothing, and removes nothing.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "broker/broker_place.hpp"

namespace ipcq::detail {

class BrokerRecord {
 public:
  // Throws SystemError, PermissionError.
  explicit BrokerRecord(const BrokerPlace& place);
  ~BrokerRecord() { remove(); }
  BrokerRecord(const BrokerRecord&) = delete;
  BrokerRecord& operator=(const BrokerRecord&) = delete;
  void remove() noexcept;

 private:
  std::string name_;
  Fd fd_;
  std::uint32_t epoch_ = fork_epoch();
};

// A record of a broker of this user. `tag`, from its name, belongs to the path in it, unless it is still empty.
struct FoundRecord {
  std::string segment;
  std::string tag;
  bool alive = false;
  std::int32_t pid = 0;
  std::string socket_path;   // empty: not written yet
  std::uint64_t device = 0;  // of the socket's directory
  std::uint64_t inode = 0;
  std::uint64_t mounts = 0;  // mount namespace in which the path holds; 0: not known
};
std::vector<FoundRecord> find_records();
// Whether the record's broker is at this place. In another container the same path may be another directory.
bool is_at(const FoundRecord& record, const BrokerPlace& place);
// Removes it unless its broker lives.
void remove_dead(const FoundRecord& record) noexcept;

}  // namespace ipcq::detail
