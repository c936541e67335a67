// The messages between clients and brokers: one request, one reply, both of fixed size. Twin document:
// docs/design/sockets.md, "Control socket".
//
// Invariant: every field has a fixed offset within an ABI (kAbiVersion); bytes that are not used are 0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "ipcq/options.hpp"
#include "layout/abi.hpp"
#include "layout/limits.hpp"

namespace ipcq::detail {

enum class Op : std::uint32_t {
  hello = 1,           // from the process that connected
  open_producer = 2,   // name
  open_consumer = 3,   // name, group, flags
  close_endpoint = 4,  // client, flags
  bye = 5,             // the client has closed all endpoints that it knows of, and touches no shared memory any more
  stats = 6,           // answered with a memfd
  dump = 7,            // name; answered with a memfd
  end_of_stream = 8,   // name
  set_executor = 9,    // name, executor
  // From the broker's own user and root alone:
  save_state = 10,       // name; answered with a memory file (base/memory_file.hpp)
  open_upload = 11,      // name, flags; answered with a memory file for the client to fill, which is then of one of:
  load_state = 12,       // name
  replace_handler = 13,  // name; the file has the handler, as QueueOptions::handler, and a zero at its end
};

enum RequestFlag : std::uint32_t {
  kBrokenOff = 1,    // close_endpoint: the stream did not end: an exception unwinds
  kLossy = 2,        // open_consumer: policy of the ephemeral group, if this request makes it
  kUsesCuda = 4,     // open_producer, open_consumer: the endpoint has GPU work of its own
  kNeverUsed = 8,    // close_endpoint: counts as never open: the client could not map it, or did not wait for it
  kForHandler = 16,  // open_upload: for replace_handler, else for load_state
};
inline constexpr std::uint64_t kHandlerUploadBytes = 8192;

struct Request {
  std::uint32_t magic = kControlMagic;
  std::uint32_t abi = kAbiVersion;
  Op op = Op::hello;
  std::uint32_t flags = 0;  // RequestFlag
  std::uint32_t client = 0;
  std::uint32_t serial = 0;  // of the connection, from 1; the reply carries it
  ExecutorKind executor = ExecutorKind::auto_;
  std::uint8_t reserved[7] = {};
  char name[kNameBytes] = {};
  char group[kNameBytes] = {};
};
static_assert(sizeof(Request) == 160 && std::is_trivially_copyable_v<Request>);
static_assert(offsetof(Request, magic) == 0 && offsetof(Request, abi) == 4 && offsetof(Request, op) == 8 &&
              offsetof(Request, flags) == 12 && offsetof(Request, client) == 16 && offsetof(Request, serial) == 20 &&
              offsetof(Request, executor) == 24 && offsetof(Request, name) == 32 && offsetof(Request, group) == 96);

// Which exception the client throws.
enum class Refusal : std::uint32_t {
  none = 0,
  usage = 1,
  not_found = 2,
  permission = 3,
  backend = 4,
  busy = 5,      // try again
  shortage = 6,  // the broker lacks a resource of the system: SystemError
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
  char queue_segment[kSegmentNameBytes] = {};
  char pool_segment[kSegmentNameBytes] = {};
  char text[384] = {};  // of a refusal
};
static_assert(sizeof(Reply) == 944 && std::is_trivially_copyable_v<Reply>);
static_assert(offsetof(Reply, magic) == 0 && offsetof(Reply, abi) == 4 && offsetof(Reply, refusal) == 8 &&
              offsetof(Reply, client) == 12 && offsetof(Reply, endpoint) == 16 && offsetof(Reply, group) == 20 &&
              offsetof(Reply, durable) == 24 && offsetof(Reply, broker_pid) == 28 && offsetof(Reply, serial) == 32 &&
              offsetof(Reply, generation) == 40 && offsetof(Reply, queue_segment) == 48 &&
              offsetof(Reply, pool_segment) == 304 && offsetof(Reply, text) == 560);

}  // namespace ipcq::detail
