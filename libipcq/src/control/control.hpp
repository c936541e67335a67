// The control protocol between clients and broker over a Unix SOCK_SEQPACKET socket: messages of fixed size
// (control_wire.hpp), descriptors beside them. Long answers come as a memfd. Nothing of the data path goes here.
//
// Thread safety: the functions keep no state. Invariant: none blocks on a connection that does not block, and a peek
// receives no descriptor.
#pragma once

#include <cstdint>
#include <string>

#include "base/os.hpp"
#include "control/control_wire.hpp"
#include "layout/text_field.hpp"

namespace ipcq::detail {

// A reply that refuses the request and says why.
Reply refuse(Refusal why, const std::string& text);

// Sends one message with an optional descriptor. False with errno set when the peer is gone, or the socket is full
// (EAGAIN).
bool send_message(int socket, const void* message, std::size_t bytes, int fd = -1) noexcept;
// Receives one message of exactly `bytes`, and a descriptor if one came. >0: received; 0: the peer closed; -1: errno:
// EMFILE if this process has no descriptor left for the one in the message, EPROTO for a message of another size.
int receive_message(int socket, void* message, std::size_t bytes, Fd& fd) noexcept;

// Peeks at the next message of a connection for whose socket ask_for_senders() was called (peer.hpp). Removes nothing,
// and receives no descriptor, since to close one may take as long as its sender chose (broker/closer.hpp).
enum class Peek : std::uint8_t { nothing, closed, message };
struct Incoming {
  std::size_t bytes = 0;  // of the whole message; `into` has its beginning
  bool has_descriptors = false;
  pid_t sender = 0;  // 0: not visible here
};
Peek peek_next(int socket, void* into, std::size_t bytes, Incoming& message) noexcept;
// Removes the message. Only for one without descriptors.
void drop_next(int socket) noexcept;

// Connected socket that does not block. Invalid with errno set: ECONNREFUSED and others when there is no listener,
// EAGAIN when its backlog is full.
Fd connect_socket(const std::string& path) noexcept;
// Listening socket. Throws UsageError for a path that is too long, SystemError, PermissionError.
Fd listen_socket(const std::string& path, std::uint32_t mode, std::int64_t gid);

// A whole answer in a memfd.
Fd make_memfd(const std::string& content);
// Throws SystemError with `object`.
std::string read_memfd(int fd, const std::string& object = "broker answer");

}  // namespace ipcq::detail
