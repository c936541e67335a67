// Closes the sockets of clients without ever waiting for them.
//
// What lies unread in a Unix socket may carry descriptors, and closing the socket closes those. The sender chooses how
// long that takes: the close of a TCP socket with SO_LINGER and unsent data waits for as long as it was told. The same
// close happens, in the thread that receives, when a message with descriptors is received without room for them. So the
// broker never receives a descriptor from a client, and a socket in which one lies is closed by a thread that has
// nothing else to do. docs/design/layout.md, "Control socket".
#pragma once

#include <memory>

#include "base/os.hpp"

namespace ipcq::detail {

// Not thread-safe.
class Closer {
 public:
  Closer();
  ~Closer();  // does not wait: what still closes goes on to, what has not begun stays open
  Closer(const Closer&) = delete;
  Closer& operator=(const Closer&) = delete;

  // Ends the connection, for whoever else has a copy of this end too, and closes it: here if nothing is in it whose
  // close could block, else elsewhere.
  void hang_up(Fd socket) noexcept;
  // Likewise a listening socket, with all the connections that nobody has accepted.
  void close_listener(Fd listener) noexcept;

 private:
  struct Work;
  void close_elsewhere(Fd socket) noexcept;

  std::shared_ptr<Work> work_;
};

}  // namespace ipcq::detail
