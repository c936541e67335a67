// The control protocol between clients and broker: fixed-size requests and replies over a Unix SOCK_SEQPACKET socket,
// descriptors beside them. Long answers come as a memfd. Nothing of the data path goes here.
#pragma once

#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "base/os.hpp"
#include "ipcq/options.hpp"
#include "ipcq/stats.hpp"
#include "layout/abi.hpp"
#include "layout/limits.hpp"
#include "layout/text_field.hpp"

namespace ipcq::detail {

enum class Op : std::uint32_t {
  hello = 1,       // from the process that connected
  open_producer,   // name
  open_consumer,   // name, group, flags
  close_endpoint,  // client, flags
  bye,             // the client is done: it has closed all that it knows of, and touches no shared memory any more
  stats,           // answered with a memfd
  dump,            // name; answered with a memfd
  end_of_stream,   // name
  set_executor,    // name, executor
};

enum RequestFlag : std::uint32_t {
  kBrokenOff = 1,  // close_endpoint: the stream did not end, an exception unwinds
  kNeverUsed = 8,  // close_endpoint: the client could not map it, or did not wait for it; as if it had never been open
  kLossy = 2,      // open_consumer: policy of the ephemeral group, if this makes it
  kUsesCuda = 4,   // open_producer, open_consumer: the endpoint has GPU work of its own
};

struct Request {
  std::uint32_t magic = kControlMagic;
  std::uint32_t abi = kAbiVersion;
  Op op = Op::hello;
  std::uint32_t flags = 0;
  std::uint32_t client = 0;
  std::uint32_t serial = 0;  // of the connection, from 1; the reply carries it
  ExecutorKind executor = ExecutorKind::auto_;
  std::uint8_t reserved[7] = {};
  char name[kNameBytes] = {};
  char group[kNameBytes] = {};
};

// Which exception the client throws.
enum class Refusal : std::uint32_t {
  none = 0,
  usage,
  not_found,
  permission,
  backend,
  busy,      // try again
  shortage,  // the broker lacks something of the system: SystemError
};

struct Reply {
  std::uint32_t magic = kControlMagic;
  std::uint32_t abi = kAbiVersion;
  Refusal refusal = Refusal::none;
  std::uint32_t client = 0;
  std::uint32_t endpoint = 0;
  std::uint32_t group = 0;
  std::uint32_t durable = 0;
  std::int32_t broker_pid = 0;
  std::uint32_t serial = 0;  // 0: answers no request; the broker hangs up, for the reason in `text`
  std::uint32_t reserved = 0;
  std::uint64_t generation = 0;  // of the queue's segment
  char queue_segment[256] = {};
  char pool_segment[256] = {};
  char text[384] = {};  // of a refusal
};
static_assert(std::is_trivially_copyable_v<Request> && std::is_trivially_copyable_v<Reply>);

// A reply that says why not.
Reply refuse(Refusal why, const std::string& text);

// Sends one message with an optional descriptor. False with errno set when the peer is gone or does not take it
// (EAGAIN).
bool send_message(int socket, const void* message, std::size_t bytes, int fd = -1) noexcept;
// Receives one message of exactly `bytes`, and a descriptor if one came. >0: received; 0: the peer closed; -1: errno:
// EMFILE where this process has no descriptor left for the one that came, EPROTO for a message of another size.
int receive_message(int socket, void* message, std::size_t bytes, Fd& fd) noexcept;

// What comes next in a connection that asks for senders (peer.hpp). Looking takes nothing out, and no descriptor in:
// who closes a descriptor waits for as long as the sender chose.
enum class Look : std::uint8_t { nothing, closed, message };
struct Incoming {
  std::size_t bytes = 0;  // of the whole message, of which `into` has the beginning
  bool has_descriptors = false;
  pid_t sender = 0;  // 0: not visible here
};
Look look_at_next(int socket, void* into, std::size_t bytes, Incoming& message) noexcept;
// Takes it out. Only for a message without descriptors.
void drop_next(int socket) noexcept;

// Connected socket that does not block. Invalid with errno set: ECONNREFUSED and others when there is no listener,
// EAGAIN when it takes no connection at the moment.
Fd connect_socket(const std::string& path) noexcept;
// Listening socket. Throws UsageError for a path that is too long, SystemError, PermissionError.
Fd listen_socket(const std::string& path, std::uint32_t mode, std::int64_t gid);

// A whole answer in a memfd.
Fd make_memfd(const std::string& content);
std::string read_memfd(int fd);

std::string encode(const BrokerStats& stats);
// Throws LayoutError when the text is not what encode() makes.
BrokerStats decode_stats(const std::string& text);

}  // namespace ipcq::detail
