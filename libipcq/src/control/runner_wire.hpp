// The messages between a broker and the runner that it starts, over a SOCK_SEQPACKET socket pair: one hello of the
// runner; then one request of the broker at a time, and one reply of the runner to each. All have a fixed size. Twin
// document: docs/design/sockets.md, "Runner's socket".
//
// The broker refuses a runner whose hello carries another ABI (layout/abi.hpp); the runner ends at a request that does.
// Plain values. Each end of the socket is used by one thread at a time: RunnerLink's lock, the runner's main thread.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "ipcq/error.hpp"
#include "ipcq/options.hpp"
#include "layout/abi.hpp"
#include "layout/layout.hpp"
#include "layout/limits.hpp"

namespace ipcq::detail {

inline constexpr int kRunnerSocket = 3;  // descriptor of the socket in the runner

// How long a runner waits for a handler to return, before what is done between two messages: less than its broker waits
// for an answer.
inline constexpr std::chrono::seconds kPlacePatience{3};

// Of a runner that has ended itself since a handler was over its deadline.
inline constexpr int kOverdueExitCode = 75;
inline constexpr std::size_t kArgumentsBytes = 512;  // the zero at the end included

enum class RunnerStart : std::uint32_t {
  up = 0,
  failed = 1,   // `text` says why
  not_yet = 2,  // the same; the driver may accept another process a moment later
};

// What both sides throw for not_yet: the driver will not accept this process, but perhaps another one a moment later.
class NotYet : public BackendError {
 public:
  using BackendError::BackendError;
};

// Sent once, when the runner is up or could not come up.
struct RunnerHello {
  std::uint32_t magic = kRunnerMagic;
  std::uint32_t abi = kAbiVersion;
  RunnerStart start = RunnerStart::up;
  std::uint32_t mps = 0;  // 1: it runs under the multi-process service
  char device_name[kNameBytes] = {};
  char text[512] = {};
  std::uint32_t capability = 0;  // of the GPU, 90 for 9.0: what a handler is compiled for
  std::uint32_t reserved = 0;
};
static_assert(sizeof(RunnerHello) == 600 && std::is_trivially_copyable_v<RunnerHello>);
static_assert(offsetof(RunnerHello, magic) == 0 && offsetof(RunnerHello, abi) == 4 &&
              offsetof(RunnerHello, start) == 8 && offsetof(RunnerHello, mps) == 12 &&
              offsetof(RunnerHello, device_name) == 16 && offsetof(RunnerHello, text) == 80 &&
              offsetof(RunnerHello, capability) == 592);

enum class RunnerOp : std::uint32_t {
  allocate = 1,  // bytes -> DeviceMemory, block
  free = 2,      // block
  // Queue and pool segment, block (0: none), handler, executor, park_after_ns; of a host runner threads, wait,
  // spin_for_ns and first_ticket. Beside it a descriptor with the handler's image, if it is the user's own, with
  // arguments, deadline_ns and the state (0: none), which is the queue's from then on. -> queue
  start_queue = 3,
  stop_queue = 4,  // queue
  check = 5,       // fails unless the runner's context still works
  make_state = 6,  // bytes, and a descriptor with the content -> state
  // Of a queue, between two of its messages; fails if the handler does not return within kPlacePatience:
  save_state = 7,       // bytes, and a descriptor of a file of that size, into which the state is copied
  load_state = 8,       // bytes, and a descriptor with the content
  replace_handler = 9,  // handler, arguments, and a descriptor with the image; where it fails the old one stays
  pause_queue = 10,     // the handler gets no message before resume_queue
  resume_queue = 11,    // queue
};

struct RunnerRequest {
  std::uint32_t magic = kRunnerMagic;
  std::uint32_t abi = kAbiVersion;
  RunnerOp op = RunnerOp::allocate;
  ExecutorKind executor = ExecutorKind::persistent;
  std::uint8_t wait = 0;  // Wait::Kind
  std::uint8_t has_image = 0;
  std::uint8_t paused = 0;  // start_queue: 1, as after pause_queue
  std::uint64_t id = 0;     // of a block or a queue
  std::uint64_t bytes = 0;
  std::uint64_t park_after_ns = 0;
  char queue_segment[kSegmentNameBytes] = {};
  char pool_segment[kSegmentNameBytes] = {};
  char handler[kNameBytes] = {};  // its name, or what its file is called
  std::uint64_t spin_for_ns = 0;
  std::uint32_t threads = 0;
  std::uint32_t reserved_too = 0;
  char arguments[kArgumentsBytes] = {};  // of the handler: "level=7:rate=0.5"
  std::uint64_t deadline_ns = 0;         // of a call of the handler; 0: none
  std::uint64_t first_ticket = 0;        // with which a host runner begins
  std::uint64_t state = 0;               // start_queue: its id
};
static_assert(sizeof(RunnerRequest) == 1168 && std::is_trivially_copyable_v<RunnerRequest>);
static_assert(offsetof(RunnerRequest, magic) == 0 && offsetof(RunnerRequest, abi) == 4 &&
              offsetof(RunnerRequest, op) == 8 && offsetof(RunnerRequest, executor) == 12 &&
              offsetof(RunnerRequest, wait) == 13 && offsetof(RunnerRequest, has_image) == 14 &&
              offsetof(RunnerRequest, paused) == 15 && offsetof(RunnerRequest, id) == 16 &&
              offsetof(RunnerRequest, bytes) == 24 && offsetof(RunnerRequest, park_after_ns) == 32 &&
              offsetof(RunnerRequest, queue_segment) == 40 && offsetof(RunnerRequest, pool_segment) == 296 &&
              offsetof(RunnerRequest, handler) == 552 && offsetof(RunnerRequest, spin_for_ns) == 616 &&
              offsetof(RunnerRequest, threads) == 624 && offsetof(RunnerRequest, arguments) == 632 &&
              offsetof(RunnerRequest, deadline_ns) == 1144 && offsetof(RunnerRequest, first_ticket) == 1152 &&
              offsetof(RunnerRequest, state) == 1160);

inline constexpr std::uint32_t kBackendFailure = 1;
inline constexpr std::uint32_t kUsageFailure = 2;  // of what a user has said

// The `id` of an obituary: a host runner that is about to die of a handler sends it unasked, and `text` names the
// queue's segment.
inline constexpr std::uint64_t kObituary = ~std::uint64_t{0};

struct RunnerReply {
  std::uint32_t magic = kRunnerMagic;
  std::uint32_t failed = 0;  // kBackendFailure or kUsageFailure: `text` says why
  std::uint64_t id = 0;
  DeviceMemory memory;
  char text[512] = {};
};
static_assert(sizeof(RunnerReply) == 624 && std::is_trivially_copyable_v<RunnerReply>);
static_assert(offsetof(RunnerReply, magic) == 0 && offsetof(RunnerReply, failed) == 4 &&
              offsetof(RunnerReply, id) == 8 && offsetof(RunnerReply, memory) == 16 &&
              offsetof(RunnerReply, text) == 112);

}  // namespace ipcq::detail
