// Closes the sockets of clients without ever waiting for them.
//
// What lies unread in a Unix socket may carry descriptors, and closing the socket closes those. The sender chooses how
// long that takes: the close of a TCP socket with SO_LINGER and unsent data waits for as long as it was told. The same
// close happens, in the thread that receives, when a message with descriptors is received without room for them. So the
// broker never receives a descriptor from a client, and a socket in which one lies is closed by a thread that has
// nothing else to do. docs/design/sockets.md, "Control socket".
//
// Thread safety: guarded by the broker's mutex, or called once the broker's threads have ended; its own threads share
// only Closer::Work, which has a mutex. Invariant: no call blocks on what a client has sent.
#pragma once

#include <memory>

#include "base/os.hpp"

namespace ipcq::detail {

class Closer {
 public:
  Closer();
  ~Closer();  // does not wait: its threads go on closing; without any, sockets that are left stay open
  Closer(const Closer&) = delete;
  Closer& operator=(const Closer&) = delete;

  // Shuts the connection down, also for other processes that have copies of this end, and closes it: in this thread, or
  // in one of its own if a descriptor lies in it.
  void hang_up(Fd socket) noexcept;
  // The same for a listening socket and all connections that nobody has accepted.
  void close_listener(Fd listener) noexcept;

 private:
  struct Work;
  void close_elsewhere(Fd socket) noexcept;

  std::shared_ptr<Work> work_;
};

}  // namespace ipcq::detail
