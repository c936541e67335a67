// Names that a broker takes in the system: its lock, its control socket, its segments; and what a dead one left.
//
// The lock file is the truth about a name: its flock is held while the broker lives and goes with it.
#pragma once

#include <string>

#include "os.hpp"

namespace ipcq::detail {

class BrokerName {
 public:
  // Takes the name and removes what a dead broker of that name left. Throws UsageError when a live one has it.
  explicit BrokerName(const std::string& name_or_path);
  ~BrokerName();
  BrokerName(const BrokerName&) = delete;
  BrokerName& operator=(const BrokerName&) = delete;

  const std::string& name() const noexcept { return name_; }
  const std::string& socket_path() const noexcept { return socket_path_; }
  // Gives the name up: removes socket and lock. Idempotent; the destructor calls it.
  void release() noexcept;
  // Name of a new segment; `kind` is "queue" or "pool".
  std::string segment(const char* kind, const std::string& object, std::uint64_t generation) const;
  // What was found and removed, for the log; empty when there was nothing.
  const std::string& leftovers() const noexcept { return leftovers_; }

 private:
  std::string name_;
  std::string socket_path_;
  std::string lock_path_;
  Fd lock_;
  const std::uint32_t epoch_ = fork_epoch();
  std::string leftovers_;
};

// What every segment of a broker of this user begins with.
std::string segment_prefix(const std::string& broker);

}  // namespace ipcq::detail
