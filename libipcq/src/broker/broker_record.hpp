// What a broker says of itself in shared memory: which socket it serves. Locked while it lives, so that it proves its
// life where a cleaner has removed the lock file, and names the socket of a broker that `ipcq list` would not find.
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

// A record that some broker of this user made: its name comes from the path in it, or it is still empty.
struct FoundRecord {
  std::string segment;
  std::string tag;
  bool alive = false;
  std::int32_t pid = 0;
  std::string socket_path;   // empty: it had not come to write it
  std::uint64_t device = 0;  // of the socket's directory
  std::uint64_t inode = 0;
  std::uint64_t mounts = 0;  // mount namespace in which the path holds; 0: not known
};
std::vector<FoundRecord> find_records();
// Whether it is of a broker at this place. In another container the same path may be another directory.
bool is_at(const FoundRecord& record, const BrokerPlace& place);
// Removes it unless its broker lives.
void remove_dead(const FoundRecord& record) noexcept;

}  // namespace ipcq::detail
