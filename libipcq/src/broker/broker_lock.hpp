// The lock file beside a broker's socket. The broker holds its flock while it lives; the content is the broker's pid.
//
// Thread safety: none. Invariant: a forked child's copy of a BrokerLock owns nothing, and removes no file.
#pragma once

#include <cstdint>
#include <string>

#include "broker/broker_place.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {

// Something at a broker's place that keeps it from starting, and is not a live broker of its name.
class Obstacle : public UsageError {
 public:
  Obstacle(const BrokerPlace& place, const std::string& what, const std::string& remedy);
  // The same text for `ipcq clean`, which leaves the socket as it is.
  std::string to_cleaner() const;

 private:
  std::string broker_;
  std::string what_;
  std::string remedy_;
};

class BrokerLock {
 public:
  // Takes the lock, and touches nothing that a broker of this user has not made. Throws UsageError when a live broker
  // has it, and Obstacle when something else has the path.
  explicit BrokerLock(const BrokerPlace& place);
  // Removes the file if this object has created it and mark() was not called.
  ~BrokerLock();
  BrokerLock(BrokerLock&&) noexcept = default;
  BrokerLock(const BrokerLock&) = delete;
  BrokerLock& operator=(const BrokerLock&) = delete;

  // Whether the file was there, left by a broker that was killed.
  bool was_left() const noexcept { return was_left_; }
  // Writes this process' pid into the file: from here on this process is the broker.
  void mark();
  // Removes the file if its path still leads to it, and releases the flock.
  void remove() noexcept;

 private:
  void take();
  bool open();
  [[noreturn]] void refuse(const std::string& what) const;

  const BrokerPlace* place_;
  Fd fd_;
  bool made_ = false;
  bool was_left_ = false;
  std::uint32_t epoch_ = fork_epoch();
};

// What can be told of a lock file without taking it.
struct LockState {
  bool is_ours = false;  // a lock file of this user's brokers
  bool held = false;
  std::int32_t pid = 0;
};
LockState read_lock_state(const BrokerPlace& place);

}  // namespace ipcq::detail
