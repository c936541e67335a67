// The lock file beside a broker's socket. Its flock is held while the broker lives; its content says whose it is.
#pragma once

#include <cstdint>
#include <string>

#include "broker/broker_place.hpp"
#include "ipcq/error.hpp"

namespace ipcq::detail {

// What stands in the way at a place, and is no live broker of its name.
class Obstacle : public UsageError {
 public:
  Obstacle(const BrokerPlace& place, const std::string& what, const std::string& remedy);
  // The same, for a cleaner who leaves the socket as it is.
  std::string to_cleaner() const;

 private:
  std::string broker_;
  std::string what_;
  std::string remedy_;
};

class BrokerLock {
 public:
  // Takes the lock, and touches nothing that a broker of this user has not made. Throws UsageError when a live broker
  // has it, and Obstacle when what has its path is something else.
  explicit BrokerLock(const BrokerPlace& place);
  // One that was made here goes, unless it was marked.
  ~BrokerLock();
  BrokerLock(BrokerLock&&) noexcept = default;
  BrokerLock(const BrokerLock&) = delete;
  BrokerLock& operator=(const BrokerLock&) = delete;

  // Whether a broker that was killed had left it.
  bool was_left() const noexcept { return was_left_; }
  // Says that this process is the broker.
  void mark();
  // Removes the file if it is still this one, and lets go.
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

// What a lock file says without being taken.
struct LockState {
  bool is_ours = false;  // a lock file of this user's brokers
  bool held = false;
  std::int32_t pid = 0;
};
LockState look_at_lock(const BrokerPlace& place);

}  // namespace ipcq::detail
