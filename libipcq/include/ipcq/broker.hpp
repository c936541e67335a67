// Broker: owns pools and queues, attaches clients, repairs after the dead. Embeddable; ipcq-broker is a thin program
// over it. Thread-safe. Each session of a client takes two descriptors of the process; the library leaves its limit
// (RLIMIT_NOFILE) as it is, ipcq-broker raises it.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "ipcq/options.hpp"
#include "ipcq/stats.hpp"

namespace ipcq {

namespace detail {
class BrokerCore;
}

struct BrokerOptions {
  // Name that clients connect to. Empty: $IPCQ_BROKER, else "default". A path makes that file the control socket; what
  // lies there already, or at the lock file beside it, and was not left by a broker of this user is refused.
  std::string name{};
  // Unix group whose members may attach (segments and socket 0660); empty: only this user (0600).
  std::string group{};
  LogCallback log{};  // may ask this broker
};

class IPCQ_API Broker {
 public:
  // Takes the name, removes what a dead broker of that name left, opens the control socket and starts serving.
  // Throws UsageError, and has changed nothing, when a live broker has the name or another program's file lies there;
  // SystemError or PermissionError naming the object.
  explicit Broker(BrokerOptions options = {});
  // None, for members: calls throw UsageError, stop() does nothing.
  explicit Broker(std::nullptr_t) noexcept;
  Broker(Broker&&) noexcept;
  Broker& operator=(Broker&&) noexcept;  // stops the one that was there
  ~Broker();                             // stop(0)

  // Create at any time. Throw UsageError (bad option, name taken), BackendError, SystemError (ENOSPC: /dev/shm is too
  // small; the text says how much is needed and how to get it). Memory is reserved at once, which takes a while for a
  // large pool, up to seconds per GiB; meanwhile the broker serves what it has, and clients do not find the new one.
  void create_pool(const std::string& name, PoolOptions options);
  void create(const std::string& queue, QueueOptions options = {});

  // Says that no further producer will come: consumers with Until::end see the end once drained, even if a producer
  // died. Throws NotFoundError; UsageError for what cannot be a queue's name.
  void end_of_stream(const std::string& queue);

  // Closes the intake of every queue, waits `drain_for` at most until groups that have members took and released
  // everything, closes the queues and removes every name. Returns the number of messages that were left: for each
  // queue, of the group that has most, those that no consumer had taken, or that were given back. Nobody receives them
  // any more. What consumers hold at that moment is not among them: it is theirs to finish with. A creation that is
  // under way in another thread fails, and is waited for. Called again it returns the same number; called while it
  // drains, from another thread, it shortens the wait if it asks for less.
  std::uint64_t stop(Timeout drain_for = Duration::zero());

  // After stop(): as it was when the draining ended.
  BrokerStats stats() const;
  // Path of the control socket, absolute if that fits into the address of a socket.
  std::string socket_path() const;
  // Ring state of one queue for humans: cursors, lines, slots, held entries. Throws as end_of_stream().
  std::string dump(const std::string& queue) const;

 private:
  std::unique_ptr<detail::BrokerCore> core_;
};

}  // namespace ipcq
