// The messages between clients and brokers: one request, one reply, both of fixed size; behind a request that opens an
// endpoint may stand texts (schema_claim.hpp). Twin document: docs/design/sockets.md, "Control socket".
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
  open_upload = 11,      // name, flags, bytes; answered with a memory file for the client to fill, for one of:
  load_state = 12,       // name; of the state's size
  replace_handler = 13,  // name; the handler, as QueueOptions::handler
  create_queue = 14,     // name; its options (options_codec.hpp)
  create_pool = 15,      // name; likewise
  // Without an upload:
  remove_queue = 16,  // name, flags; the reply counts the messages that were left
  remove_pool = 17,   // name
  drain = 18,         // name; likewise, what is left as yet
  pause = 19,         // name, group (empty: the queue)
  resume = 20,        // name, group (likewise)
  find_home = 21,     // name: the generation of a queue, decimal; the reply names its segments
};

enum RequestFlag : std::uint32_t {
  kBrokenOff = 1,     // close_endpoint: the stream did not end: an exception unwinds
  kLossy = 2,         // open_consumer: policy of the ephemeral group, if this request makes it
  kUsesCuda = 4,      // open_producer, open_consumer: the endpoint has GPU work of its own
  kNeverUsed = 8,     // close_endpoint: counts as never open: the client could not map it, or did not wait for it
  kForHandler = 16,   // open_upload: for replace_handler
  kForCreation = 32,  // open_upload: for create_queue or create_pool; without either flag for load_state
  kAtOnce = 64,       // remove_queue: Removal::at_once
  kOfPool = 256,      // open_upload with kForCreation: of a pool
  kOnlyCount = 128,   // drain: refused if the intake has been opened again
  kForCalls = 512,    // open_producer, open_consumer: a client, a server
};
// The one group of a queue of calls: its servers; or, where its handler answers, its clients, which collect replies.
inline const char* group_of_calls(const QueueOptions& o) { return o.handler.empty() ? "servers" : "callers"; }
inline constexpr std::uint32_t kMostUploadBytes = 1 << 20;  // but of a state

struct Request {
  std::uint32_t magic = kControlMagic;
  std::uint32_t abi = kAbiVersion;
  Op op = Op::hello;
  std::uint32_t flags = 0;  // RequestFlag
  std::uint32_t client = 0;
  std::uint32_t serial = 0;  // of the connection, from 1; the reply carries it
  ExecutorKind executor = ExecutorKind::auto_;
  std::uint8_t reserved[3] = {};
  std::uint32_t bytes = 0;  // of an upload; of the first text behind the request
  char name[kNameBytes] = {};
  char group[kNameBytes] = {};
};
static_assert(sizeof(Request) == 160 && std::is_trivially_copyable_v<Request>);
static_assert(offsetof(Request, magic) == 0 && offsetof(Request, abi) == 4 && offsetof(Request, op) == 8 &&
              offsetof(Request, flags) == 12 && offsetof(Request, client) == 16 && offsetof(Request, serial) == 20 &&
              offsetof(Request, executor) == 24 && offsetof(Request, bytes) == 28 && offsetof(Request, name) == 32 &&
              offsetof(Request, group) == 96);

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
  std::uint32_t serial = 0;      // 0: answers no request; the broker hangs up, for the reason in `text`
  std::int32_t error = 0;        // of a shortage: errno, if it is known
  std::uint64_t generation = 0;  // of the queue's segment
  char queue_segment[kSegmentNameBytes] = {};
  char pool_segment[kSegmentNameBytes] = {};
  char text[384] = {};         // of a refusal
  std::uint64_t messages = 0;  // that are left
};
static_assert(sizeof(Reply) == 952 && std::is_trivially_copyable_v<Reply>);
static_assert(offsetof(Reply, magic) == 0 && offsetof(Reply, abi) == 4 && offsetof(Reply, refusal) == 8 &&
              offsetof(Reply, client) == 12 && offsetof(Reply, endpoint) == 16 && offsetof(Reply, group) == 20 &&
              offsetof(Reply, durable) == 24 && offsetof(Reply, broker_pid) == 28 && offsetof(Reply, serial) == 32 &&
              offsetof(Reply, error) == 36 && offsetof(Reply, generation) == 40 &&
              offsetof(Reply, queue_segment) == 48 && offsetof(Reply, pool_segment) == 304 &&
              offsetof(Reply, text) == 560 && offsetof(Reply, messages) == 944);

}  // namespace ipcq::detail
